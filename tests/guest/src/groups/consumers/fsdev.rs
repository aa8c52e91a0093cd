// SPDX-License-Identifier: GPL-2.0
//! fsdev_dax: memory for a file system that brings its own files. The kernel has no such file
//! system yet, so the tests look at the driver itself, not at a file on it.

use crate::daxctl;
use crate::device::{Device, Driver};
use crate::errno::Errno;
use crate::iomem;
use crate::json;
use crate::kernel::{has_module, modprobe, modprobe_remove};
use crate::ktap::{check, needs_units, Failure, Outcome, Test};
use crate::mmap::{self, Map};
use crate::pattern;
use crate::region::Region;
use crate::test;
use crate::units::{MEDIUM, PAGE, UNIT};
use serde_json::json;
use std::os::unix::fs::MetadataExt;

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(fsdev_takes_a_device_by_id_only),
    test!(fsdev_node_opens_and_cannot_be_mapped),
    test!(fsdev_reserves_every_range),
    test!(fsdev_reserves_what_a_device_has_after_each_change),
    test!(fsdev_device_refuses_changes_with_ebusy),
    test!(fsdev_to_device_dax_and_back_keeps_the_data),
    test!(fsdev_takes_every_alignment),
    test!(fsdev_file_that_is_open_survives_unbind),
    test!(fsdev_takes_a_device_that_daxctl_made),
    test!(fsdev_unload_unbinds_its_devices),
    test!(fsdev_and_device_dax_serve_one_region_at_once),
];

/// A device of three ranges in no order, bound to no driver.
fn scattered(region: &Region) -> Result<Device, Failure> {
    crate::family::require_rebinding_of_fsdev()?;
    let spans = [region.units(9, 2), region.units(3, 1), region.units(20, 4)];
    let device = region.create_over(&spans)?;
    if !Driver::FsdevDax.present() {
        modprobe(&["fsdev_dax"])?;
    }
    Ok(device)
}

fn fsdev_takes_a_device_by_id_only(region: &Region) -> Outcome {
    let device = scattered(region)?;
    let bound = Driver::FsdevDax.try_write("bind", device.name());
    check("by type", bound, Err(Errno::ENODEV))?;
    device.bind_by_id(Driver::FsdevDax)?;
    check("driver", device.driver(), Some("fsdev_dax".into()))?;
    // Until the id is forgotten it can come back.
    device.unbind()?;
    device.bind(Driver::FsdevDax)?;
    device.unbind()?;
    let forgotten = Driver::FsdevDax.try_write("remove_id", device.name());
    check("remove_id", forgotten, Ok(device.name().len()))?;
    let bound = Driver::FsdevDax.try_write("bind", device.name());
    check("without the id", bound, Err(Errno::ENODEV))
}

fn fsdev_node_opens_and_cannot_be_mapped(region: &Region) -> Outcome {
    let device = scattered(region)?;
    device.bind_by_id(Driver::FsdevDax)?;
    let file = mmap::open(&device.node()).map_err(|e| Failure::Fail(format!("open: {e}")))?;
    let numbers = file.metadata().map(|meta| meta.rdev());
    let numbers = numbers.map_err(|e| Failure::Fail(format!("stat: {e}")))?;
    let text = format!("{}:{}", libc::major(numbers), libc::minor(numbers));
    check("device number", text, device.dev()?)?;
    let mapped = Map::shared(&file, UNIT, 0).map(|map| map.addr());
    check("mmap", mapped, Err(Errno::ENODEV))
}

fn fsdev_reserves_every_range(region: &Region) -> Outcome {
    let device = scattered(region)?;
    device.bind_by_id(Driver::FsdevDax)?;
    let mut spans = device.spans()?;
    spans.sort();
    check("reserved", iomem::named(device.name())?, spans)?;
    device.unbind()?;
    check("after unbind", iomem::named(device.name())?, vec![])
}

/// fsdev_dax reads the ranges where the C driver has them.
fn fsdev_reserves_what_a_device_has_after_each_change(region: &Region) -> Outcome {
    let device = scattered(region)?;
    region.create_over(&[region.units(0, 1)])?;
    // The device has seven units. It shrinks into the last range, to the end of one, into the
    // first; then it grows and shrinks over holes.
    for units in [6, 3, 1, 9, 2, 30, 4] {
        device.set_size(units * UNIT)?;
        device.bind_by_id(Driver::FsdevDax)?;
        let mut spans = device.spans()?;
        let size: u64 = spans.iter().map(|span| span.len()).sum();
        check("size", size, units * UNIT)?;
        spans.sort();
        check("reserved", iomem::named(device.name())?, spans)?;
        device.unbind()?;
        check("after unbind", iomem::named(device.name())?, vec![])?;
    }
    Ok(())
}

