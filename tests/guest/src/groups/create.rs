// SPDX-License-Identifier: GPL-2.0
//! Creating and deleting devices, and which of them is seed and which is youngest.

use crate::device::{Device, Driver};
use crate::errno::Errno;
use crate::ktap::{check, Failure, Outcome, Test};
use crate::region::Region;
use crate::test;
use crate::units::UNIT;

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(create_gives_an_empty_unbound_device),
    test!(create_names_the_youngest_device),
    test!(create_with_trailing_nul_or_newline_returns_full_count),
    test!(create_reuses_the_lowest_free_number),
    test!(delete_with_trailing_nul_or_newline_returns_full_count),
    test!(delete_removes_the_device),
    test!(delete_of_youngest_clears_youngest),
    test!(delete_of_older_device_keeps_youngest),
    test!(seed_is_the_oldest_device_not_yet_bound),
    test!(seed_may_have_a_size),
    test!(seed_is_cleared_by_its_bind),
    test!(seed_is_cleared_by_its_delete),
    test!(seed_stays_when_another_device_binds),
    test!(seed_stays_when_its_bind_fails),
    test!(seed_does_not_come_back_on_unbind),
];

/// Creates `count` devices without size.
fn create(region: &Region, count: usize) -> Result<Vec<Device>, Failure> {
    let mut devices = Vec::new();
    for _ in 0..count {
        devices.push(region.create()?);
    }
    Ok(devices)
}

fn create_gives_an_empty_unbound_device(region: &Region) -> Outcome {
    let device = region.create()?;
    check("name", device.name(), "dax0.1")?;
    check("size", device.size()?, 0)?;
    check("ranges", device.ranges()?, vec![])?;
    check("driver", device.driver(), None)?;
    check("available", region.available()?, region.span().len())
}

fn create_names_the_youngest_device(region: &Region) -> Outcome {
    check("at first", region.youngest()?, String::new())?;
    for device in create(region, 3)? {
        check("device", device.exists(), true)?;
    }
    check("at last", region.youngest()?, "dax0.3".into())
}

fn create_with_trailing_nul_or_newline_returns_full_count(region: &Region) -> Outcome {
    for text in ["1", "1\0", "1\n", "1\n\0", "0x1\n"] {
        let count = region.try_write("create", text);
        check(format!("{text:?}"), count, Ok(text.len()))?;
    }
    check("devices", region.devices()?.len(), 6)
}

fn create_reuses_the_lowest_free_number(region: &Region) -> Outcome {
    let devices = create(region, 4)?;
    region.delete(&devices[2])?;
    region.delete(&devices[1])?;
    check("first", region.create()?.name(), "dax0.2")?;
    check("second", region.create()?.name(), "dax0.3")?;
    check("third", region.create()?.name(), "dax0.5")
}

fn delete_with_trailing_nul_or_newline_returns_full_count(region: &Region) -> Outcome {
    for tail in ["", "\0", "\n", "\n\0"] {
        let device = region.create()?;
        let text = format!("{}{tail}", device.name());
        check(
            format!("{text:?}"),
            region.try_write("delete", &text),
            Ok(text.len()),
        )?;
        check("device after delete", device.exists(), false)?;
    }
    Ok(())
}

fn delete_removes_the_device(region: &Region) -> Outcome {
    let device = region.create_sized(UNIT)?;
    device.bind(Driver::DeviceDax)?;
    device.unbind()?;
    device.set_size(0)?;
    region.delete(&device)?;
    check("directory", device.exists(), false)?;
    check("node", device.node().exists(), false)?;
    let again = region.try_write("delete", device.name());
    check("second delete", again, Err(Errno::ENXIO))
}

fn delete_of_youngest_clears_youngest(region: &Region) -> Outcome {
    let devices = create(region, 2)?;
    region.delete(&devices[1])?;
    check("youngest", region.youngest()?, String::new())
}

fn delete_of_older_device_keeps_youngest(region: &Region) -> Outcome {
    let devices = create(region, 2)?;
    region.delete(&devices[0])?;
    check("youngest", region.youngest()?, devices[1].name().into())
}

fn seed_is_the_oldest_device_not_yet_bound(region: &Region) -> Outcome {
    let devices = create(region, 3)?;
    check("seed", region.seed()?, devices[0].name().into())
}

fn seed_may_have_a_size(region: &Region) -> Outcome {
    let device = region.create_sized(UNIT)?;
    check("seed", region.seed()?, device.name().into())
}

fn seed_is_cleared_by_its_bind(region: &Region) -> Outcome {
    let devices = create(region, 2)?;
    devices[0].set_size(UNIT)?;
    devices[0].bind(Driver::DeviceDax)?;
    check("seed after bind", region.seed()?, String::new())?;
    // Others that were there already do not step in; the next new one does.
    let next = region.create()?;
    check("seed after create", region.seed()?, next.name().into())
}

fn seed_is_cleared_by_its_delete(region: &Region) -> Outcome {
    let devices = create(region, 2)?;
    region.delete(&devices[0])?;
    check("seed after delete", region.seed()?, String::new())?;
    let next = region.create()?;
    check("seed after create", region.seed()?, next.name().into())
}

fn seed_stays_when_another_device_binds(region: &Region) -> Outcome {
    let devices = create(region, 2)?;
    devices[1].set_size(UNIT)?;
    devices[1].bind(Driver::DeviceDax)?;
    check("seed", region.seed()?, devices[0].name().into())
}

fn seed_stays_when_its_bind_fails(region: &Region) -> Outcome {
    let device = region.create()?;
    let bound = Driver::DeviceDax.try_write("bind", device.name());
    check("bind without size", bound, Err(Errno::ENXIO))?;
    check("seed", region.seed()?, device.name().into())
}

fn seed_does_not_come_back_on_unbind(region: &Region) -> Outcome {
    let device = region.create_sized(UNIT)?;
    device.bind(Driver::DeviceDax)?;
    device.unbind()?;
    check("seed", region.seed()?, String::new())
}
