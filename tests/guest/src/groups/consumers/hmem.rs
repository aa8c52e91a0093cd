// SPDX-License-Identifier: GPL-2.0
//! dax_hmem: several regions of soft-reserved memory in several NUMA nodes.

use crate::daxctl;
use crate::device::{Device, Driver};
use crate::errno::Errno;
use crate::family;
use crate::iomem;
use crate::json;
use crate::kernel;
use crate::ktap::{check, needs_units, Failure, Outcome, Test};
use crate::memory;
use crate::mmap::Map;
use crate::pattern;
use crate::region::{self, Region};
use crate::sysfs;
use crate::test;
use crate::trap::Signal;
use crate::units::{Span, GIB, MEDIUM, MIB, UNIT};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::Path;

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(regions_are_those_of_the_machine, region::tear_down),
    test!(daxctl_lists_every_region, region::tear_down),
    test!(
        daxctl_creates_in_the_region_that_is_named,
        region::tear_down
    ),
    test!(devices_of_regions_are_apart, region::tear_down),
    test!(delete_in_another_region_is_refused, region::tear_down),
    test!(region_unbind_leaves_other_regions_alone, region::tear_down),
    test!(platform_rebind_brings_every_region_back, region::tear_down),
    test!(idle_is_asked_at_each_bind, region::tear_down),
    test!(
        regions_that_are_not_idle_become_memory_of_their_nodes,
        region::tear_down
    ),
    test!(region_that_is_not_idle_can_be_divided, region::tear_down),
    test!(
        unload_with_every_region_in_use_leaves_nothing,
        region::tear_down
    ),
];

/// The machine's memory: 4 GiB of node 0, one GiB each of nodes 1 and 2. Soft-reserved are a
/// part of node 0, all of node 1, and two parts of node 2.
pub const APPEND: &str = "memmap=256M%5G+0xefffffff memmap=1G%6G+0xefffffff \
                          memmap=512M%7G+0xefffffff memmap=256M%7936M+0xefffffff";
/// QEMU's options for the NUMA nodes.
pub const QEMU: &str = "-object memory-backend-ram,id=ram0,size=4G \
                        -object memory-backend-ram,id=ram1,size=1G \
                        -object memory-backend-ram,id=ram2,size=1G \
                        -numa node,nodeid=0,memdev=ram0,cpus=0-1 \
                        -numa node,nodeid=1,memdev=ram1 -numa node,nodeid=2,memdev=ram2";

/// The regions that `APPEND` makes, and the node of each.
fn expected() -> Vec<(Span, u64)> {
    vec![
        (Span::at(5 * GIB, 256 * MIB), 0),
        (Span::at(6 * GIB, GIB), 1),
        (Span::at(7 * GIB, 512 * MIB), 2),
        (Span::at(7936 * MIB, 256 * MIB), 2),
    ]
}

/// Every region again, bound with what `region_idle` is now.
fn rebind(regions: &[Region]) -> sysfs::Result<Vec<Region>> {
    for region in regions {
        region.unbind()?;
        region.bind()?;
    }
    let names = regions.iter().map(|r| r.hmem().to_owned());
    names.map(Region::of).collect()
}

fn regions_are_those_of_the_machine() -> Outcome {
    let regions = Region::fresh_all()?;
    check("regions", regions.len(), expected().len())?;
    for (id, (region, (span, node))) in regions.iter().zip(expected()).enumerate() {
        let first = region.first_device()?;
        check("first device", first.name(), &*format!("dax{id}.0"))?;
        check("span", region.span(), span)?;
        for (attr, value) in [("id", id as u64), ("size", span.len()), ("align", UNIT)] {
            let actual = sysfs::read_number(&region.attr(attr))?;
            check(format!("{attr} of region {id}"), actual, value)?;
        }
        check("available", region.available()?, span.len())?;
        let target = sysfs::read_number(&first.attr("target_node"))?;
        check(format!("target_node of region {id}"), target, node)?;
        // A device's own data structures belong on a near node that has memory or CPUs.
        let near = sysfs::read(&first.attr("numa_node"))?;
        let near = near.parse().unwrap_or(u64::MAX);
        let online = memory::node(near).exists();
        check(format!("node {near} is online"), online, true)?;
    }
    Ok(())
}

fn daxctl_lists_every_region() -> Outcome {
    let regions = Region::fresh_all()?;
    let listed = daxctl::json(&["list", "-R"])?;
    check("regions", listed.len(), regions.len())?;
    for (id, region) in regions.iter().enumerate() {
        let found = listed.iter().find(|r| r["id"] == json!(id));
        let found = found.unwrap_or(&serde_json::Value::Null);
        let size = region.span().len();
        let path = region.dir().to_string_lossy();
        let path = path.strip_prefix("/sys/devices").unwrap_or_default();
        json::check_members(
            found,
            &[
                ("path", json!(path)),
                ("size", json!(size)),
                ("available_size", json!(size)),
                ("align", json!(UNIT)),
            ],
        )?;
    }
    Ok(())
}

