// SPDX-License-Identifier: GPL-2.0
//! Pages that somebody else holds (A29), and who has to wait for that (A17).
//!
//! The C driver is kept out: it frees a page under its holder, which then oopses.

mod waiting;

use crate::child::{Child, End};
use crate::compare::log::Log;
use crate::device::{Device, Driver};
use crate::errno::Errno;
use crate::ktap::{check, note, Failure, Outcome, Test};
use crate::memory;
use crate::mmap::Map;
use crate::pipe::Pipe;
use crate::region::{self, Region};
use crate::sysfs;
use crate::test;
use crate::units::{PAGE, UNIT};
use crate::uring::Uring;
use crate::{daxctl, kernel};
use std::time::Duration;

/// The tests, by file.
pub const FILES: &[&[Test]] = &[TESTS, waiting::TESTS];

/// Why the C driver is kept out.
const C: &str = "frees the page under its holder";

/// The tests of this file.
const TESTS: &[Test] = &[
    test!(unbind_waits_for_a_buffer_of_io_uring, region::tear_down).not_on_c(C),
    test!(unbind_waits_for_each_page_of_each_range, region::tear_down).not_on_c(C),
    test!(unbind_says_what_it_waits_for, region::tear_down).not_on_c(C),
    test!(
        page_held_by_a_dead_process_is_no_hindrance,
        region::tear_down
    )
    .not_on_c(C),
    test!(
        system_ram_does_not_get_a_page_that_is_held,
        region::tear_down
    )
    .not_on_c(C),
];

/// How long to look whether something waits.
const WHILE: Duration = Duration::from_secs(1);
/// How long something may take that waits no longer.
const SOON: Duration = Duration::from_secs(20);

/// Names a failed system call.
fn failed(what: &str) -> impl Fn(Errno) -> Failure + '_ {
    move |errno| Failure::Fail(format!("{what}: {errno}"))
}

/// A page of a mapping in a pipe.
fn hold(map: &Map, offset: u64) -> Result<Pipe, Failure> {
    let pipe = Pipe::new().map_err(failed("pipe"))?;
    check("store", map.store(offset, offset), Ok(()))?;
    check("vmsplice", pipe.splice_from(map, offset, 8), Ok(8))?;
    Ok(pipe)
}

/// Starts something that is expected to wait for a page.
fn start<T>(work: impl FnOnce() -> sysfs::Result<T>) -> Result<Child, Failure> {
    let child = Child::spawn(|| {
        // A copy of the descriptor would hold the page, and the process wait for itself.
        // SAFETY: What this process inherited is used by nothing that it does from here on.
        unsafe { libc::close_range(3, libc::c_uint::MAX, 0) };
        match work() {
            Ok(_) => 0,
            Err(error) => {
                note(error);
                1
            }
        }
    });
    child.map_err(failed("fork"))
}

/// It still waits.
fn check_waits(child: &mut Child) -> Outcome {
    check("while a page is held", child.wait_for(WHILE), None)
}

/// It waits no longer.
fn check_ends(child: &mut Child) -> Outcome {
    let end = child.wait_for(SOON * kernel::slowness());
    check("once no page is held", end, Some(End::Exit(0)))
}

/// A device of two ranges in the machine's second region, which is memory of a node of its own.
fn device(align: u64) -> Result<(Region, Device), Failure> {
    let regions = Region::fresh_all()?;
    let region = regions
        .into_iter()
        .nth(1)
        .ok_or_else(|| Failure::Fail("no second region".into()))?;
    let block = memory::block_size()? / UNIT;
    let spans = [region.units(2 * block, block), region.units(0, block)];
    let device = region.create_bound(align, &spans)?;
    Ok((region, device))
}

