// SPDX-License-Identifier: GPL-2.0
//! The processes that get huge pages. A device of huge pages asks for them. So only a process that
//! wants no huge pages at all gets none, and then its accesses fail.

use super::device;
use crate::child::{Child, End};
use crate::ktap::{check, note, Failure, Outcome, Test};
use crate::mmap::Map;
use crate::region::Region;
use crate::sysfs;
use crate::test;
use crate::trap::Signal;
use crate::units::{GIB, PAGE, UNIT};
use std::path::Path;
use std::time::Duration;

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(area_asks_for_huge_pages),
    test!(huge_pages_come_whatever_the_machine_prefers),
    test!(huge_pages_come_to_a_process_that_wants_them_on_request_only),
    test!(huge_pages_do_not_come_to_a_process_that_wants_none),
];
/// The test at 1 GiB.
pub const GIANT: Test = test!(giant_pages_come_to_a_process_that_wants_them_on_request_only);

/// `PR_SET_THP_DISABLE` and its flag.
const THP_DISABLE: i32 = 41;
const EXCEPT_ADVISED: libc::c_ulong = 1 << 1;

/// The file with the machine's preference.
const ENABLED: &str = "/sys/kernel/mm/transparent_hugepage/enabled";

fn area_asks_for_huge_pages(region: &Region) -> Outcome {
    for align in [PAGE, UNIT] {
        let device = device(region, align)?;
        let map = Map::whole(&device)?;
        for touched in [false, true] {
            check(format!("touched: {touched}"), map.has_flag("hg")?, true)?;
            check("store", map.store(UNIT, 1), Ok(()))?;
        }
        drop(map);
        region.destroy(&device)?;
    }
    Ok(())
}

/// The answers to a store to each range of a device, by a process that wants no huge pages, with
/// these flags.
fn stores(map: &Map, flags: libc::c_ulong) -> Result<Vec<Result<(), Signal>>, Failure> {
    let places = [0, map.len() / 2, map.len() - 8];
    // The answers are noted where the parent sees them.
    let answers = Map::anonymous(PAGE).map_err(super::failed("mmap"))?;
    let child = Child::spawn(|| {
        // SAFETY: Numbers only.
        let rc = unsafe { libc::prctl(THP_DISABLE, 1 as libc::c_ulong, flags, 0, 0) };
        if rc != 0 {
            note("PR_SET_THP_DISABLE failed");
            return 1;
        }
        for (index, place) in (0..).zip(places) {
            let answer = map
                .store(place, 1)
                .map_or_else(|signal| signal.0 as u64, |()| 0);
            if answers.store(index * 8, answer).is_err() {
                return 1;
            }
        }
        0
    });
    let end = child.map(|child| child.wait(Duration::from_secs(20)));
    check("process", end, Ok(End::Exit(0)))?;
    let answer = |index: u64| match answers.load(index * 8) {
        Ok(0) => Ok(()),
        Ok(signal) => Err(Signal(signal as i32)),
        Err(signal) => Err(signal),
    };
    Ok((0..places.len() as u64).map(answer).collect())
}

/// Stores to a device of that alignment.
fn check_stores(
    region: &Region,
    align: u64,
    flags: libc::c_ulong,
    expected: Result<(), Signal>,
) -> Outcome {
    let device = device(region, align)?;
    let map = Map::whole(&device)?;
    check(
        format!("stores at {align:#x}"),
        stores(&map, flags)?,
        vec![expected; 3],
    )?;
    drop(map);
    region.destroy(&device).map_err(Failure::from)
}

fn huge_pages_come_whatever_the_machine_prefers(region: &Region) -> Outcome {
    let text = sysfs::read(Path::new(ENABLED))?;
    let chosen = |word: &&str| word.starts_with('[');
    let before = text.split(' ').find(chosen).unwrap_or("[madvise]");
    let outcome = ["never", "madvise", "always"].iter().try_for_each(|how| {
        sysfs::write(Path::new(ENABLED), how)?;
        let device = device(region, UNIT)?;
        let map = Map::whole(&device)?;
        check(how, map.store(UNIT + 8, 1), Ok(()))?;
        check("load", map.load(4 * UNIT).is_ok(), true)?;
        drop(map);
        region.destroy(&device).map_err(Failure::from)
    });
    sysfs::write(Path::new(ENABLED), before.trim_matches(['[', ']']))?;
    outcome
}

fn huge_pages_come_to_a_process_that_wants_them_on_request_only(region: &Region) -> Outcome {
    for align in [PAGE, UNIT] {
        check_stores(region, align, EXCEPT_ADVISED, Ok(()))?;
    }
    Ok(())
}

fn giant_pages_come_to_a_process_that_wants_them_on_request_only(region: &Region) -> Outcome {
    check_stores(region, GIB, EXCEPT_ADVISED, Ok(()))?;
    check_stores(region, GIB, 0, Err(Signal::BUS))
}

fn huge_pages_do_not_come_to_a_process_that_wants_none(region: &Region) -> Outcome {
    check_stores(region, PAGE, 0, Ok(()))?;
    check_stores(region, UNIT, 0, Err(Signal::BUS))
}
