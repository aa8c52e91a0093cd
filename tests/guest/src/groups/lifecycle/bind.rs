// SPDX-License-Identifier: GPL-2.0
//! Binds devices to device_dax again and again.

use crate::device::Driver;
use crate::ktap::{check, Outcome, Test};
use crate::mmap::Map;
use crate::region::Region;
use crate::test;
use crate::units::{in_order, PAGE, UNIT};
use std::fs;

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(bind_and_unbind_20_times_leaves_nothing),
    test!(bind_after_resize_uses_the_new_ranges),
    test!(create_and_delete_64_times_leaves_nothing),
    test!(create_64_devices_at_once_works),
];

/// The lines of `/proc/iomem` that end in a name.
pub(super) fn iomem(name: &str) -> usize {
    let text = fs::read_to_string("/proc/iomem").unwrap_or_default();
    let tail = format!(" : {name}");
    text.lines().filter(|line| line.ends_with(&tail)).count()
}

fn bind_and_unbind_20_times_leaves_nothing(region: &Region) -> Outcome {
    let device = region.create_over(&[region.units(6, 1), region.units(2, 2)])?;
    for round in 0..20 {
        device.bind(Driver::DeviceDax)?;
        check("reserved", iomem(device.name()), 2)?;
        let map = Map::whole(&device)?;
        // Each round finds the data that the round before has stored.
        if round > 0 {
            check("load", map.load(UNIT), Ok(round - 1))?;
        }
        check("store", map.store(UNIT, round), Ok(()))?;
        drop(map);
        device.unbind()?;
        check("reserved", iomem(device.name()), 0)?;
    }
    Ok(())
}

fn bind_after_resize_uses_the_new_ranges(region: &Region) -> Outcome {
    let device = region.create_bound(UNIT, &[region.units(9, 1)])?;
    device.unbind()?;
    device.set_size(3 * UNIT)?;
    let expected = in_order(&[region.units(9, 1), region.units(0, 2)]);
    check("ranges", device.ranges()?, expected)?;
    device.bind(Driver::DeviceDax)?;
    let map = Map::whole(&device)?;
    for (page, span) in [(0, region.units(9, 1)), (UNIT / PAGE, region.units(0, 2))] {
        check("store", map.store(page * PAGE, 1), Ok(()))?;
        let frame = map.frames(page * PAGE, 1)?[0];
        check("frame", frame, Some(span.start / PAGE))?;
    }
    Ok(())
}

fn create_and_delete_64_times_leaves_nothing(region: &Region) -> Outcome {
    for round in 0..64 {
        let device = region.create()?;
        check(format!("name in round {round}"), device.name(), "dax0.1")?;
        device.set_size((1 + round % 5) * UNIT)?;
        if round % 4 == 0 {
            device.bind(Driver::DeviceDax)?;
            device.unbind()?;
        }
        device.set_size(0)?;
        region.delete(&device)?;
    }
    check("available", region.available()?, region.span().len())?;
    check("devices", region.devices()?.len(), 1)
}

fn create_64_devices_at_once_works(region: &Region) -> Outcome {
    let mut devices = Vec::new();
    for number in 1..=64 {
        let device = region.create_sized(UNIT)?;
        check("name", device.name(), &*format!("dax0.{number}"))?;
        devices.push(device);
    }
    // Every other one goes; the next one grows over the holes.
    for device in devices.iter().step_by(2) {
        region.destroy(device)?;
    }
    let device = region.create_sized(32 * UNIT)?;
    check("ranges", device.ranges()?.len(), 32)?;
    device.bind(Driver::DeviceDax)?;
    check("reserved", iomem(device.name()), 32)?;
    for device in region.devices()?.iter().filter(|d| !d.is_first()) {
        region.destroy(device)?;
    }
    check("available", region.available()?, region.span().len())
}
