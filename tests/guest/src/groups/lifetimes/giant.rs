// SPDX-License-Identifier: GPL-2.0
//! Pages of 1 GiB, of which the memory manager loses count (M1, M2), and hints for them (M5).

use super::guards::{INSTALL, REMOVE};
use super::PINNED_C;
use crate::child::{Child, End};
use crate::device::{Device, Driver};
use crate::errno::Errno;
use crate::kernel;
use crate::ktap::{check, deviates, Failure, Outcome, Test};
use crate::mmap::{self, Map};
use crate::pin::{self, at_once, check_draining, drained, failed, hold};
use crate::region::Region;
use crate::test;
use crate::trap::Signal;
use crate::units::{Span, GIB, PAGE, UNIT};
use std::time::Duration;

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(m1_unbind_after_a_move_ends),
    test!(m1_moved_page_that_is_held_is_waited_for).not_on_c(PINNED_C),
    test!(m2_guard_among_pages_of_one_gib_is_refused),
    test!(m2_page_stays_held_whatever_forks).not_on_c(PINNED_C),
    test!(m4_area_of_pages_of_one_gib_does_not_grow),
    test!(m5_hint_for_a_page_of_one_gib_is_a_wish),
];

/// Time that a process may take.
const SOON: Duration = Duration::from_secs(20);

/// A device of so many pages of 1 GiB.
fn giant(region: &Region, pages: u64) -> Result<Device, Failure> {
    let first = Span::at(region.span().start, pages * GIB);
    Ok(region.create_bound(GIB, &[first])?)
}

/// Address space that begins at a multiple of 1 GiB, and a mapping of all of the device there.
fn mapped(device: &Device) -> Result<Map, Failure> {
    let file = mmap::open(&device.node()).map_err(failed("open"))?;
    let map = Map::shared(&file, device.size()?, 0).map_err(failed("mmap"))?;
    check("address", map.addr() as u64 % GIB, 0)?;
    Ok(map)
}

/// Lets a process touch a page, move its mapping to `beside` a multiple of 1 GiB, look, and go.
///
/// Memory management forgets the page and all that it had counted for it, and says so when the
/// process is gone; the tool knows that from the line before.
fn move_to(device: &Device, beside: u64) -> Outcome {
    kernel::log("pages of 1 GiB are moved from here on");
    let child = Child::spawn(|| {
        let done = || -> Outcome {
            let mut map = mapped(device)?;
            check("store", map.store(12345 * 8, 4711), Ok(()))?;
            let room = Map::room(4 * GIB).map_err(failed("room"))?;
            let place = room.first_multiple(GIB) + beside;
            check("mremap", map.move_into(room, place), Ok(()))?;
            let word = map.load(12345 * 8);
            // An address at which no page of the device fits gets no page.
            let expected = if beside == 0 {
                Ok(4711)
            } else {
                Err(Signal::BUS)
            };
            check("load", word, expected)
        };
        match done() {
            Ok(()) => 0,
            Err(Failure::Fail(why) | Failure::Skip(why)) => {
                crate::ktap::note(why);
                1
            }
        }
    });
    let end = child.map_err(failed("fork"))?.wait(SOON);
    check("a process that moves its mapping", end, End::Exit(0))
}

fn m1_unbind_after_a_move_ends(region: &Region) -> Outcome {
    for beside in [0, UNIT, PAGE] {
        let device = giant(region, 1)?;
        move_to(&device, beside)?;
        at_once("unbind", || device.unbind())?;
        // Nothing keeps it draining: the reference is of a table that is no more.
        device.bind(Driver::DeviceDax)?;
        let word = mapped(&device)?.load(12345 * 8);
        check("load", word, Ok(4711))?;
        region.destroy(&device)?;
    }
    Ok(())
}

