// SPDX-License-Identifier: GPL-2.0
//! Several processes that map a page, one of which touches it when it is poisoned.

use super::{device, failed, is_mapped, map_from, optional, poison, required, Kill, Other};
use crate::child::{Child, End};
use crate::device::Device;
use crate::ktap::{check, Failure, Outcome, Test};
use crate::mmap::Map;
use crate::region::Region;
use crate::sysfs;
use crate::test;
use crate::units::{PAGE, UNIT};
use std::path::Path;
use std::time::Duration;

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(poison_is_told_to_others_who_asked),
    test!(poison_is_told_to_all_if_the_machine_says_so),
    test!(poison_kills_who_asked_and_does_not_listen),
    test!(poison_is_not_told_to_who_touched_only_neighbours),
];

/// Whether the kernel tells processes early that made no choice.
pub(super) const ALL_EARLY: &str = "/proc/sys/vm/memory_failure_early_kill";

/// The page that fails.
const FAILING: u64 = 1;

/// Stores to a page of a mapping.
fn touch(map: &Map, offset: u64) -> Outcome {
    check("store", map.store(offset, 3), Ok(()))
}

/// A process runs into poison in page [`FAILING`] of a device, which it maps on its own.
fn run_into_it(device: &Device, align: u64) -> Outcome {
    super::alone(Kill::Late, |notes| {
        let map = map_from(device, align, 0)?;
        touch(&map, FAILING * align)?;
        poison(&map, FAILING * align)?;
        let expected = vec![required(&map, FAILING * align, align)];
        check("who ran into it was told", notes.told()?, expected)
    })
}

/// Two others have the page mapped, of whom one asked to be told; a third asked, and has another
/// page mapped.
pub fn check_others(region: &Region, align: u64) -> Outcome {
    let device = device(region, align)?;
    let all = map_from(&device, align, 0)?;
    let part = map_from(&device, align, FAILING)?;
    let ended = |map: &Map, offset: u64| {
        check("mapped", is_mapped(map, offset)?, false)?;
        check("load", map.load(offset).is_ok(), true)
    };
    let asked = Other::start(Kill::Early, || touch(&part, 0), || ended(&part, 0))?;
    let failing = FAILING * align;
    let did_not_ask = Other::start(Kill::Late, || touch(&all, failing), || ended(&all, failing))?;
    run_into_it(&device, align)?;
    check("asked", asked.finish()?, vec![optional(&part, 0, align)])?;
    check("did not ask", did_not_ask.finish()?, vec![])?;
    drop((all, part));
    region.destroy(&device).map_err(Failure::from)
}

fn poison_is_told_to_others_who_asked(region: &Region) -> Outcome {
    check_others(region, PAGE)?;
    check_others(region, UNIT)
}

fn poison_is_told_to_all_if_the_machine_says_so(region: &Region) -> Outcome {
    let device = device(region, UNIT)?;
    let map = map_from(&device, UNIT, 0)?;
    let page = FAILING * UNIT;
    let nothing = || Ok(());
    let silent = Other::start(Kill::Default, || touch(&map, page), nothing)?;
    let refused = Other::start(Kill::Late, || touch(&map, page), nothing)?;
    sysfs::write(Path::new(ALL_EARLY), "1")?;
    let outcome = run_into_it(&device, UNIT);
    sysfs::write(Path::new(ALL_EARLY), "0")?;
    outcome?;
    let expected = vec![optional(&map, page, UNIT)];
    check("who did not choose", silent.finish()?, expected)?;
    check("who chose not to be told", refused.finish()?, vec![])
}

fn poison_kills_who_asked_and_does_not_listen(region: &Region) -> Outcome {
    for align in [PAGE, UNIT] {
        let device = device(region, align)?;
        let map = map_from(&device, align, 0)?;
        let pipe = crate::pipe::Pipe::new().map_err(failed("pipe"))?;
        let mut deaf = Child::spawn(|| {
            // SAFETY: The default action, in a process of its own.
            unsafe { libc::signal(libc::SIGBUS, libc::SIG_DFL) };
            let touched = Kill::Early
                .choose()
                .and_then(|()| touch(&map, FAILING * align));
            if touched.is_ok() && pipe.write_word(1).is_ok() {
                std::thread::sleep(Duration::from_secs(30));
            }
            1
        })
        .map_err(failed("fork"))?;
        while pipe.read_word().is_err() {
            check("the other process", deaf.poll(), None)?;
            std::thread::sleep(Duration::from_millis(2));
        }
        run_into_it(&device, align)?;
        let end = deaf.wait(Duration::from_secs(10));
        check("the other process", end, End::Signal(libc::SIGBUS))?;
        drop(map);
        region.destroy(&device)?;
    }
    Ok(())
}

fn poison_is_not_told_to_who_touched_only_neighbours(region: &Region) -> Outcome {
    for align in [PAGE, UNIT] {
        let device = device(region, align)?;
        let map = map_from(&device, align, 0)?;
        let (before, behind) = ((FAILING - 1) * align, (FAILING + 1) * align);
        let neighbour = Other::start(
            Kill::Early,
            || touch(&map, before).and_then(|()| touch(&map, behind)),
            || {
                check("the page before is mapped", is_mapped(&map, before)?, true)?;
                check("the page behind is mapped", is_mapped(&map, behind)?, true)
            },
        )?;
        run_into_it(&device, align)?;
        check("told", neighbour.finish()?, vec![])?;
        drop(map);
        region.destroy(&device)?;
    }
    Ok(())
}
