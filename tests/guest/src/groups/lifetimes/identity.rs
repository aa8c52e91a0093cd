// SPDX-License-Identifier: GPL-2.0
//! A device is not confused with another device of the same number (L2, L7).
//!
//! The task that creates a device loses its CPU while another task resizes and deletes that device,
//! and makes another one of the same name. The creator waits for whichever lock the resize holds,
//! and loses the CPU there. If it waits for none, the round shows less; in one round at least it must
//! wait.

use crate::child::{Child, End};
use crate::cpu::{self, Switch};
use crate::device::{Device, Driver};
use crate::errno::Errno;
use crate::kernel;
use crate::ktap::{check, note, Failure, Outcome, Test};
use crate::mmap::Map;
use crate::pin::failed;
use crate::race::write;
use crate::region::{self, Region};
use crate::sysfs;
use crate::test;
use crate::units::{Span, UNIT};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(l2_create_takes_no_other_device_away, tear_down)
        .not_on_c(C)
        .slow(),
    test!(l7_create_of_a_device_that_was_deleted_succeeds, tear_down)
        .not_on_c(C)
        .slow(),
];

/// The reason for which the tests leave the C driver out.
const C: &str = "deadlocks";
/// The file that says whether drivers are bound to devices as they appear.
const AUTOPROBE: &str = "/sys/bus/dax/drivers_autoprobe";
/// Number of rounds of a test, and at most, if `create` was over too early in all of these.
const ROUNDS: u32 = 24;
const MOST: u32 = 4 * ROUNDS;
/// The CPU of tasks that create devices.
const CPU: usize = 1;
/// Time for which these tasks may be kept from their CPU.
const KEPT: Duration = Duration::from_secs(1);

/// Lets drivers be bound to new devices again, and empties the regions.
fn tear_down() -> sysfs::Result<()> {
    sysfs::write(Path::new(AUTOPROBE), "1")?;
    region::tear_down()
}

/// A region of which every other unit is taken, so that growth takes its time.
fn in_holes() -> sysfs::Result<(Region, u64)> {
    let region = Region::fresh()?;
    sysfs::write(Path::new(AUTOPROBE), "0")?;
    let separators: Vec<Span> = (0..region.unit_count() / 2)
        .map(|separator| region.units(2 * separator, 1))
        .collect();
    region.create_over(&separators)?;
    Ok((region, separators.len() as u64))
}

/// The result of one round.
struct Round {
    /// The end of the `create` whose device was deleted, with its errno for a status.
    create: Option<End>,
    /// The device that was made meanwhile, and a mapping with its round stored in it.
    next: Device,
    map: Map,
    /// Whether `create` was still on its way when its device was deleted.
    early: bool,
}

/// Tries again and again, as long as the error is one of `early`.
fn insist(what: &str, mut try_it: impl FnMut() -> Result<(), Errno>, early: &[Errno]) -> Outcome {
    let deadline = Instant::now() + 10 * KEPT * kernel::slowness();
    loop {
        match try_it() {
            Err(errno) if early.contains(&errno) && Instant::now() < deadline => {
                thread::sleep(Duration::from_micros(100));
            }
            result => return check(what, result, Ok(())),
        }
    }
}

/// Creates a device, deletes it as soon as it can be, and makes one of the same name; all while
/// its creator has no CPU, if that comes about.
fn round(region: &Region, holes: u64, switch: &Switch, number: u32) -> Result<Round, Failure> {
    let device = Device::named("dax0.2");
    let size = device.attr("size");
    let mut creating = Child::spawn(|| {
        if cpu::stay_on(CPU).is_err() {
            return 1;
        }
        match write(&region.attr("create"), "1") {
            Ok(()) => 0,
            Err(errno) => errno.0,
        }
    })
    .map_err(failed("fork"))?;
    let mut file = loop {
        match OpenOptions::new().write(true).open(&size) {
            Ok(file) => break file,
            Err(_) => check(
                "create",
                creating.poll().is_none_or(|end| end == End::Exit(0)),
                true,
            )?,
        }
    };
    let mut resize = |bytes: u64| Ok(file.write(bytes.to_string().as_bytes()).map(drop)?);
    // In the middle of the growth, which takes longer the more there is to do at the time.
    let delay = Duration::from_micros(500 * u64::from(1 + number % 8)) * kernel::slowness();
    switch.take(delay, KEPT)?;
    // Its creator may have no CPU for longer than a writer is patient.
    insist(
        "grow",
        || resize(holes * UNIT),
        &[Errno::EBUSY, Errno::ENXIO],
    )?;
    insist("shrink", || resize(0), &[Errno::EBUSY])?;
    let early = creating.poll().is_none();
    let delete = || region.try_write("delete", device.name()).map(drop);
    insist("delete", delete, &[Errno::EBUSY, Errno::ENXIO])?;
    let next = region.create()?;
    check("name of the next", &next, &device)?;
    next.set_size(2 * UNIT)?;
    next.bind(Driver::DeviceDax)?;
    let map = Map::whole(&next)?;
    check("store", map.store(UNIT, u64::from(number)), Ok(()))?;
    switch.leave()?;
    Ok(Round {
        create: creating.wait_for(10 * KEPT * kernel::slowness()),
        next,
        map,
        early,
    })
}

/// Does all rounds of starving the creator, and calls `look` after each. Fails if `create` was over
/// too early in all of them.
fn rounds(look: impl Fn(&Region, &Round, u64) -> Outcome) -> Outcome {
    let (region, holes) = in_holes()?;
    cpu::stay_on(0).map_err(failed("sched_setaffinity"))?;
    let switch = Switch::new(CPU)?;
    let (mut early, mut number) = (0, 0);
    while number < ROUNDS || (early == 0 && number < MOST) {
        let round = round(&region, holes, &switch, number)?;
        early += u32::from(round.early);
        look(&region, &round, u64::from(number))?;
        region.destroy(&round.next)?;
        number += 1;
    }
    note(format!(
        "in {early} of {number} rounds `create` was not over"
    ));
    check("`create` was not over in a round", early > 0, true)
}

fn l2_create_takes_no_other_device_away() -> Outcome {
    rounds(|region, round, number| {
        let next = &round.next;
        check("exists", next.exists(), true)?;
        check("driver", next.driver(), Some("device_dax".into()))?;
        check("size", next.size()?, 2 * UNIT)?;
        check("load", round.map.load(UNIT), Ok(number))?;
        check("youngest", region.youngest()?.as_str(), next.name())
    })
}

fn l7_create_of_a_device_that_was_deleted_succeeds() -> Outcome {
    rounds(|_, round, _| check("create", round.create, Some(End::Exit(0))))
}