fn m1_moved_page_that_is_held_is_waited_for(region: &Region) -> Outcome {
    let device = giant(region, 1)?;
    move_to(&device, 0)?;
    let pipe = hold(&mapped(&device)?, 5 * UNIT)?;
    pin::unbind(&device)?;
    check_draining(region, &device)?;
    check("data", pipe.read_word(), Ok(5 * UNIT))?;
    drained(&device)?;
    region.destroy(&device).map_err(Failure::from)
}

fn m2_guard_among_pages_of_one_gib_is_refused(region: &Region) -> Outcome {
    let map = mapped(&giant(region, 2)?)?;
    check("store", map.store(0, 4711), Ok(()))?;
    // C lets it in; what comes of that, with a fork, is not for a kernel that is to live on.
    let answer = deviates(Err(Errno::EINVAL), Ok(()));
    check("guard", map.advise_part(GIB, PAGE, INSTALL), answer)?;
    check("remove", map.advise_part(GIB, PAGE, REMOVE), answer)?;
    check("load", map.load(0), Ok(4711))
}

fn m2_page_stays_held_whatever_forks(region: &Region) -> Outcome {
    let device = giant(region, 2)?;
    let map = mapped(&device)?;
    let guard = map.advise_part(GIB, PAGE, INSTALL);
    check("guard", guard, Err(Errno::EINVAL))?;
    let pipe = hold(&map, 7 * UNIT)?;
    for _ in 0..4 {
        // fork() copies no page table, or it takes a reference of each page along.
        let child = Child::spawn(|| i32::from(map.load(7 * UNIT) != Ok(7 * UNIT)));
        let end = child.map_err(failed("fork"))?.wait(SOON);
        check("a child", end, End::Exit(0))?;
    }
    check("load", map.load(7 * UNIT), Ok(7 * UNIT))?;
    drop(map);
    pin::unbind(&device)?;
    check_draining(region, &device)?;
    check("data", pipe.read_word(), Ok(7 * UNIT))?;
    drained(&device)?;
    region.destroy(&device).map_err(Failure::from)
}

fn m4_area_of_pages_of_one_gib_does_not_grow(region: &Region) -> Outcome {
    let device = giant(region, 2)?;
    let file = mmap::open(&device.node()).map_err(failed("open"))?;
    for len in [GIB + PAGE, GIB + UNIT, 2 * GIB] {
        let mut map = Map::shared(&file, GIB, 0).map_err(failed("mmap"))?;
        let grown = map.resize(len);
        let answer = deviates(Err(Errno::EFAULT), Ok(()));
        check(format!("mremap to {len:#x}"), grown, answer)?;
        if answer.is_err() {
            check("store", map.store(UNIT, len), Ok(()))?;
            check("load", map.load(UNIT), Ok(len))?;
        }
    }
    Ok(())
}

fn m5_hint_for_a_page_of_one_gib_is_a_wish(region: &Region) -> Outcome {
    let device = giant(region, 1)?;
    let file = mmap::open(&device.node()).map_err(failed("open"))?;
    let free = || -> Result<u64, Failure> {
        let room = Map::room(4 * GIB).map_err(failed("room"))?;
        Ok(room.addr() as u64 + room.first_multiple(GIB))
    };
    let fitting = free()?;
    let map = Map::hinted(&file, fitting as usize, GIB, 0).map_err(failed("mmap"))?;
    check("a hint that fits", map.addr() as u64, fitting)?;
    drop(map);
    for beside in [PAGE, UNIT, GIB - PAGE] {
        let hint = free()? + beside;
        let mapped = Map::hinted(&file, hint as usize, GIB, 0);
        let answer = mapped.as_ref().map(|map| map.addr() as u64 % GIB);
        let what = format!("{beside:#x} beside a multiple");
        check(&what, answer, deviates(Ok(0), Err(&Errno::EINVAL)))?;
        if let Ok(map) = mapped {
            check("store", map.store(UNIT, beside), Ok(()))?;
        }
    }
    Ok(())
}
