// SPDX-License-Identifier: GPL-2.0
//! Repeats every operation many times, and checks that nothing is left behind.

use crate::device::{Device, Driver};
use crate::errno::Errno;
use crate::ktap::{check, needs_units, Outcome, Test};
use crate::leaks::{self, Usage};
use crate::mmap::{self, Map};
use crate::region::Region;
use crate::sysfs::{Error, Result};
use crate::test;
use crate::units::{PAGE, UNIT};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(life_of_a_device_leaves_nothing_behind).slow(),
    test!(resizes_over_holes_leave_nothing_behind).slow(),
    test!(binding_with_open_files_leaves_nothing_behind)
        .not_on_c("an old file makes it oops")
        .slow(),
    test!(ids_leave_nothing_behind).slow(),
    test!(refused_changes_leave_nothing_behind).slow(),
    test!(region_rebinds_leave_nothing_behind).slow(),
];

/// Repeats a round, and checks that it left nothing behind.
fn endure(region: &Region, rounds: u64, mut round: impl FnMut(u64) -> Result<()>) -> Outcome {
    // The first rounds make the allocations that are made only once.
    (0..10).try_for_each(&mut round)?;
    let before = Usage::now()?;
    (0..rounds).try_for_each(&mut round)?;
    before.check_no_growth(&Usage::now()?, rounds)?;
    check_numbers(region)?;
    leaks::check_kmemleak()
}

/// Both numbers of a device are given away from the lowest on: those of a new one cannot be above
/// the number of others, unless some are lost. Those of devices that are gone had time to return.
fn check_numbers(region: &Region) -> Outcome {
    let others = Device::all().len() as u64;
    let device = region.create()?;
    let dev = device.dev()?;
    let minor = dev
        .split_once(':')
        .and_then(|(_, minor)| minor.parse().ok());
    let minor: u64 = minor.ok_or_else(|| Error::state(format!("dev: {dev}")))?;
    let name = format!("dax{}.{others}", region.id());
    check("first free id", device.name(), &name)?;
    check(
        format!("minor {minor} is at most {others}"),
        minor <= others,
        true,
    )?;
    Ok(region.delete(&device)?)
}

fn life_of_a_device_leaves_nothing_behind(region: &Region) -> Outcome {
    endure(region, 1000, |_| {
        let device = region.create_sized(2 * UNIT)?;
        device.bind(Driver::DeviceDax)?;
        device.unbind()?;
        device.set_size(0)?;
        region.delete(&device)
    })
}

fn resizes_over_holes_leave_nothing_behind(region: &Region) -> Outcome {
    needs_units(region, 21)?;
    region.first_device()?.add_mapping(region.units(1, 1))?;
    let separators = [3, 5, 7].map(|unit| region.units(unit, 1));
    separators
        .iter()
        .try_for_each(|&separator| region.first_device()?.add_mapping(separator))?;
    endure(region, 1000, |round| {
        let device = region.create()?;
        device.set_size(6 * UNIT)?;
        device.set_size((1 + round % 5) * UNIT)?;
        device.add_mapping(region.units(20, 1))?;
        device.set_size(0)?;
        region.delete(&device)
    })
}

fn binding_with_open_files_leaves_nothing_behind(region: &Region) -> Outcome {
    endure(region, 500, |round| {
        let device =
            region.create_bound([PAGE, UNIT][round as usize % 2], &[region.units(3, 1)])?;
        let failed = |what: &str, errno| Error::new(format!("{what} {}", device.name()), errno);
        let file = mmap::open(&device.node()).map_err(|e| failed("open", e))?;
        let map = Map::shared(&file, UNIT, 0).map_err(|e| failed("mmap", e))?;
        map.store(0, round)
            .map_err(|signal| Error::state(format!("store: {signal:?}")))?;
        region.destroy(&device)
    })
}

fn ids_leave_nothing_behind(region: &Region) -> Outcome {
    endure(region, 1000, |round| {
        let name = format!("dax{}.{}", 7 + round % 3, round);
        for attr in ["new_id", "remove_id"] {
            Driver::DeviceDax
                .try_write(attr, &name)
                .map_err(|errno| Error::new(format!("{attr} {name}"), errno))?;
        }
        Ok(())
    })
}

/// The driver refuses each change, before or after it allocated memory for the change.
fn refused_changes_leave_nothing_behind(region: &Region) -> Outcome {
    let too_much = (region.span().len() + UNIT).to_string();
    endure(region, 1000, |_| {
        let device = region.create_sized(UNIT)?;
        let refused = |attr: &str, text: &str, errno| match device.try_write(attr, text) {
            Err(actual) if actual == errno => Ok(()),
            other => Err(Error::state(format!("{attr} {text}: {other:?}"))),
        };
        refused("size", &too_much, Errno::ENOSPC)?;
        refused("size", "4097", Errno::EINVAL)?;
        refused("align", "4097", Errno::EINVAL)?;
        device.bind(Driver::DeviceDax)?;
        refused("size", "0", Errno::EBUSY)?;
        match region.try_write("delete", device.name()) {
            Err(Errno::EBUSY) => {}
            other => return Err(Error::state(format!("delete: {other:?}"))),
        }
        region.destroy(&device)
    })
}

fn region_rebinds_leave_nothing_behind(region: &Region) -> Outcome {
    endure(region, 300, |_| {
        let device = region.create_sized(3 * UNIT)?;
        device.bind(Driver::DeviceDax)?;
        region.create_sized(UNIT)?;
        region.unbind()?;
        region.bind()
    })
}
