// SPDX-License-Identifier: GPL-2.0
//! A region of CXL memory as a dax region, and its devices.

use super::{devdax, empty, first, load, MEMORIES, NODE, SIZE, WINDOW};
use crate::cxl::{self, CxlRegion};
use crate::daxctl;
use crate::device::{Device, Driver};
use crate::errno::Errno;
use crate::iomem;
use crate::json;
use crate::ktap::{check, Outcome, Test};
use crate::memory;
use crate::mmap::Map;
use crate::pattern;
use crate::sysfs;
use crate::test;
use crate::units::{in_order, Span, GIB, HAS_GIANT, PAGE, UNIT};
use serde_json::json;

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(region_is_one_device_for_kmem_at_first, cxl::tear_down),
    test!(daxctl_lists_the_region, cxl::tear_down),
    test!(data_is_kept_with_every_align, cxl::tear_down),
    test!(region_can_be_divided_anew, cxl::tear_down),
    test!(device_over_holes_reaches_every_range, cxl::tear_down),
    test!(daxctl_divides_the_region, cxl::tear_down),
    test!(regions_of_two_memories_are_apart, cxl::tear_down),
    test!(interleaved_memories_are_one_region, cxl::tear_down),
    test!(fsdev_takes_a_device_of_cxl_memory, cxl::tear_down),
];

fn region_is_one_device_for_kmem_at_first() -> Outcome {
    let (region, dax) = first()?;
    let span = region.span()?;
    check("size of the CXL region", span.len(), SIZE)?;
    check("span", dax.span(), span)?;
    let id = region.id().parse().unwrap_or(u64::MAX);
    for (attr, value) in [
        ("id", id),
        ("size", SIZE),
        ("align", UNIT),
        ("available_size", 0),
    ] {
        check(attr, sysfs::read_number(&dax.attr(attr))?, value)?;
    }
    check("seed", dax.seed()?, String::new())?;
    let device = dax.first_device()?;
    check("devices", dax.devices()?, vec![device.clone()])?;
    check("ranges", device.ranges()?, in_order(&[span]))?;
    check("driver", device.driver(), Some("kmem".into()))?;
    for (attr, value) in [
        ("target_node", NODE),
        ("memmap_on_memory", 1),
        ("align", UNIT),
    ] {
        check(attr, sysfs::read_number(&device.attr(attr))?, value)?;
    }
    let owners = [WINDOW, region.name(), device.name(), "System RAM (kmem)"];
    check(
        "owners",
        iomem::owners(span)?,
        owners.map(str::to_owned).to_vec(),
    )
}

fn daxctl_lists_the_region() -> Outcome {
    let (region, dax) = first()?;
    let path = dax.dir().to_string_lossy().into_owned();
    let path = path.strip_prefix("/sys/devices").unwrap_or_default();
    let listed = json::one("daxctl", &["list", "-R", "-r", region.id()])?;
    json::check_members(
        &listed,
        &[
            ("path", json!(path)),
            ("size", json!(SIZE)),
            ("align", json!(UNIT)),
        ],
    )?;
    let device = daxctl::list(&dax.first_device()?)?;
    json::check_members(
        &device,
        &[
            ("size", json!(SIZE)),
            ("target_node", json!(NODE)),
            ("mode", json!("system-ram")),
        ],
    )?;
    check(
        "mappings",
        daxctl::ranges(&device)?,
        in_order(&[dax.span()]),
    )
}

fn data_is_kept_with_every_align() -> Outcome {
    let (_, dax) = empty()?;
    let giant = dax.create()?;
    check("align 1 GiB", giant.set_align(GIB).is_ok(), HAS_GIANT)?;
    if HAS_GIANT {
        let size = giant.try_write("size", &GIB.to_string());
        check("1 GiB of 256 MiB", size, Err(Errno::ENOSPC))?;
    }
    for (seed, align) in [(1, PAGE), (2, UNIT)] {
        let device = devdax(&dax, align, &[dax.units(3, 2)])?;
        let ranges = device.ranges()?;
        let map = Map::whole(&device)?;
        pattern::fill(&map, &ranges, seed)?;
        check(
            "KernelPageSize",
            map.smaps_kib("KernelPageSize")? << 10,
            align,
        )?;
        drop(map);
        device.unbind()?;
        device.bind(Driver::DeviceDax)?;
        let map = Map::whole(&device)?;
        pattern::compare(&map, &ranges, seed)?;
        pattern::compare_frames(&map, &ranges)?;
        drop(map);
        device.forget()?;
        dax.destroy(&device)?;
    }
    Ok(())
}

fn region_can_be_divided_anew() -> Outcome {
    let (_, dax) = first()?;
    let device = dax.first_device()?;
    device.disable()?;
    for (size, available) in [
        (SIZE / 2, SIZE / 2),
        (UNIT, dax.span().len() - UNIT),
        (SIZE, 0),
        (0, SIZE),
    ] {
        device.set_size(size)?;
        check("size", device.size()?, size)?;
        check("available", dax.available()?, available)?;
    }
    device.set_size(32 * UNIT)?;
    let other = dax.create_sized(16 * UNIT)?;
    check("spans", other.spans()?, vec![dax.units(32, 16)])?;
    check(
        "first cannot go",
        dax.try_write("delete", device.name()),
        Err(Errno::EBUSY),
    )?;
    // kmem matches it by type, but refuses less than a memory block.
    if other.size()? < memory::block_size()? {
        let bound = Driver::Kmem.try_write("bind", other.name());
        check("kmem", bound, Err(Errno::EINVAL))?;
    }
    let bound = Driver::DeviceDax.try_write("bind", other.name());
    check("device_dax by type", bound, Err(Errno::ENODEV))?;
    other.bind_by_id(Driver::DeviceDax)?;
    check("store", Map::whole(&other)?.store(0, 1), Ok(()))?;
    check(
        "resize when bound",
        other.try_write("size", "0"),
        Err(Errno::EBUSY),
    )?;
    other.unbind()?;
    other.forget()?;
    dax.destroy(&other)?;
    check("available", dax.available()?, SIZE - 32 * UNIT)
}

