// SPDX-License-Identifier: GPL-2.0
//! Tasks that are killed in the middle, and drivers that come and go.

use super::{check_invariants, errno, slow_down, GONE, SLOW};
use crate::child::Child;
use crate::cpu::{self, Hog};
use crate::device::{Device, Driver};
use crate::errno::Errno;
use crate::kernel::{modprobe, modprobe_remove};
use crate::ktap::{self, check, Failure, Outcome, Test};
use crate::leaks;
use crate::race::{self, read, write, Racer};
use crate::region::Region;
use crate::test;
use crate::units::UNIT;
use std::cell::Cell;
use std::time::Duration;

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(killed_writers_leave_the_region_usable)
        .not_on_c("may unlock a lock that it does not have"),
    test!(killed_creators_leave_no_number_behind).not_on_c("may lose a number"),
    test!(memmap_on_memory_writer_against_kmem_makes_progress)
        .not_on_c("looks at a driver that may be gone"),
    test!(create_after_races_makes_a_seed).not_on_c("may lose the seed"),
    test!(new_id_against_driver_unload_leaves_no_id).not_on_c("may leave an id in a freed list"),
];

/// Starts `count` processes of `work` again and again, and kills each after some milliseconds,
/// `kills` in all.
fn kill_again_and_again(kills: u64, count: usize, work: impl Fn(usize) + Copy) -> Outcome {
    let start = |number: usize| {
        Child::spawn(move || loop {
            work(number);
        })
        .map_err(|errno| Failure::Fail(format!("fork: {errno}")))
    };
    let mut children = Vec::new();
    for number in 0..count {
        children.push(start(number)?);
    }
    let random = Cell::new(1u64);
    for kill in 0..kills {
        random.set(random.get().wrapping_mul(6_364_136_223_846_793_005) + 1);
        std::thread::sleep(Duration::from_micros(500 + (random.get() >> 40) % 6000));
        let number = kill as usize % count;
        std::mem::replace(&mut children[number], start(number)?).end()?;
    }
    children.into_iter().try_for_each(Child::end)
}

fn killed_writers_leave_the_region_usable(region: &Region) -> Outcome {
    let devices = [region.create()?, region.create()?];
    // A reader that loses its CPU in the middle lets writers wait, and die waiting.
    let hog = Hog::in_turns(SLOW)?;
    kill_again_and_again(200, 6, |number| {
        let device = &devices[number % 2];
        // Whatever comes of it: the process may be killed at any point.
        let _ = match number {
            0 | 1 => write(&device.attr("size"), &(3 * UNIT).to_string()),
            2 => write(&device.attr("size"), "0"),
            3 => write(&device.attr("memmap_on_memory"), "0"),
            _ => cpu::yield_to_all_on(SLOW).and_then(|()| read(&device.attr("size"))),
        };
    })?;
    hog.end()?;
    for device in &devices {
        device.set_size(2 * UNIT)?;
    }
    check_invariants(region)
}

fn killed_creators_leave_no_number_behind(region: &Region) -> Outcome {
    kill_again_and_again(150, 4, |number| {
        let _ = match number {
            0 => write(&region.attr("create"), "1"),
            1 => read(&region.attr("create")),
            // So that there are never many.
            _ => (1..40).try_for_each(|id| write(&region.attr("delete"), &format!("dax0.{id}"))),
        };
    })?;
    for device in region.devices()?.iter().filter(|d| !d.is_first()) {
        region.delete(device)?;
    }
    for id in 1..4 {
        check("name", region.create()?.name(), &*format!("dax0.{id}"))?;
    }
    check_invariants(region)
}

fn memmap_on_memory_writer_against_kmem_makes_progress(region: &Region) -> Outcome {
    let device = region.create_sized(2 * UNIT)?;
    let attr = device.attr("memmap_on_memory");
    // The machine's memory has no node, so kmem looks at it and says no.
    let no = [Errno::EBUSY, Errno::EOPNOTSUPP];
    let not_bound = [Errno::EINVAL, Errno::EBUSY, Errno::ENODEV];
    race::run(vec![
        Racer::new("switch", &no, |round| {
            write(&attr, ["0", "1"][round as usize % 2])
        }),
        Racer::new("switch", &no, |_| write(&attr, "1")),
        Racer::new("new_id", &not_bound, |_| {
            Driver::Kmem.try_write("new_id", device.name()).map(drop)
        }),
        Racer::new("bind", &not_bound, |_| {
            Driver::Kmem.try_write("bind", device.name()).map(drop)
        })
        .may_never_succeed(),
    ])?;
    check_invariants(region)
}

fn create_after_races_makes_a_seed(region: &Region) -> Outcome {
    let device = |round: u64| Device::named(format!("dax0.{}", 1 + round % 3));
    let no: Vec<Errno> = [GONE, &[Errno::EBUSY, Errno::ENOSPC, Errno::EAGAIN]].concat();
    race::run(vec![
        Racer::new("create", &[], |_| {
            if region.devices().map_err(errno)?.len() < 4 {
                write(&region.attr("create"), "1")
            } else {
                Ok(())
            }
        }),
        Racer::new("use", &no, |round| {
            let device = device(round);
            write(&device.attr("size"), &UNIT.to_string())?;
            Driver::DeviceDax.try_write("bind", device.name()).map(drop)
        }),
        Racer::new("free", &no, |round| {
            let device = device(round);
            Driver::DeviceDax.try_write("unbind", device.name())?;
            write(&device.attr("size"), "0")
        }),
        Racer::new("delete", &no, |round| {
            write(&region.attr("delete"), device(round).name())
        }),
        Racer::new("seed", &[], |_| read(&region.attr("seed"))),
    ])?;
    let created = region.create()?;
    let seed = region.seed()?;
    let names: Vec<String> = region.devices()?.iter().map(|d| d.name().into()).collect();
    check(
        format!("{seed:?} is one of {names:?}"),
        names.contains(&seed),
        true,
    )?;
    check("driver of the seed", Device::named(seed).driver(), None)?;
    check("created", created.exists(), true)?;
    check_invariants(region)
}

fn new_id_against_driver_unload_leaves_no_id(region: &Region) -> Outcome {
    crate::family::require_modules()?;
    crate::family::require_drivers_to_come_back()?;
    let device = region.create()?;
    let driver = Driver::FsdevDax;
    let (name, new_id) = (device.name(), driver.attr("new_id"));
    // A writer that loses its CPU in the middle goes on when the driver has almost gone.
    let hog = Hog::in_turns(SLOW)?;
    let tell = || {
        Racer::new("new_id", GONE, |round| {
            slow_down(round)?;
            write(&new_id, name)
        })
    };
    let mut racers = vec![Racer::new("module", &[], |_| {
        modprobe(&[driver.name()]).map_err(errno)?;
        modprobe_remove(driver.name()).map_err(errno)
    })];
    racers.extend((0..12).map(|_| tell()));
    race::run(racers)?;
    hog.end()?;
    modprobe(&[driver.name()])?;
    device.set_size(UNIT)?;
    // The driver binds devices whose ids it was told, and it was told none since it was loaded.
    let bound = driver.try_write("bind", name);
    check(
        "bind to a driver that was not told",
        bound,
        Err(Errno::ENODEV),
    )?;
    // Ids that were told to a driver that went belong to nobody. In a guest that ran other tests
    // before, the driver core has lost something of its own: docs/results/runs.md.
    if ktap::is_forced() {
        leaks::check_kmemleak()?;
    }
    check_invariants(region)
}
