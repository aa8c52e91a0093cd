// SPDX-License-Identifier: GPL-2.0
//! Work in one region stalls no other, nor other devices of that region (A17).
//!
//! A device that is being unbound waits for as long as somebody holds one of its pages, so nothing
//! here depends on time: whoever had to wait for it would wait for ever.

use super::{check_ends, check_waits, device, failed, hold, start, C};
use crate::daxctl;
use crate::device::{Device, Driver};
use crate::errno::Errno;
use crate::ktap::{check, Failure, Outcome, Test};
use crate::mmap::{self, Map};
use crate::region::{self, Region};
use crate::sysfs;
use crate::test;
use crate::units::{PAGE, UNIT};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(devices_go_on_while_another_waits, region::tear_down).not_on_c(C),
    test!(regions_go_on_while_another_waits, region::tear_down).not_on_c(C),
    test!(region_that_waits_is_out_of_service, region::tear_down).not_on_c(C),
];

/// Everything that can be done in a region, from an empty device to no device.
fn use_region(region: &Region) -> Outcome {
    let device = region.create()?;
    device.set_align(PAGE)?;
    device.set_size(2 * UNIT)?;
    device.bind(Driver::DeviceDax)?;
    let map = Map::whole(&device)?;
    check("store", map.store(UNIT, 5), Ok(()))?;
    check("load", map.load(UNIT), Ok(5))?;
    drop(map);
    region.available()?;
    region.seed()?;
    device.unbind()?;
    device.set_size(UNIT)?;
    region.destroy(&device).map_err(Failure::from)
}

/// Reads every attribute of a device.
fn read_all(device: &Device) -> Outcome {
    for name in [
        "size",
        "align",
        "resource",
        "target_node",
        "memmap_on_memory",
    ] {
        sysfs::read(&device.attr(name))?;
    }
    device.ranges()?;
    Ok(())
}

fn devices_go_on_while_another_waits() -> Outcome {
    let (region, device) = device(UNIT)?;
    let pipe = hold(&Map::whole(&device)?, 0)?;
    let mut unbinding = start(|| device.unbind())?;
    check_waits(&mut unbinding)?;
    read_all(&device)?;
    let busy = Err(Errno::EBUSY);
    check("size", device.try_write("size", "0"), busy)?;
    check("align", device.try_write("align", "4096"), busy)?;
    check("delete", region.try_write("delete", device.name()), busy)?;
    for _ in 0..3 {
        use_region(&region)?;
    }
    daxctl::json(&["list", "-DRM"])?;
    check_waits(&mut unbinding)?;
    drop(pipe);
    check_ends(&mut unbinding)
}

fn regions_go_on_while_another_waits() -> Outcome {
    let (region, device) = device(UNIT)?;
    let pipe = hold(&Map::whole(&device)?, 0)?;
    let mut unbinding = start(|| region.unbind())?;
    check_waits(&mut unbinding)?;
    let others = [0, 2, 3].map(|number| Region::of(format!("hmem.{number}")));
    for other in others {
        let other = other?;
        use_region(&other)?;
        other.unbind()?;
        other.bind()?;
        use_region(&other)?;
    }
    check_waits(&mut unbinding)?;
    drop(pipe);
    check_ends(&mut unbinding)?;
    region.bind()?;
    use_region(&region)
}

fn region_that_waits_is_out_of_service() -> Outcome {
    let (region, device) = device(UNIT)?;
    let other = region.create_sized(UNIT)?;
    let pipe = hold(&Map::whole(&device)?, UNIT)?;
    let file = mmap::open(&device.node()).map_err(failed("open"))?;
    // The youngest goes first, so that the one that waits does not keep it.
    let mut unbinding = start(|| region.unbind())?;
    check_waits(&mut unbinding)?;
    check("the other device", other.exists(), false)?;
    let gone = Err(Errno::ENOENT);
    check("create", region.try_write("create", "1"), gone)?;
    check("size", device.try_write("size", "0"), gone)?;
    check("node", device.node().exists(), false)?;
    let mapped = Map::shared(&file, UNIT, 0).map(drop);
    check("mmap", mapped, Err(Errno::ENXIO))?;
    drop(pipe);
    check_ends(&mut unbinding)?;
    check("the device", device.exists(), false)?;
    region.bind()?;
    use_region(&region)
}
