// SPDX-License-Identifier: GPL-2.0
//! Takes the region away under its devices, and brings it back.

use crate::device::{Device, Driver, DEVICES};
use crate::errno::Errno;
use crate::ktap::{check, Failure, Outcome, Test};
use crate::mmap::{self, Map};
use crate::region::Region;
use crate::sysfs;
use crate::test;
use crate::trap::Signal;
use crate::units::{PAGE, UNIT};
use std::fs::{self, OpenOptions};
use std::io::{Read, Write};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(region_unbind_removes_devices_in_every_state),
    test!(region_rebind_starts_clean),
    test!(region_rebind_20_times_works),
    test!(region_unbind_with_open_file_works),
    test!(region_unbind_with_live_mapping_gives_sigbus),
    test!(region_unbind_ends_access_through_open_attributes),
    test!(region_unbind_with_fsdev_bound_works),
    test!(data_survives_region_rebind),
];

/// One device in every state: empty, sized, of several ranges, bound.
fn populate(region: &Region) -> Result<Vec<Device>, Failure> {
    region.first_device()?.add_mapping(region.units(40, 3))?;
    let empty = region.create()?;
    let sized = region.create_sized(4 * UNIT)?;
    let several = region.create_over(&[region.units(30, 2), region.units(20, 1)])?;
    let bound = region.create_bound(UNIT, &[region.units(10, 2), region.units(6, 1)])?;
    let small_pages = region.create_bound(PAGE, &[region.units(50, 2)])?;
    let youngest = region.create()?;
    Ok(vec![
        empty,
        sized,
        several,
        bound,
        small_pages,
        youngest,
        region.first_device()?,
    ])
}

/// Nothing of the region is left.
fn check_gone(devices: &[Device]) -> Outcome {
    check("devices", sysfs::names(DEVICES.as_ref())?, vec![])?;
    for device in devices {
        check(device.name(), device.node().exists(), false)?;
    }
    let iomem = fs::read_to_string("/proc/iomem").unwrap_or_default();
    let ours: Vec<&str> = iomem.lines().filter(|l| l.contains(" : dax")).collect();
    check("reserved", ours, vec![])
}

/// The region is as after its first probe.
fn check_clean(region: &Region) -> Outcome {
    let first = region.first_device()?;
    check("devices", region.devices()?, vec![first.clone()])?;
    check("size", first.size()?, 0)?;
    check("align", first.align()?, UNIT)?;
    check("available", region.available()?, region.span().len())?;
    check("seed", region.seed()?, String::new())?;
    check("youngest", region.youngest()?, String::new())?;
    check("next name", region.create()?.name(), "dax0.1")
}

fn region_unbind_removes_devices_in_every_state(region: &Region) -> Outcome {
    let devices = populate(region)?;
    region.unbind()?;
    check_gone(&devices)?;
    check("dax_region directory", region.attr(".").exists(), false)
}

fn region_rebind_starts_clean(region: &Region) -> Outcome {
    populate(region)?;
    region.unbind()?;
    region.bind()?;
    check_clean(region)
}

fn region_rebind_20_times_works(region: &Region) -> Outcome {
    for _ in 0..20 {
        populate(region)?;
        region.unbind()?;
        region.bind()?;
    }
    check_clean(region)
}

fn region_unbind_with_open_file_works(region: &Region) -> Outcome {
    let devices = populate(region)?;
    let bound = &devices[3];
    let file = mmap::open(&bound.node()).map_err(|e| Failure::Fail(format!("open: {e}")))?;
    region.unbind()?;
    check_gone(&devices)?;
    let mapped = Map::shared(&file, UNIT, 0).map(|m| m.addr());
    check("mmap", mapped, Err(Errno::ENXIO))?;
    region.bind()?;
    check("devices", region.devices()?.len(), 1)?;
    drop(file);
    let device = region.create_bound(UNIT, &[region.units(10, 1)])?;
    check("store", Map::whole(&device)?.store(0, 1), Ok(()))
}

fn region_unbind_with_live_mapping_gives_sigbus(region: &Region) -> Outcome {
    let devices = populate(region)?;
    let map = Map::whole(&devices[3])?;
    let small = Map::whole(&devices[4])?;
    check("store before", map.store(2 * UNIT, 1), Ok(()))?;
    check("store before", small.store(PAGE, 1), Ok(()))?;
    region.unbind()?;
    check("touched page", map.load(2 * UNIT), Err(Signal::BUS))?;
    check("touched small page", small.load(PAGE), Err(Signal::BUS))?;
    check("another page", map.load(0), Err(Signal::BUS))?;
    region.bind()?;
    check("after rebind", map.load(2 * UNIT), Err(Signal::BUS))?;
    drop((map, small));
    check_clean(region)
}

fn region_unbind_ends_access_through_open_attributes(region: &Region) -> Outcome {
    let device = region.create_over(&[region.units(3, 1)])?;
    let open = |path| {
        OpenOptions::new()
            .write(true)
            .open(path)
            .map_err(|e| Failure::Fail(format!("open: {e}")))
    };
    let align = PAGE.to_string();
    let mut writers = [
        ("size", open(device.attr("size"))?, "0"),
        ("mapping", open(device.attr("mapping"))?, "0-1fffff"),
        ("align", open(device.attr("align"))?, &align),
        ("create", open(region.attr("create"))?, "1"),
        ("delete", open(region.attr("delete"))?, "dax0.1"),
    ];
    let mut start = fs::File::open(device.attr("mapping0/start"))
        .map_err(|e| Failure::Fail(format!("open: {e}")))?;
    region.unbind()?;
    for (name, file, text) in &mut writers {
        let written = file.write(text.as_bytes()).map_err(Errno::from);
        check(format!("write to {name}"), written, Err(Errno::ENODEV))?;
    }
    let read = start.read(&mut [0; 64]).map_err(Errno::from);
    check("read of a mapping", read, Err(Errno::ENODEV))
}

fn region_unbind_with_fsdev_bound_works(region: &Region) -> Outcome {
    crate::family::require_fsdev()?;
    let device = region.create_over(&[region.units(3, 2)])?;
    check(
        "by type",
        Driver::FsdevDax.try_write("bind", device.name()),
        Err(Errno::ENODEV),
    )?;
    device.bind_by_id(Driver::FsdevDax)?;
    let resized = device.try_write("size", "0");
    check("size while bound", resized, Err(Errno::EBUSY))?;
    region.unbind()?;
    check_gone(&[device])
}

fn data_survives_region_rebind(region: &Region) -> Outcome {
    let spans = [region.units(12, 1), region.units(8, 1)];
    let device = region.create_bound(UNIT, &spans)?;
    let map = Map::whole(&device)?;
    check("store", map.store(UNIT + 8, 4242), Ok(()))?;
    drop(map);
    region.unbind()?;
    region.bind()?;
    let device = region.create_bound(UNIT, &spans)?;
    check("load", Map::whole(&device)?.load(UNIT + 8), Ok(4242))
}
