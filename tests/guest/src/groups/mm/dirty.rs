// SPDX-License-Identifier: GPL-2.0
//! Soft-dirty bits, which say which pages were written. Tools use them to save a process in steps.

use super::device;
use crate::kernel;
use crate::ktap::{check, skip, Outcome, Test};
use crate::mmap::Map;
use crate::pagemap::{self, Entry};
use crate::region::Region;
use crate::sysfs;
use crate::test;
use crate::units::{PAGE, UNIT};
use std::path::Path;

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(written_pages_are_soft_dirty_and_no_others),
    test!(new_area_is_soft_dirty),
];

/// Begins a step.
fn begin() -> sysfs::Result<()> {
    sysfs::write(Path::new("/proc/self/clear_refs"), "4")
}

/// arm64 has no bit for that in a page table.
fn needs_soft_dirty_bits() -> Outcome {
    if kernel::has("CONFIG_MEM_SOFT_DIRTY=y") {
        return Ok(());
    }
    skip("the kernel has no soft-dirty bits")
}

/// The pages of `align` bytes that were written during the step, each as a whole.
fn dirty(map: &Map, align: u64) -> Result<Vec<u64>, crate::ktap::Failure> {
    let entries = pagemap::entries(map.addr(), map.len() / PAGE)?;
    let mut dirty = Vec::new();
    for (entries, page) in entries.chunks((align / PAGE) as usize).zip(0..) {
        let all = entries.iter().copied().all(Entry::is_soft_dirty);
        let any = entries.iter().copied().any(Entry::is_soft_dirty);
        check(format!("page {page} is as a whole"), any, all)?;
        if all {
            dirty.push(page);
        }
    }
    Ok(dirty)
}

fn written_pages_are_soft_dirty_and_no_others(region: &Region) -> Outcome {
    needs_soft_dirty_bits()?;
    for align in [PAGE, UNIT] {
        let device = device(region, align)?;
        let map = Map::whole(&device)?;
        let last = map.len() / align - 1;
        // Some are mapped before the first step, some by a load, some by a store, some never.
        check("store", map.store(0, 1), Ok(()))?;
        check("load", map.load(align).is_ok(), true)?;
        let steps: [&[u64]; 5] = [&[], &[0, 3], &[last], &[0, 1, 2], &[3]];
        for (step, pages) in (1..).zip(steps) {
            begin()?;
            check("at the beginning of a step", dirty(&map, align)?, vec![])?;
            check("load", map.load(2 * align).is_ok(), true)?;
            for &page in pages {
                let word = page * align + align / 2;
                check("store", map.store(word, step), Ok(()))?;
                check("load", map.load(word), Ok(step))?;
            }
            let written = dirty(&map, align)?;
            check(format!("written in step {step}"), written, pages.to_vec())?;
        }
        // A page that is mapped anew counts as not written.
        begin()?;
        check("madvise", map.advise(libc::MADV_DONTNEED), Ok(()))?;
        check("load", map.load(3 * align + align / 2), Ok(5))?;
        check("mapped anew", dirty(&map, align)?, vec![])?;
        drop(map);
        region.destroy(&device)?;
    }
    Ok(())
}

fn new_area_is_soft_dirty(region: &Region) -> Outcome {
    needs_soft_dirty_bits()?;
    for align in [PAGE, UNIT] {
        let device = device(region, align)?;
        begin()?;
        let map = Map::whole(&device)?;
        check("load", map.load(0).is_ok(), true)?;
        // All of it, touched or not: it was not there before.
        let all: Vec<u64> = (0..map.len() / align).collect();
        check("soft-dirty", dirty(&map, align)?, all)?;
        drop(map);
        region.destroy(&device)?;
    }
    Ok(())
}
