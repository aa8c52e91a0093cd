// SPDX-License-Identifier: GPL-2.0
//! Core dumps of processes that have a device mapped.

use super::{device, failed};
use crate::device::Device;
use crate::elfcore::Core;
use crate::errno::Errno;
use crate::ktap::{check, deviates, Failure, Outcome, Test};
use crate::mmap::{self, Map};
use crate::pattern;
use crate::region::Region;
use crate::test;
use crate::units::{GIB, PAGE, UNIT};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(core_dump_has_devices_only_on_request),
    test!(core_dump_has_every_byte_of_a_device),
    test!(core_dump_leaves_out_what_was_advised),
    test!(core_dump_of_a_dead_mapping_has_nothing),
];
/// The test at 1 GiB.
pub const GIANT: Test = test!(core_dump_has_the_giant_pages_of_a_device).slow();

/// The kinds of memory that are dumped by default.
const DEFAULT: u32 = 0x33;
/// Private and shared mappings of DAX memory. A device has no private ones.
const PRIVATE: u32 = 1 << 7;
const SHARED: u32 = 1 << 8;

/// The preparation of tests that need none.
fn nothing() -> Outcome {
    Ok(())
}

fn core_dump_has_devices_only_on_request(region: &Region) -> Outcome {
    for align in [PAGE, UNIT] {
        let device = device(region, align)?;
        let map = Map::whole(&device)?;
        check("store", map.store(0, 1), Ok(()))?;
        for (filter, stored) in [
            (DEFAULT, 0),
            (PRIVATE, 0),
            (DEFAULT | PRIVATE, 0),
            (SHARED, map.len()),
            (DEFAULT | PRIVATE | SHARED, map.len()),
        ] {
            let core = Core::of_child(filter, nothing)?;
            let sizes = core.sizes(map.addr())?;
            check(format!("filter {filter:#x}"), sizes, (map.len(), stored))?;
        }
        drop(map);
        region.destroy(&device)?;
    }
    Ok(())
}

fn core_dump_has_every_byte_of_a_device(region: &Region) -> Outcome {
    for (seed, align) in (20..).zip([PAGE, UNIT]) {
        let device = device(region, align)?;
        let ranges = device.ranges()?;
        let map = Map::whole(&device)?;
        pattern::fill(&map, &ranges, seed)?;
        drop(map);
        // In the process that dies some pages are mapped, and most are not.
        let map = Map::whole(&device)?;
        let core = Core::of_child(SHARED, || {
            let loaded = [0, align, map.len() - 8]
                .iter()
                .all(|&at| map.load(at).is_ok());
            check("load", loaded, true)
        })?;
        for offset in (0..map.len()).step_by(504) {
            let dumped = core.word(map.addr() + offset as usize)?;
            if map.load(offset) != Ok(dumped) {
                check(format!("word at {offset:#x}"), Ok(dumped), map.load(offset))?;
            }
        }
        drop(map);
        region.destroy(&device)?;
    }
    Ok(())
}

fn core_dump_leaves_out_what_was_advised(region: &Region) -> Outcome {
    for align in [PAGE, UNIT] {
        let device = device(region, align)?;
        let map = Map::whole(&device)?;
        let (start, len) = (2 * UNIT, UNIT);
        check("store", map.store(start, 77), Ok(()))?;
        check("store", map.store(start + len, 78), Ok(()))?;
        let advised = map.advise_part(start, len, libc::MADV_DONTDUMP);
        check("MADV_DONTDUMP", advised, Ok(()))?;
        let at = |offset: u64| map.addr() + offset as usize;
        let core = Core::of_child(SHARED, nothing)?;
        check("before", core.sizes(at(0))?, (start, start))?;
        check("left out", core.sizes(at(start))?, (len, 0))?;
        check("behind", core.word(at(start + len))?, 78)?;
        drop(core);
        // An area that cannot grow is one of those for which this cannot be undone.
        let undone = map.advise_part(start, len, libc::MADV_DODUMP);
        let huge = align > PAGE;
        let expected = deviates(if huge { Err(Errno::EINVAL) } else { Ok(()) }, Ok(()));
        check("MADV_DODUMP", undone, expected)?;
        let core = Core::of_child(SHARED, nothing)?;
        match expected {
            Ok(()) => check("again", core.word(at(start))?, 77)?,
            Err(_) => check("still", core.sizes(at(start))?, (len, 0))?,
        }
        drop(map);
        region.destroy(&device)?;
    }
    Ok(())
}

fn core_dump_of_a_dead_mapping_has_nothing(region: &Region) -> Outcome {
    for align in [PAGE, UNIT] {
        let device = device(region, align)?;
        let map = Map::whole(&device)?;
        check("store", map.store(0, 5), Ok(()))?;
        device.unbind()?;
        let core = Core::of_child(SHARED, nothing)?;
        // The dump has a hole of the same size, whatever memory is behind the mapping now.
        check("sizes", core.sizes(map.addr())?, (map.len(), map.len()))?;
        check("word", core.word(map.addr())?, 0)?;
        drop(map);
        region.destroy(&device)?;
    }
    Ok(())
}

/// The first and the last word of each MiB of a page of 1 GiB.
fn core_dump_has_the_giant_pages_of_a_device(region: &Region) -> Outcome {
    let device: Device = device(region, GIB)?;
    let opened = mmap::open(&device.node()).map_err(failed("open"))?;
    // The second page, so that the dump is not larger than it need be.
    let map = Map::shared(&opened, GIB, GIB).map_err(failed("mmap"))?;
    let words = || (0..1024u64).flat_map(|mib| [mib << 20, ((mib + 1) << 20) - 8]);
    for word in words() {
        check("store", map.store(word, word ^ 0x55), Ok(()))?;
    }
    let core = Core::of_child(SHARED, nothing)?;
    check("sizes", core.sizes(map.addr())?, (GIB, GIB))?;
    for word in words() {
        let dumped = core.word(map.addr() + word as usize)?;
        check(format!("word at {word:#x}"), dumped, word ^ 0x55)?;
    }
    drop((core, map));
    region.destroy(&device).map_err(Failure::from)
}