fn device_over_holes_reaches_every_range() -> Outcome {
    let (_, dax) = empty()?;
    let spans = [dax.units(9, 2), dax.units(3, 1), dax.units(20, 1)];
    let device = devdax(&dax, UNIT, &spans)?;
    let ranges = device.ranges()?;
    check("ranges", &ranges, &in_order(&spans))?;
    let map = Map::whole(&device)?;
    pattern::fill(&map, &ranges, 7)?;
    pattern::fill_across(&map, &ranges, 7)?;
    pattern::compare(&map, &ranges, 7)?;
    pattern::compare_frames(&map, &ranges)?;
    let mut reserved = spans.to_vec();
    reserved.sort();
    check("reserved", iomem::named(device.name())?, reserved)
}

fn daxctl_divides_the_region() -> Outcome {
    let (region, dax) = empty()?;
    let mut devices = Vec::new();
    for (number, units) in [(1, 8), (2, 16), (3, 8)] {
        let size = (units * UNIT).to_string();
        let device = daxctl::create(&["-r", region.id(), "-s", &size])?;
        check(
            "name",
            device.name(),
            &*format!("dax{}.{number}", region.id()),
        )?;
        devices.push(device);
    }
    daxctl::run(&["destroy-device", "-f", devices[1].name()])?;
    let device = daxctl::create(&["-r", region.id(), "-s", &(20 * UNIT).to_string()])?;
    let spans = [dax.units(8, 16), dax.units(32, 4)];
    check("ranges", device.ranges()?, in_order(&spans))?;
    json::check_members(&daxctl::list(&device)?, &[("mode", json!("devdax"))])?;
    let map = Map::whole(&device)?;
    for offset in [0, 16 * UNIT - 8, 16 * UNIT, 20 * UNIT - 8] {
        check("store", map.store(offset, !offset), Ok(()))?;
        check("load", map.load(offset), Ok(!offset))?;
    }
    drop(map);
    daxctl::run(&["destroy-device", "-f", "-r", region.id(), "all"])?;
    check("available", dax.available()?, SIZE)
}

fn regions_of_two_memories_are_apart() -> Outcome {
    let memories = load()?;
    let mut devices: Vec<(u64, Device)> = Vec::new();
    for (seed, memory) in (1..).zip(memories.chunks(1)) {
        let region = CxlRegion::create(memory)?;
        let dax = region.dax_region()?;
        let number = dax.first_device()?;
        check("name", number.name(), &*format!("dax{}.0", region.id()))?;
        number.release()?;
        let device = devdax(&dax, UNIT, &[dax.units(5, 1), dax.units(1, 1)])?;
        pattern::fill(&Map::whole(&device)?, &device.ranges()?, seed)?;
        devices.push((seed, device));
    }
    check("regions", devices.len(), MEMORIES)?;
    for (seed, device) in &devices {
        let map = Map::whole(device)?;
        pattern::compare(&map, &device.ranges()?, *seed)?;
        pattern::compare_frames(&map, &device.ranges()?)?;
    }
    let listed = daxctl::json(&["list", "-R"])?;
    check("listed regions", listed.len(), MEMORIES)
}

fn interleaved_memories_are_one_region() -> Outcome {
    let region = CxlRegion::create(&load()?)?;
    json::check_members(&region.listed, &[("interleave_ways", json!(MEMORIES))])?;
    let dax = region.dax_region()?;
    let size = SIZE * MEMORIES as u64;
    check("size", dax.span().len(), size)?;
    dax.first_device()?.release()?;
    let last = Span::at(dax.span().end + 1 - UNIT, UNIT);
    let device = devdax(&dax, UNIT, &[last, dax.units(0, 1)])?;
    let ranges = device.ranges()?;
    let map = Map::whole(&device)?;
    pattern::fill(&map, &ranges, 3)?;
    pattern::compare(&map, &ranges, 3)?;
    pattern::compare_frames(&map, &ranges).map(drop)
}

fn fsdev_takes_a_device_of_cxl_memory() -> Outcome {
    crate::family::require_rebinding_of_fsdev()?;
    let (_, dax) = empty()?;
    let device = devdax(&dax, PAGE, &[dax.units(9, 1), dax.units(3, 1)])?;
    let ranges = device.ranges()?;
    pattern::fill(&Map::whole(&device)?, &ranges, 4)?;
    device.unbind()?;
    device.forget()?;
    device.bind_by_id(Driver::FsdevDax)?;
    check("reserved", iomem::named(device.name())?.len(), 2)?;
    check(
        "size when bound",
        device.try_write("size", "0"),
        Err(Errno::EBUSY),
    )?;
    device.unbind()?;
    device.forget()?;
    device.bind_by_id(Driver::DeviceDax)?;
    let map = Map::whole(&device)?;
    pattern::compare(&map, &ranges, 4)?;
    pattern::compare_frames(&map, &ranges).map(drop)
}