fn daxctl_creates_in_the_region_that_is_named() -> Outcome {
    let regions = Region::fresh_all()?;
    for (id, (region, (_, node))) in regions.iter().zip(expected()).enumerate().rev() {
        let number = id.to_string();
        let device = daxctl::create(&["-r", &number, "-s", &MEDIUM.to_string()])?;
        check("device", device.name(), &*format!("dax{id}.1"))?;
        check(
            "spans",
            device.spans()?,
            vec![region.units(0, MEDIUM / UNIT)],
        )?;
        json::check_members(
            &daxctl::list(&device)?,
            &[("target_node", json!(node)), ("mode", json!("devdax"))],
        )?;
        let listed = daxctl::json(&["list", "-D", "-r", &number])?;
        check("devices of the region", listed.len(), 1)?;
    }
    daxctl::run(&["destroy-device", "-f", "-r", "2", "all"])?;
    let left: Vec<usize> = vec![2, 2, 1, 2];
    for (region, left) in regions.iter().zip(left) {
        check(
            format!("{} devices", region.hmem()),
            region.devices()?.len(),
            left,
        )?;
    }
    Ok(())
}

/// A bound device of two ranges, the upper one first, in every region.
fn devices_of(regions: &[Region]) -> Result<Vec<Device>, Failure> {
    let make = |r: &Region| {
        needs_units(r, 7)?;
        Ok(r.create_bound(UNIT, &[r.units(5, 2), r.units(1, 1)])?)
    };
    regions.iter().map(make).collect()
}

fn devices_of_regions_are_apart() -> Outcome {
    let regions = Region::fresh_all()?;
    let devices = devices_of(&regions)?;
    let numbers: BTreeSet<String> = devices.iter().map(Device::dev).collect::<Result<_, _>>()?;
    check("device numbers", numbers.len(), devices.len())?;
    let maps: Vec<Map> = devices.iter().map(Map::whole).collect::<Result<_, _>>()?;
    for (seed, (device, map)) in devices.iter().zip(&maps).enumerate() {
        pattern::fill(map, &device.ranges()?, seed as u64)?;
    }
    for (seed, (device, map)) in devices.iter().zip(&maps).enumerate() {
        pattern::compare(map, &device.ranges()?, seed as u64)?;
        pattern::compare_frames(map, &device.ranges()?)?;
    }
    for (region, device) in regions.iter().zip(&devices) {
        let used = device.size()?;
        check("available", region.available()?, region.span().len() - used)?;
        check("reserved", iomem::named(device.name())?.len(), 2)?;
    }
    Ok(())
}

fn delete_in_another_region_is_refused() -> Outcome {
    let regions = Region::fresh_all()?;
    let device = regions[1].create()?;
    let deleted = regions[2].try_write("delete", device.name());
    check("delete", deleted, Err(Errno::ENXIO))?;
    check("device", device.exists(), true)?;
    Ok(regions[1].delete(&device)?)
}

fn region_unbind_leaves_other_regions_alone() -> Outcome {
    let regions = Region::fresh_all()?;
    let devices = devices_of(&regions)?;
    let maps: Vec<Map> = devices.iter().map(Map::whole).collect::<Result<_, _>>()?;
    for (seed, map) in maps.iter().enumerate() {
        check("store", map.store(UNIT, seed as u64), Ok(()))?;
    }
    regions[1].unbind()?;
    for (id, (device, map)) in devices.iter().zip(&maps).enumerate() {
        check(device.name(), device.exists(), id != 1)?;
        let there = if id == 1 {
            Err(Signal::BUS)
        } else {
            Ok(id as u64)
        };
        check(
            format!("load from {}", device.name()),
            map.load(UNIT),
            there,
        )?;
    }
    regions[1].bind()?;
    let again = Region::of(regions[1].hmem().to_owned())?;
    check("span", again.span(), regions[1].span())?;
    let device = &devices_of(&[again])?[0];
    check("name", device, &devices[1])?;
    check("data", Map::whole(device)?.load(UNIT), Ok(1))
}

/// The driver of the device that makes the regions.
const PLATFORM: &str = "/sys/bus/platform/drivers/hmem_platform";

fn platform_rebind_brings_every_region_back() -> Outcome {
    let regions = Region::fresh_all()?;
    let devices = devices_of(&regions)?;
    sysfs::write(&Path::new(PLATFORM).join("unbind"), "hmem_platform.0")?;
    check("hmem devices", region::hmem_names()?, vec![])?;
    check("dax devices", Device::all(), vec![])?;
    for device in &devices {
        check("node", device.node().exists(), false)?;
        check("reserved", iomem::named(device.name())?, vec![])?;
    }
    sysfs::write(&Path::new(PLATFORM).join("bind"), "hmem_platform.0")?;
    let again = Region::fresh_all()?;
    let spans: Vec<Span> = again.iter().map(Region::span).collect();
    let before: Vec<Span> = regions.iter().map(Region::span).collect();
    check("spans", spans, before)?;
    check("devices", devices_of(&again)?, devices)
}