fn unbind_waits_for_a_buffer_of_io_uring() -> Outcome {
    let (_, device) = device(UNIT)?;
    let map = Map::whole(&device)?;
    check("store", map.store(0, 1), Ok(()))?;
    let ring = Uring::holding(&map, 3 * UNIT, 2 * PAGE as usize).map_err(failed("io_uring"))?;
    let mut unbinding = start(|| device.unbind())?;
    check_waits(&mut unbinding)?;
    drop(ring);
    check_ends(&mut unbinding)?;
    check("driver", device.driver(), None)
}

fn unbind_waits_for_each_page_of_each_range() -> Outcome {
    for align in [PAGE, UNIT] {
        let (region, device) = device(align)?;
        let map = Map::whole(&device)?;
        let size = device.size()?;
        let places = [0, size / 2 - PAGE, size / 2, size - PAGE];
        let mut held = Vec::new();
        for place in places {
            held.push(hold(&map, place)?);
        }
        let mut unbinding = start(|| device.unbind())?;
        for (pipe, place) in held.into_iter().zip(places) {
            check_waits(&mut unbinding)?;
            // What was stored is what the holder sees, to the end.
            check("data", pipe.read_word(), Ok(place))?;
        }
        check_ends(&mut unbinding)?;
        region.destroy(&device)?;
    }
    Ok(())
}

fn unbind_says_what_it_waits_for() -> Outcome {
    let (region, device) = device(PAGE)?;
    let map = Map::whole(&device)?;
    let offset = 5 * PAGE;
    let pipe = hold(&map, offset)?;
    let mut log = Log::open()?;
    let mut unbinding = start(|| device.unbind())?;
    let first = device.spans()?[0].start;
    let expected = format!(
        "dax {}: unbind waits until the pinned page at {:#x} is released",
        device.name(),
        first + offset
    );
    let said = kernel::eventually("a line that says so", || {
        let mut lines = log.lines()?.into_iter();
        Ok(lines.find(|line| line.contains("pinned page")))
    })?;
    check(&expected, said.contains(&expected), true)?;
    drop(pipe);
    check_ends(&mut unbinding)?;
    let ended = kernel::eventually("a line that it is over", || {
        let mut lines = log.lines()?.into_iter();
        Ok(lines.find(|line| line.contains("pinned pages were released")))
    })?;
    check(&ended, ended.contains(device.name()), true)?;
    region.destroy(&device).map_err(Failure::from)
}

fn page_held_by_a_dead_process_is_no_hindrance() -> Outcome {
    let (_, device) = device(UNIT)?;
    let mut holder = Child::spawn(|| {
        let held = Map::whole(&device)
            .map_err(Failure::from)
            .and_then(|map| Ok((hold(&map, UNIT)?, Uring::holding(&map, 0, 8), map)));
        match held {
            Ok((_pipe, Ok(_ring), _map)) => loop {
                std::thread::sleep(SOON);
            },
            _ => 1,
        }
    })
    .map_err(failed("fork"))?;
    check("holder", holder.wait_for(WHILE), None)?;
    let mut unbinding = start(|| device.unbind())?;
    check_waits(&mut unbinding)?;
    // Dropped, it is killed.
    drop(holder);
    check_ends(&mut unbinding)
}

fn system_ram_does_not_get_a_page_that_is_held() -> Outcome {
    let (region, device) = device(UNIT)?;
    let map = Map::whole(&device)?;
    let ring = Uring::holding(&map, UNIT, PAGE as usize).map_err(failed("io_uring"))?;
    let name = device.name();
    let command = ["reconfigure-device", "-N", "-m", "system-ram", name];
    let mut reconfiguring = start(|| daxctl::run(&command))?;
    check_waits(&mut reconfiguring)?;
    let blocks = memory::blocks(region.span())?.len();
    check("memory blocks while the page is held", blocks, 0)?;
    drop(ring);
    check_ends(&mut reconfiguring)?;
    check("driver", device.driver(), Some(Driver::Kmem.name().into()))?;
    let blocks = memory::blocks(region.span())?.len();
    check("memory blocks", blocks, 2)
}
