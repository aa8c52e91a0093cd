// SPDX-License-Identifier: GPL-2.0
//! Guard regions in mappings (M3, M9).

use crate::errno::Errno;
use crate::kernel;
use crate::ktap::{check, deviates, note, Failure, Outcome, Test};
use crate::mmap::Map;
use crate::region::Region;
use crate::test;
use crate::trap::Signal;
use crate::units::{PAGE, UNIT};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(m3_guard_among_huge_pages_is_refused),
    test!(m3_guard_among_small_pages_is_a_page),
    test!(m9_guard_against_first_write_harms_neither).not_on_c("warns"),
];

/// `MADV_GUARD_INSTALL` and `MADV_GUARD_REMOVE`.
pub const INSTALL: i32 = 102;
pub const REMOVE: i32 = 103;

fn m3_guard_among_huge_pages_is_refused(region: &Region) -> Outcome {
    let map = Map::whole(&region.create_bound(UNIT, &[region.units(4, 4)])?)?;
    for at in (0..map.len()).step_by(UNIT as usize) {
        check("store", map.store(at, at), Ok(()))?;
    }
    // In C it is let in, and makes all of its huge page SIGBUS, once that is gone from the table.
    let answer = deviates(Err(Errno::EINVAL), Ok(()));
    let parts = [(UNIT + 5 * PAGE, PAGE), (2 * UNIT, UNIT), (0, map.len())];
    for (at, len) in parts {
        let installed = map.advise_part(at, len, INSTALL);
        check(format!("guard of {len:#x} at {at:#x}"), installed, answer)?;
    }
    check("remove", map.advise_part(0, map.len(), REMOVE), answer)?;
    if answer.is_ok() {
        return Ok(());
    }
    check("madvise", map.advise(libc::MADV_DONTNEED), Ok(()))?;
    for at in (0..map.len()).step_by(UNIT as usize) {
        check("load", map.load(at), Ok(at))?;
    }
    Ok(())
}

fn m3_guard_among_small_pages_is_a_page(region: &Region) -> Outcome {
    let device = region.create_bound(PAGE, &[region.units(4, 4)])?;
    let map = Map::whole(&device)?;
    for at in (0..2 * UNIT).step_by(PAGE as usize) {
        check("store", map.store(at, at), Ok(()))?;
    }
    for present in [true, false] {
        if !present {
            check("madvise", map.advise(libc::MADV_DONTNEED), Ok(()))?;
        }
        let guard = UNIT + 5 * PAGE;
        check("guard", map.advise_part(guard, PAGE, INSTALL), Ok(()))?;
        for neighbour in [guard - PAGE, guard + PAGE, 0] {
            check("neighbour", map.load(neighbour), Ok(neighbour))?;
        }
        check("the guard", map.load(guard), Err(Signal::SEGV))?;
        check("remove", map.advise_part(guard, PAGE, REMOVE), Ok(()))?;
        check("where the guard was", map.load(guard), Ok(guard))?;
    }
    device.unbind()?;
    check("load after unbind", map.load(0), Err(Signal::BUS))
}

/// Time during which they meet; and at most, if no write has met a guard by then.
const LONG: Duration = Duration::from_secs(6);
const LONGEST: Duration = Duration::from_secs(20);

/// One thread puts guards where another one writes for the first time. The kernel warns if a page
/// is inserted over a guard as if it were an older page.
fn m9_guard_against_first_write_harms_neither(region: &Region) -> Outcome {
    for align in [PAGE, UNIT] {
        let device = region.create_bound(align, &[region.units(4, 4)])?;
        let map = Map::whole(&device)?;
        let stop = AtomicBool::new(false);
        let at = if align == PAGE { 0 } else { 2 * PAGE };
        let (writes, guarded, lost) = thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    // Among huge pages it is refused.
                    let _ = map.advise_part(0, PAGE, INSTALL);
                    let _ = map.advise_part(0, align, REMOVE);
                    let _ = map.advise_part(0, align, libc::MADV_DONTNEED);
                }
            });
            let start = Instant::now();
            let longest = LONGEST * kernel::slowness();
            let mut tally = (0, 0, 0);
            while start.elapsed() < LONG
                || (align == PAGE && tally.1 == 0 && start.elapsed() < longest)
            {
                for _ in 0..1000 {
                    match map.store(at, 1) {
                        Ok(()) => tally.0 += 1,
                        Err(Signal::SEGV) => tally.1 += 1,
                        Err(_) => tally.2 += 1,
                    }
                }
            }
            stop.store(true, Ordering::Relaxed);
            tally
        });
        note(format!("{writes} writes, {guarded} met the guard"));
        check("writes", writes > 0, true)?;
        check("writes that met the guard", guarded > 0, align == PAGE)?;
        check("SIGBUS", lost, 0)?;
        drop(map);
        region.destroy(&device).map_err(Failure::from)?;
    }
    Ok(())
}
