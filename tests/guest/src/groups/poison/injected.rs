// SPDX-License-Identifier: GPL-2.0
//! Memory that fails while nobody touches it: hwpoison-inject.

use super::{device, failed, frame, is_mapped, map_from, optional, Kill, Other};
use crate::compare::log::Log;
use crate::errno::Errno;
use crate::kernel;
use crate::ktap::{check, skip, Failure, Outcome, Test};
use crate::mmap::Map;
use crate::pin;
use crate::pipe::Pipe;
use crate::region::Region;
use crate::sysfs;
use crate::test;
use crate::trap::Signal;
use crate::units::{PAGE, UNIT};
use std::path::Path;

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(injected_poison_is_told_to_who_asked),
    test!(injected_poison_in_a_page_that_nobody_touched_is_refused),
    test!(injected_poison_in_a_page_that_nobody_has_mapped_is_told_to_nobody),
    test!(injected_poison_while_pages_drain_is_told_to_nobody)
        .not_on_c("frees the page under its holder"),
    test!(injected_poison_in_what_drains_without_a_region_is_told_to_nobody)
        .not_on_c("frees the page under its holder"),
];

/// The file that takes the number of the page frame that shall fail.
const CORRUPT: &str = "/sys/kernel/debug/hwpoison/corrupt-pfn";

/// The memory at a page frame is found to have failed.
fn inject(frame: u64) -> Result<Result<(), Errno>, Failure> {
    if !Path::new(CORRUPT).exists() && kernel::modprobe(&["hwpoison-inject"]).is_err() {
        return skip("no hwpoison-inject in this kernel");
    }
    let text = format!("{frame:#x}");
    Ok(sysfs::try_write(Path::new(CORRUPT), text.as_bytes()).map(drop))
}

/// Stores to a page of a mapping.
fn touch(map: &Map, offset: u64) -> Outcome {
    check("store", map.store(offset, 4), Ok(()))
}

/// Pages of a device fail one after the other, of each range two. First a process has the page
/// mapped that did not ask to be told, then it and one that did.
pub fn check_who_asked(region: &Region, align: u64) -> Outcome {
    let device = device(region, align)?;
    let map = map_from(&device, align, 0)?;
    let pages = device.size()? / align;
    // A page frame in the middle of a big page fails, not its first one.
    let within = align / PAGE / 3;
    let mut pages = vec![0, pages / 2 - 1, pages / 2, pages - 1];
    pages.dedup();
    for page in pages {
        let (map, offset) = (&map, page * align);
        let failing = frame(&device, align, page)? + within;
        let start = |kill, mapped| {
            Other::start(
                kill,
                || touch(map, offset),
                || check("mapped", is_mapped(map, offset)?, mapped),
            )
        };
        // The page is not unmapped either.
        let alone = start(Kill::Late, true)?;
        check("inject", inject(failing)?, Ok(()))?;
        check("who did not ask, alone", alone.finish()?, vec![])?;

        let asked = start(Kill::Early, false)?;
        let other = start(Kill::Late, false)?;
        check("inject", inject(failing)?, Ok(()))?;
        let expected = vec![optional(map, offset, align)];
        check("who asked", asked.finish()?, expected)?;
        check("who did not ask", other.finish()?, vec![])?;
    }
    drop(map);
    region.destroy(&device).map_err(Failure::from)
}

fn injected_poison_is_told_to_who_asked(region: &Region) -> Outcome {
    check_who_asked(region, PAGE)?;
    check_who_asked(region, UNIT)
}

fn injected_poison_in_a_page_that_nobody_touched_is_refused(region: &Region) -> Outcome {
    for align in [PAGE, UNIT] {
        let device = device(region, align)?;
        let map = map_from(&device, align, 0)?;
        let other = Other::start(Kill::Early, || touch(&map, 0), || Ok(()))?;
        // Nobody knows yet whose page it is.
        let last = frame(&device, align, device.size()? / align - 1)?;
        check("inject", inject(last)?, Err(Errno::EBUSY))?;
        check("told", other.finish()?, vec![])?;
        drop(map);
        region.destroy(&device)?;
    }
    Ok(())
}

fn injected_poison_in_a_page_that_nobody_has_mapped_is_told_to_nobody(region: &Region) -> Outcome {
    for align in [PAGE, UNIT] {
        let device = device(region, align)?;
        touch(&map_from(&device, align, 0)?, align)?;
        let map = map_from(&device, align, 0)?;
        let other = Other::start(
            Kill::Early,
            || touch(&map, 0),
            || check("load", map.load(align), Ok(4)),
        )?;
        check("inject", inject(frame(&device, align, 1)?)?, Ok(()))?;
        check("told", other.finish()?, vec![])?;
        drop(map);
        region.destroy(&device)?;
    }
    Ok(())
}

fn injected_poison_while_pages_drain_is_told_to_nobody(region: &Region) -> Outcome {
    for align in [PAGE, UNIT] {
        let device = device(region, align)?;
        let map = map_from(&device, align, 0)?;
        let other = Other::start(
            Kill::Early,
            || touch(&map, align),
            || check("load", map.load(align), Err(Signal::BUS)),
        )?;
        touch(&map, align)?;
        let pipe = Pipe::new().map_err(failed("pipe"))?;
        check("vmsplice", pipe.splice_from(&map, align, 8), Ok(8))?;
        let failing = frame(&device, align, 1)?;
        pin::unbind(&device)?;
        // The struct pages are there, and so is what they say of who had them mapped.
        check("inject", inject(failing)?, Ok(()))?;
        check("told", other.finish()?, vec![])?;
        check("data", pipe.read_word(), Ok(4))?;
        pin::bound_again(&device)?;
        device.unbind()?;
        drop(map);
        region.destroy(&device)?;
    }
    Ok(())
}

/// The struct pages outlive the device, and what they say of who had them mapped with it.
fn injected_poison_in_what_drains_without_a_region_is_told_to_nobody(region: &Region) -> Outcome {
    let device = device(region, UNIT)?;
    let map = map_from(&device, UNIT, 0)?;
    touch(&map, UNIT)?;
    let pipe = Pipe::new().map_err(failed("pipe"))?;
    check("vmsplice", pipe.splice_from(&map, UNIT, 8), Ok(8))?;
    let failing = frame(&device, UNIT, 1)?;
    let mut log = Log::open()?;
    let mut unbinding = pin::start(|| region.unbind())?;
    pin::check_region_waits(&mut log, region, &mut unbinding)?;
    pin::check_killed(&mut unbinding)?;
    check("the device", device.exists(), false)?;
    drop(map);
    // Whose the page was may be known or not.
    let injected = inject(failing)?;
    let known = matches!(injected, Ok(()) | Err(Errno::EBUSY));
    check(format!("inject: {injected:?}"), known, true)?;
    check("data", pipe.read_word(), Ok(4))?;
    drop(pipe);
    pin::said_drained(&mut log)?;
    region.bind()?;
    let again = super::device(region, UNIT)?;
    let map = map_from(&again, UNIT, 0)?;
    check("load", map.load(UNIT), Ok(4))
}