fn fsdev_device_refuses_changes_with_ebusy(region: &Region) -> Outcome {
    let device = scattered(region)?;
    device.bind_by_id(Driver::FsdevDax)?;
    let before = device.ranges()?;
    let (size, align) = (UNIT.to_string(), PAGE.to_string());
    for (attr, text) in [("size", "0"), ("size", &size), ("align", &align)] {
        let written = device.try_write(attr, text);
        check(format!("{text} to {attr}"), written, Err(Errno::EBUSY))?;
    }
    let deleted = region.try_write("delete", device.name());
    check("delete", deleted, Err(Errno::EBUSY))?;
    check("ranges", device.ranges()?, before)?;
    device.unbind()?;
    device.set_size(UNIT)?;
    check("size when unbound", device.size()?, UNIT)
}

fn fsdev_to_device_dax_and_back_keeps_the_data(region: &Region) -> Outcome {
    let device = scattered(region)?;
    device.bind(Driver::DeviceDax)?;
    let ranges = device.ranges()?;
    pattern::fill(&Map::whole(&device)?, &ranges, 5)?;
    for round in 0..3 {
        device.unbind()?;
        device.bind_by_id(Driver::FsdevDax)?;
        check("size", device.size()?, 7 * UNIT)?;
        device.unbind()?;
        device.bind(Driver::DeviceDax)?;
        let map = Map::whole(&device)?;
        pattern::compare(&map, &ranges, 5)?;
        pattern::compare_frames(&map, &ranges)?;
        check(format!("round {round}"), device.ranges()?, ranges.clone())?;
    }
    Ok(())
}

fn fsdev_takes_every_alignment(region: &Region) -> Outcome {
    for align in [PAGE, UNIT] {
        let device = scattered(region)?;
        device.set_align(align)?;
        device.bind_by_id(Driver::FsdevDax)?;
        device.unbind()?;
        // The struct pages of the one driver must not be left to the other.
        device.bind(Driver::DeviceDax)?;
        let map = Map::whole(&device)?;
        check("store", map.store(6 * UNIT, align), Ok(()))?;
        check("load", map.load(6 * UNIT), Ok(align))?;
        drop(map);
        region.destroy(&device)?;
    }
    Ok(())
}

fn fsdev_file_that_is_open_survives_unbind(region: &Region) -> Outcome {
    let device = scattered(region)?;
    device.bind_by_id(Driver::FsdevDax)?;
    let file = mmap::open(&device.node()).map_err(|e| Failure::Fail(format!("open: {e}")))?;
    device.unbind()?;
    let mapped = Map::shared(&file, UNIT, 0).map(|map| map.addr());
    check("mmap of the old file", mapped, Err(Errno::ENODEV))?;
    drop(file);
    device.bind(Driver::DeviceDax)?;
    check("store", Map::whole(&device)?.store(0, 1), Ok(()))
}

fn fsdev_takes_a_device_that_daxctl_made(region: &Region) -> Outcome {
    drop(scattered(region)?);
    // The first device has seven units of the region.
    needs_units(region, 7 + MEDIUM / UNIT)?;
    let device = daxctl::create(&["-s", &MEDIUM.to_string()])?;
    daxctl::run(&["disable-device", device.name()])?;
    device.bind_by_id(Driver::FsdevDax)?;
    let listed = daxctl::list(&device)?;
    json::check_members(&listed, &[("size", json!(MEDIUM))])?;
    // daxctl knows this driver under no mode, and disables it all the same.
    daxctl::run(&["disable-device", device.name()])?;
    check("driver", device.driver(), None)?;
    Driver::FsdevDax
        .try_write("remove_id", device.name())
        .map_err(|e| Failure::Fail(format!("remove_id: {e}")))?;
    daxctl::run(&["enable-device", device.name()])?;
    check("driver", device.driver(), Some("device_dax".into()))?;
    daxctl::run(&["destroy-device", "-f", device.name()])?;
    check("device", device.exists(), false)
}

fn fsdev_unload_unbinds_its_devices(region: &Region) -> Outcome {
    crate::family::require_modules()?;
    let device = scattered(region)?;
    device.bind_by_id(Driver::FsdevDax)?;
    modprobe_remove("fsdev_dax")?;
    check("module", has_module("fsdev_dax"), false)?;
    check("driver", device.driver(), None)?;
    check("reserved", iomem::named(device.name())?, vec![])?;
    device.bind(Driver::DeviceDax)?;
    check("store", Map::whole(&device)?.store(0, 1), Ok(()))?;
    device.unbind()?;
    modprobe(&["fsdev_dax"])?;
    device.bind_by_id(Driver::FsdevDax)?;
    check("driver", device.driver(), Some("fsdev_dax".into()))
}

fn fsdev_and_device_dax_serve_one_region_at_once(region: &Region) -> Outcome {
    let device = scattered(region)?;
    let other = region.create_bound(UNIT, &[region.units(40, 2), region.units(30, 1)])?;
    let map = Map::whole(&other)?;
    pattern::fill(&map, &other.ranges()?, 6)?;
    device.bind_by_id(Driver::FsdevDax)?;
    device.unbind()?;
    pattern::compare(&map, &other.ranges()?, 6)?;
    pattern::compare_frames(&map, &other.ranges()?).map(drop)
}
