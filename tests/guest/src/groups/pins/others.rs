// SPDX-License-Identifier: GPL-2.0
//! Work in one region stalls no other region, and no other device of the same region (A17).
//!
//! A device drains for as long as somebody holds one of its pages. A task without a CPU waits for
//! as long as it gets none. So a task that had to wait for either would wait for ever.

use super::{device, C};
use crate::child::End;
use crate::compare::log::Log;
use crate::cpu::{self, Hog};
use crate::daxctl;
use crate::device::{Device, Driver};
use crate::kernel;
use crate::ktap::{check, Failure, Outcome, Test};
use crate::memory;
use crate::mmap::Map;
use crate::pin::{self, at_once, check_draining, check_ends, check_waits, drained, hold, start};
use crate::pin::{use_region, WHILE};
use crate::region::{self, Region};
use crate::sysfs::{self, Error};
use crate::test;
use crate::units::UNIT;
use std::time::Duration;

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(devices_go_on_while_another_drains, region::tear_down).not_on_c(C),
    test!(regions_go_on_while_another_waits, region::tear_down).not_on_c(C),
    test!(regions_answer_while_another_is_bound, region::tear_down)
        .not_on_c("one lock for all regions, held while a driver takes memory"),
];

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

fn devices_go_on_while_another_drains() -> Outcome {
    let (region, device) = device(UNIT)?;
    let pipe = hold(&Map::whole(&device)?, 0)?;
    pin::unbind(&device)?;
    read_all(&device)?;
    for _ in 0..3 {
        use_region(&region)?;
    }
    daxctl::json(&["list", "-DRM"])?;
    check_draining(&region, &device)?;
    drop(pipe);
    drained(&device).map_err(Failure::from)
}

fn regions_go_on_while_another_waits() -> Outcome {
    let (region, device) = device(UNIT)?;
    let pipe = hold(&Map::whole(&device)?, 0)?;
    let mut log = Log::open()?;
    let mut unbinding = start(|| region.unbind())?;
    pin::check_region_waits(&mut log, &region, &mut unbinding)?;
    let others = [0, 2, 3].map(|number| Region::of(format!("hmem.{number}")));
    for other in others {
        let other = other?;
        use_region(&other)?;
        // A write of `new_id` asks every device on the bus, of all regions (L4b).
        let new_id = Driver::DeviceDax.attr("new_id");
        at_once("new_id", || sysfs::write(&new_id, "dax7.7"))?;
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

/// How often a test tries to take the CPU away from kmem in time. On a busy host kmem may be faster.
const TRIES: usize = 5;

/// kmem takes a while to make a region of 1 GiB ordinary memory when the region is bound. Its task
/// loses the CPU meanwhile.
fn regions_answer_while_another_is_bound() -> Outcome {
    memory::require_blocks_to_come_online()?;
    for _ in 0..TRIES {
        if let Some(answer) = answer_while_another_is_bound()? {
            return check("another region's files", answer, Some(End::Exit(0)));
        }
        region::tear_down()?;
    }
    Err(Failure::Fail(format!(
        "{TRIES} times kmem was done too early, or held the lock of sysfs"
    )))
}

/// The kernel's function that opens a file. A task inside it has not reached a driver yet.
const OPENING: &str = "path_openat";

/// How a reader of another region's files ended while kmem was busy; the inner `None` if it did not
/// end. `None` if kmem was done before its task lost the CPU, or lost the CPU with the lock of all of
/// sysfs, for which everybody waits whatever the driver does.
fn answer_while_another_is_bound() -> Result<Option<Option<End>>, Failure> {
    let regions = Region::fresh_all()?;
    let [other, region, ..] = &regions[..] else {
        return Err(Failure::Fail("no second region".into()));
    };
    let driver = region.first_device()?.dir().join("driver");
    region.unbind()?;
    region::set_idle(false)?;
    let answer = memory::with_online_movable(|| -> Result<Option<Option<End>>, Failure> {
        let mut binding = start(|| {
            let slow = cpu::yield_to_all_on(1);
            slow.map_err(|errno| Error::new("sched_setscheduler", errno))?;
            region.bind()
        })?;
        // The file exists once the driver is asked.
        while !driver.exists() {
            if binding.poll().is_some() {
                return Ok(None);
            }
        }
        let hog = Hog::start(1, WHILE, Duration::ZERO)?;
        let mut reader = start(|| {
            cpu::stay_on(0).map_err(|errno| Error::new("sched_setaffinity", errno))?;
            other.available()?;
            other.seed()
        })?;
        let answer = reader.wait_for(20 * WHILE * kernel::slowness());
        // This process must not open a file of sysfs either before the hog ends.
        let is_locked_out = answer.is_none() && reader.where_it_hangs().contains(OPENING);
        let is_busy = !is_locked_out && binding.poll().is_none() && !is_added(region)?;
        hog.end()?;
        check_ends(&mut binding)?;
        Ok(is_busy.then_some(answer))
    });
    region::set_idle(true)?;
    answer?
}

/// Whether kmem has added all blocks of a region. The process of a bind proves less: without a CPU
/// it cannot end.
fn is_added(region: &Region) -> Result<bool, Failure> {
    // The directory of a block is there before its state, which cannot be read then. kmem is
    // adding that block.
    let states = memory::states(region.span()).unwrap_or_default();
    let done = states.iter().filter(|state| *state == "online").count() as u64;
    Ok(done >= region.span().len() / memory::block_size()?)
}
