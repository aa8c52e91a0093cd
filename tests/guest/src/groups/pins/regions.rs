// SPDX-License-Identifier: GPL-2.0
//! The owner of a region may take the memory away, so unbinding the region waits for held pages.
//! Meanwhile the region is out of service, the wait can be seen, and it ends if the waiting task is
//! killed.

use super::{device, C};
use crate::compare::log::Log;
use crate::errno::Errno;
use crate::family;
use crate::iomem;
use crate::kernel::{self, has_module, modprobe_remove, run};
use crate::ktap::{check, Failure, Outcome, Test};
use crate::mmap::{self, Map};
use crate::pin::use_region;
use crate::pin::{self, check_draining, check_ends, check_waits, failed, hold, start};
use crate::region;
use crate::test;
use crate::units::UNIT;
use std::path::Path;

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(region_that_waits_is_out_of_service, region::tear_down).not_on_c(C),
    test!(region_waits_for_a_device_that_drains, region::tear_down).not_on_c(C),
    test!(region_that_waits_says_so, region::tear_down).not_on_c(C),
    test!(
        region_waits_for_no_process_that_is_killed,
        region::tear_down
    )
    .not_on_c(C),
    test!(rmmod_of_the_owner_waits_for_pages, region::tear_down).not_on_c(C),
    test!(module_stays_until_all_is_drained, region::tear_down).not_on_c(C),
];

/// The directory of the bus, which exists as long as its module is loaded.
const BUS: &str = "/sys/bus/dax";

fn region_that_waits_is_out_of_service() -> Outcome {
    let (region, device) = device(UNIT)?;
    let other = region.create_sized(UNIT)?;
    let pipe = hold(&Map::whole(&device)?, UNIT)?;
    let file = mmap::open(&device.node()).map_err(failed("open"))?;
    let mut log = Log::open()?;
    let mut unbinding = start(|| region.unbind())?;
    pin::check_region_waits(&mut log, &region, &mut unbinding)?;
    check("the other device", other.exists(), false)?;
    let gone = Err(Errno::ENOENT);
    check("create", region.try_write("create", "1"), gone)?;
    check("size", device.try_write("size", "0"), gone)?;
    check("node", device.node().exists(), false)?;
    let mapped = Map::shared(&file, UNIT, 0).map(drop);
    check("mmap", mapped, Err(Errno::ENXIO))?;
    // The holder sees the stored data to the end.
    check("data", pipe.read_word(), Ok(UNIT))?;
    drop(pipe);
    check_ends(&mut unbinding)?;
    check("the device", device.exists(), false)?;
    region.bind()?;
    use_region(&region)
}

fn region_waits_for_a_device_that_drains() -> Outcome {
    let (region, device) = device(UNIT)?;
    let pipe = hold(&Map::whole(&device)?, UNIT)?;
    pin::unbind(&device)?;
    check_draining(&region, &device)?;
    let mut log = Log::open()?;
    let mut unbinding = start(|| region.unbind())?;
    pin::check_region_waits(&mut log, &region, &mut unbinding)?;
    drop(pipe);
    check_ends(&mut unbinding)?;
    check("the device", device.exists(), false)?;
    region.bind()?;
    use_region(&region)
}

fn region_that_waits_says_so() -> Outcome {
    let (region, device) = device(UNIT)?;
    let pipe = hold(&Map::whole(&device)?, 0)?;
    let mut log = Log::open()?;
    let mut unbinding = start(|| region.unbind())?;
    let mut lines = pin::check_region_waits(&mut log, &region, &mut unbinding)?;
    // `ps` shows administrators this state.
    check("its state", unbinding.state(), Some('D'))?;
    // A signal that is handled is none of SIGKILL; this program handles this one.
    unbinding.signal(nix::sys::signal::SIGBUS);
    check_waits(&mut unbinding)?;
    lines.extend(log.lines()?);
    let said = format!("hmem {}: waits for pinned pages", region.hmem());
    let times = lines.iter().filter(|line| line.contains(&said)).count();
    check(format!("{said:?} in {lines:?}"), times, 1)?;
    drop(pipe);
    check_ends(&mut unbinding)?;
    check("bound", region.is_bound(), false)?;
    region.bind()?;
    use_region(&region)
}

fn region_waits_for_no_process_that_is_killed() -> Outcome {
    let (region, device) = device(UNIT)?;
    let mut log = Log::open()?;
    let pipe = hold(&Map::whole(&device)?, 0)?;
    let mut unbinding = start(|| region.unbind())?;
    pin::check_region_waits(&mut log, &region, &mut unbinding)?;
    pin::check_killed(&mut unbinding)?;
    check("the device", device.exists(), false)?;
    check("bound", region.is_bound(), false)?;
    // The page map drains without its region.
    check("data", pipe.read_word(), Ok(0))?;
    drop(pipe);
    pin::said_drained(&mut log)?;
    region.bind()?;
    use_region(&region)
}

fn rmmod_of_the_owner_waits_for_pages() -> Outcome {
    family::require_modules()?;
    let (region, device) = device(UNIT)?;
    let pipe = hold(&Map::whole(&device)?, UNIT)?;
    let mut log = Log::open()?;
    let mut removing = start(|| run("rmmod", &["dax_hmem"]))?;
    pin::check_region_waits(&mut log, &region, &mut removing)?;
    check("the device", device.node().exists(), false)?;
    check("data", pipe.read_word(), Ok(UNIT))?;
    drop(pipe);
    check_ends(&mut removing)?;
    check("dax_hmem", has_module("dax_hmem"), false)?;
    family::unload().map_err(Failure::from)
}

fn module_stays_until_all_is_drained() -> Outcome {
    family::require_modules()?;
    let (region, device) = device(UNIT)?;
    let pipe = hold(&Map::whole(&device)?, 0)?;
    let mut log = Log::open()?;
    let mut unbinding = start(|| region.unbind())?;
    pin::check_region_waits(&mut log, &region, &mut unbinding)?;
    pin::check_killed(&mut unbinding)?;
    // Every other user of the module goes.
    for module in ["dax_hmem", "kmem", "fsdev_dax"] {
        modprobe_remove(module)?;
    }
    let removed = || run("rmmod", &["device_dax"]).is_ok();
    check("rmmod while a page is held", removed(), false)?;
    check("data", pipe.read_word(), Ok(0))?;
    drop(pipe);
    kernel::eventually("an rmmod of device_dax", || Ok(removed().then_some(())))?;
    check("reserved", iomem::named(device.name())?, vec![])?;
    check("the bus", Path::new(BUS).exists(), false)
}