fn idle_is_asked_at_each_bind() -> Outcome {
    let regions = Region::fresh_all()?;
    region::set_idle(false)?;
    for region in &regions {
        check("until then", region.first_device()?.size()?, 0)?;
    }
    let full = rebind(&regions[1..2])?;
    let first = full[0].first_device()?;
    check("size", first.size()?, regions[1].span().len())?;
    check("available", full[0].available()?, 0)?;
    check("driver", first.driver(), Some(Driver::Kmem.name().into()))?;
    check("the one before", regions[0].first_device()?.size()?, 0)?;
    region::set_idle(true)?;
    let idle = rebind(&regions[1..2])?;
    check("size", idle[0].first_device()?.size()?, 0)?;
    check("seed of an idle region", idle[0].seed()?, String::new())
}

fn regions_that_are_not_idle_become_memory_of_their_nodes() -> Outcome {
    let before: Vec<u64> = (0..3).map(memory::of_node).collect::<Result<_, _>>()?;
    let regions = Region::fresh_all()?;
    region::set_idle(false)?;
    let regions = rebind(&regions)?;
    let mut grown = before.clone();
    for (region, (span, node)) in regions.iter().zip(expected()) {
        let first = region.first_device()?;
        check("driver", first.driver(), Some(Driver::Kmem.name().into()))?;
        check("owner", iomem::named(first.name())?, vec![span])?;
        memory::online(span, "online_movable")?;
        let owners = vec![first.name().to_owned(), "System RAM (kmem)".to_owned()];
        check("owners", iomem::owners(span)?, owners)?;
        grown[node as usize] += span.len();
        let total = memory::of_node(node)?;
        check(
            format!("memory of node {node}"),
            total,
            grown[node as usize],
        )?;
    }
    for region in &regions {
        let first = region.first_device()?;
        memory::offline(region.span())?;
        first.unbind()?;
        check("blocks", memory::blocks(region.span())?.len(), 0)?;
        check("owner", iomem::named(first.name())?, vec![])?;
    }
    let after: Vec<u64> = (0..3).map(memory::of_node).collect::<Result<_, _>>()?;
    check("memory of the nodes", after, before)
}

fn region_that_is_not_idle_can_be_divided() -> Outcome {
    let regions = Region::fresh_all()?;
    region::set_idle(false)?;
    let region = &rebind(&regions[1..2])?[0];
    let first = region.first_device()?;
    let block = memory::block_size()?;
    needs_units(region, 2 * block / UNIT + 1)?;
    let shrunk = first.try_write("size", &block.to_string());
    check("size while kmem has it", shrunk, Err(Errno::EBUSY))?;
    first.unbind()?;
    first.set_size(block)?;
    let spans = [
        region.units(block / UNIT, block / UNIT),
        region.units(region.unit_count() - 1, 1),
    ];
    let device = region.create_over(&spans)?;
    check("driver before a bind", device.driver(), None)?;
    // As at first, kmem gets it by type, and any driver by id.
    device.bind(Driver::Kmem)?;
    check("blocks", memory::blocks(region.span())?.len(), 1)?;
    device.unbind()?;
    device.bind_by_id(Driver::DeviceDax)?;
    pattern::fill(&Map::whole(&device)?, &device.ranges()?, 8)?;
    pattern::compare(&Map::whole(&device)?, &device.ranges()?, 8)?;
    first.bind(Driver::Kmem)?;
    check("owner", iomem::named(first.name())?, first.spans()?)?;
    // After the next bind the region is one device again.
    let region = &rebind(std::slice::from_ref(region))?[0];
    check(
        "spans",
        region.first_device()?.spans()?,
        vec![region.span()],
    )
}

fn unload_with_every_region_in_use_leaves_nothing() -> Outcome {
    family::require_modules()?;
    family::unload()?;
    let before = iomem::read()?;
    for idle in ["region_idle=1", "region_idle=0"] {
        kernel::modprobe(&["device_dax"])?;
        kernel::modprobe(&["kmem"])?;
        kernel::modprobe(&["dax_hmem", idle])?;
        let names = region::hmem_names()?;
        let regions: Vec<Region> = names
            .into_iter()
            .map(Region::of)
            .collect::<Result<_, _>>()?;
        check("regions", regions.len(), expected().len())?;
        if idle == "region_idle=1" {
            devices_of(&regions)?;
        }
        check("iomem is as before", iomem::read()? == before, false)?;
        family::unload()?;
        check("iomem", iomem::read()?, before.clone())?;
    }
    Ok(())
}
