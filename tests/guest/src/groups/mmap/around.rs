// SPDX-License-Identifier: GPL-2.0
//! Fault-around, which is off by default: a touch of a small page also maps pages near it. A
//! touch of a huge page maps that page alone. The C driver always maps the touched page alone.

use super::{map, open};
use crate::child::{Child, End};
use crate::device::{Device, Driver};
use crate::family;
use crate::kernel;
use crate::ktap::{check, needs_memory_failure, Outcome, Test};
use crate::mmap::Map;
use crate::pattern;
use crate::region::Region;
use crate::sysfs;
use crate::test;
use crate::units::{Span, PAGE, UNIT};
use std::time::Duration;

/// The tests that need no words on the kernel's command line.
pub const TESTS: &[Test] = &[
    test!(touch_maps_one_page),
    test!(fault_around_bytes_is_the_window_in_whole_pages).not_on_c("has no such parameter"),
];

/// The tests for a kernel whose command line asks for [`WINDOW`] pages.
pub const ASKED_FOR: &[Test] = &[
    test!(touch_maps_the_window_around_it),
    test!(touch_maps_nothing_beyond_the_mapping),
    test!(touch_maps_nothing_beyond_the_range),
    test!(touch_maps_nothing_of_the_next_page_table),
    test!(pages_of_a_window_are_counted_once),
    test!(touch_of_a_mapping_for_random_access_maps_one_page),
    test!(touch_makes_only_the_written_page_dirty),
    test!(touch_maps_neighbours_that_are_writable),
    test!(touch_leaves_poisoned_neighbours_alone),
    test!(neighbours_hold_the_data_of_their_offset),
    test!(neighbours_are_given_back),
];

/// The kernel command line of [`ASKED_FOR`]: the memory, and [`WINDOW`], which the host tool makes
/// bytes.
pub const APPEND: &str = "memmap=2G%4G+0xefffffff device_dax.fault_around_bytes=16*PAGE";

/// The number of small pages in the window that [`APPEND`] asks for.
pub const WINDOW: u64 = 16;

/// The number of pages of `align` bytes that a fault maps at most.
fn window(align: u64) -> u64 {
    match align {
        PAGE => WINDOW,
        _ => 1,
    }
}

/// The pages of the window around page `page` of a mapping that are in `first..end`.
fn around(map: &Map, align: u64, page: u64, first: u64, end: u64) -> Vec<u64> {
    // A window is aligned in the address space.
    let window = window(align);
    let shift = map.addr() as u64 / align % window;
    let start = (page + shift) / window * window;
    (start..start + window)
        .filter_map(|p| p.checked_sub(shift))
        .filter(|p| (first..end).contains(p))
        .collect()
}

/// Touches page `page` of a fresh mapping of all of the device, whose range has the pages from
/// `first` to before `end`.
fn check_touch(device: &Device, page: u64, first: u64, end: u64) -> Outcome {
    let align = device.align()?;
    let map = Map::whole(device)?;
    check("store", map.store(page * align, 1), Ok(()))?;
    let expected = around(&map, align, page, first, end);
    check("present", map.present(align)?, expected.clone())?;
    let rss = expected.len() as u64 * align / 1024;
    check("Rss in kB", map.smaps_kib("Rss")?, rss)
}

fn touch_maps_the_window_around_it(region: &Region) -> Outcome {
    for align in [PAGE, UNIT] {
        let device = region.create_bound(align, &[region.units(4, 40)])?;
        let pages = 40 * UNIT / align;
        for page in [0, 1, 15, 16, 21, 39, pages - 1] {
            check_touch(&device, page, 0, pages)?;
        }
        // A load as well as a store.
        let map = Map::whole(&device)?;
        check("load", map.load(20 * align).is_ok(), true)?;
        let expected = around(&map, align, 20, 0, pages);
        check("present", map.present(align)?, expected)?;
        drop(map);
        region.destroy(&device)?;
    }
    Ok(())
}

fn touch_maps_nothing_beyond_the_mapping(region: &Region) -> Outcome {
    for align in [PAGE, UNIT] {
        let device = region.create_bound(align, &[region.units(4, 40)])?;
        let file = open(&device)?;
        // A part of the device whose ends are in the middle of windows, wherever it goes.
        for (len, page) in [(5, 0), (5, 4), (27, 13), (1, 0)] {
            let part = map(&file, len * align, 3 * align)?;
            check("store", part.store(page * align, 1), Ok(()))?;
            let expected = around(&part, align, page, 0, len);
            check("present", part.present(align)?, expected)?;
        }
        // Pages that were unmapped beside the touched page do not come back.
        let all = Map::whole(&device)?;
        check("munmap", all.unmap(8 * align, align), Ok(()))?;
        check("munmap", all.unmap(12 * align, align), Ok(()))?;
        check("store", all.store(10 * align, 1), Ok(()))?;
        let expected = around(&all, align, 10, 9, 12);
        check("present", all.present(align)?, expected)?;
        drop((all, file));
        region.destroy(&device)?;
    }
    Ok(())
}

fn touch_maps_nothing_beyond_the_range(region: &Region) -> Outcome {
    // Ranges of 3, 1 and 5 units; the last two touch in memory, and are two all the same.
    let spans: [Span; 3] = [region.units(20, 3), region.units(2, 1), region.units(3, 5)];
    for align in [PAGE, UNIT] {
        let device = region.create_bound(align, &spans)?;
        let per_unit = UNIT / align;
        for (first, units) in [(0, 3), (3, 1), (4, 5)] {
            let (first, end) = (first * per_unit, (first + units) * per_unit);
            for page in [first, end - 1] {
                check_touch(&device, page, first, end)?;
            }
        }
        region.destroy(&device)?;
    }
    Ok(())
}

fn touch_maps_nothing_of_the_next_page_table(region: &Region) -> Outcome {
    // A mapping that begins four pages before a page table does.
    let device = region.create_bound(PAGE, &[region.units(4, 4)])?;
    let file = open(&device)?;
    let failed = |errno| sysfs::Error::new("mmap", errno);
    let room = Map::anonymous(8 * UNIT).map_err(failed)?.addr() as u64;
    let edge = room.next_multiple_of(UNIT) + UNIT;
    let part = Map::at(&file, (edge - 4 * PAGE) as usize, UNIT, 0).map_err(failed)?;
    for page in [3, 4] {
        check("store", part.store(page * PAGE, 1), Ok(()))?;
        let expected = if page < 4 {
            around(&part, PAGE, page, 0, 4)
        } else {
            around(&part, PAGE, page, 4, UNIT / PAGE)
        };
        let seen = part.present(PAGE)?;
        check("present", seen, expected)?;
        check("madvise", part.advise(libc::MADV_DONTNEED), Ok(()))?;
    }
    Ok(())
}

fn pages_of_a_window_are_counted_once(region: &Region) -> Outcome {
    let device = region.create_bound(PAGE, &[region.units(4, 1)])?;
    let map = Map::whole(&device)?;
    for page in 0..64 {
        check("store", map.store(page * PAGE, page), Ok(()))?;
    }
    check("munmap", map.unmap(64 * PAGE, UNIT - 64 * PAGE), Ok(()))?;
    check("present", map.present(PAGE)?, (0..64).collect::<Vec<_>>())?;
    // The mapping is 64 pages now; each was mapped once.
    check("Rss in kB", map.smaps_kib("Rss")?, 64 * PAGE / 1024)?;
    for page in 0..64 {
        check("load", map.load(page * PAGE), Ok(page))?;
    }
    Ok(())
}

fn touch_of_a_mapping_for_random_access_maps_one_page(region: &Region) -> Outcome {
    for align in [PAGE, UNIT] {
        let device = region.create_bound(align, &[region.units(4, 40)])?;
        let map = Map::whole(&device)?;
        check("madvise", map.advise(libc::MADV_RANDOM), Ok(()))?;
        check("store", map.store(20 * align, 1), Ok(()))?;
        check("present", map.present(align)?, vec![20])?;
        check("madvise", map.advise(libc::MADV_NORMAL), Ok(()))?;
        check("store", map.store(21 * align, 1), Ok(()))?;
        let mut expected = around(&map, align, 21, 0, 40 * UNIT / align);
        if !expected.contains(&20) {
            expected.insert(0, 20);
        }
        check("present again", map.present(align)?, expected)?;
        drop(map);
        region.destroy(&device)?;
    }
    Ok(())
}

/// kB that are dirty, and kB that are not.
fn dirty_and_clean(map: &Map) -> sysfs::Result<(u64, u64)> {
    let both =
        |kind: &str| -> sysfs::Result<u64> {
            Ok(map.smaps_kib(&format!("Private_{kind}"))?
                + map.smaps_kib(&format!("Shared_{kind}"))?)
        };
    Ok((both("Dirty")?, both("Clean")?))
}

fn touch_makes_only_the_written_page_dirty(region: &Region) -> Outcome {
    for align in [PAGE, UNIT] {
        let device = region.create_bound(align, &[region.units(4, 40)])?;
        let map = Map::whole(&device)?;
        let kib = align / 1024;
        check("store", map.store(20 * align, 1), Ok(()))?;
        let clean = (window(align) - 1) * kib;
        check("dirty, clean", dirty_and_clean(&map)?, (kib, clean))?;
        // Loads make nothing dirty, stores to neighbours do.
        let neighbour = around(&map, align, 20, 0, 40)
            .into_iter()
            .find(|p| *p != 20);
        if let Some(page) = neighbour {
            check("load", map.load(page * align).is_ok(), true)?;
            check("dirty, clean", dirty_and_clean(&map)?, (kib, clean))?;
            check("store", map.store(page * align, 1), Ok(()))?;
            let seen = dirty_and_clean(&map)?;
            check("dirty, clean", seen, (2 * kib, clean - kib))?;
        }
        drop(map);
        region.destroy(&device)?;
    }
    Ok(())
}

fn touch_maps_neighbours_that_are_writable(region: &Region) -> Outcome {
    let device = region.create_bound(PAGE, &[region.units(4, 1)])?;
    let read_only = Map::with(
        &open(&device)?,
        40 * PAGE,
        0,
        libc::PROT_READ,
        libc::MAP_SHARED,
    );
    let read_only = read_only.map_err(|e| sysfs::Error::new("mmap", e))?;
    let map = Map::whole(&device)?;
    check("load", read_only.load(20 * PAGE).is_ok(), true)?;
    check("load", map.load(20 * PAGE).is_ok(), true)?;
    for page in around(&map, PAGE, 20, 0, 40) {
        check("store", map.store(page * PAGE, page), Ok(()))?;
        check("load", read_only.load(page * PAGE), Ok(page))?;
    }
    // No fault gave the other mapping what it may not do.
    let refused = read_only.store(20 * PAGE, 1).is_err();
    check("store to what is read-only fails", refused, true)
}

fn touch_leaves_poisoned_neighbours_alone(region: &Region) -> Outcome {
    needs_memory_failure()?;
    let device = region.create_bound(PAGE, &[region.units(4, 1)])?;
    let file = open(&device)?;
    // A process that has the page mapped gets SIGBUS, so this is another process. No access of its
    // own faults, so it lives on.
    let child = Child::spawn(|| {
        let page = Map::shared(&file, PAGE, 20 * PAGE);
        let done = page
            .is_ok_and(|page| page.store(0, 1).is_ok() && page.advise(libc::MADV_HWPOISON).is_ok());
        i32::from(!done)
    });
    let end = child.map(|child| child.wait(Duration::from_secs(20)));
    check("child", end, Ok(End::Exit(0)))?;
    let map = Map::whole(&device)?;
    check("store", map.store(21 * PAGE, 1), Ok(()))?;
    let mut expected = around(&map, PAGE, 21, 0, UNIT / PAGE);
    expected.retain(|page| *page != 20);
    check("present", map.present(PAGE)?, expected)?;
    // With either driver, a process that touches the page gets it.
    check("load", map.load(20 * PAGE).is_ok(), true)?;
    check("present", map.present(PAGE)?.contains(&20), true)
}

fn neighbours_hold_the_data_of_their_offset(region: &Region) -> Outcome {
    let spans = [region.units(20, 3), region.units(2, 1), region.units(3, 5)];
    for align in [PAGE, UNIT] {
        let device = region.create_bound(align, &spans)?;
        let ranges = device.ranges()?;
        pattern::fill(&Map::whole(&device)?, &ranges, 11)?;
        // One touch in each window, then everything that is present is the right frame.
        let map = Map::whole(&device)?;
        for page in (0..device.size()? / align).step_by(window(align) as usize) {
            check("load", map.load(page * align).is_ok(), true)?;
        }
        let frames = map.frames(0, map.len() / PAGE)?;
        for range in &ranges {
            let first = range.page_offset as usize;
            let pages = (range.span.len() / PAGE) as usize;
            for (frame, number) in frames[first..first + pages].iter().zip(0..) {
                let right = range.span.start / PAGE + number;
                check("frame", frame.unwrap_or(right), right)?;
            }
        }
        pattern::compare(&map, &ranges, 11)?;
        drop(map);
        region.destroy(&device)?;
    }
    Ok(())
}

fn neighbours_are_given_back(region: &Region) -> Outcome {
    for align in [PAGE, UNIT] {
        let device = region.create_bound(align, &[region.units(4, 40)])?;
        // By munmap, by MADV_DONTNEED, and by unbinding, which waits for every reference.
        let map = Map::whole(&device)?;
        check("store", map.store(20 * align, 1), Ok(()))?;
        drop(map);
        let map = Map::whole(&device)?;
        check("store", map.store(20 * align, 1), Ok(()))?;
        check("madvise", map.advise(libc::MADV_DONTNEED), Ok(()))?;
        check("Rss in kB", map.smaps_kib("Rss")?, 0)?;
        check("store", map.store(21 * align, 1), Ok(()))?;
        device.unbind()?;
        check("Rss in kB after unbind", map.smaps_kib("Rss")?, 0)?;
        device.bind(Driver::DeviceDax)?;
        let map = Map::whole(&device)?;
        check("load", map.load(20 * align), Ok(1))?;
        check("load", map.load(21 * align), Ok(1))?;
        drop(map);
        region.destroy(&device)?;
    }
    Ok(())
}

/// Touches a page, by a load and by a store, and checks that this page alone is mapped then.
fn check_one_page(device: &Device) -> Outcome {
    let align = device.align()?;
    for page in [0, 1, 20, 39] {
        for store in [false, true] {
            let map = Map::whole(device)?;
            let touched = match store {
                true => map.store(page * align, 1).is_ok(),
                false => map.load(page * align).is_ok(),
            };
            check("touch", touched, true)?;
            check("present", map.present(align)?, vec![page])?;
            check("Rss in kB", map.smaps_kib("Rss")?, align / 1024)?;
        }
    }
    Ok(())
}

fn touch_maps_one_page(region: &Region) -> Outcome {
    for align in [PAGE, UNIT] {
        let device = region.create_bound(align, &[region.units(4, 40)])?;
        check_one_page(&device)?;
        region.destroy(&device)?;
    }
    Ok(())
}

fn fault_around_bytes_is_the_window_in_whole_pages(_: &Region) -> Outcome {
    family::require_modules()?;
    let outcome = [
        (0, 1),
        (1, 1),
        (PAGE, 1),
        (2 * PAGE, 2),
        (3 * PAGE, 2),
        (16 * PAGE, 16),
    ]
    .into_iter()
    .try_for_each(|(bytes, pages)| touched_with(bytes, pages));
    // The next test loads the module as it is loaded by default.
    family::unload_bus()?;
    outcome
}

/// A touch with `fault_around_bytes` set to that, which comes to so many small pages and to one
/// of any other size.
fn touched_with(bytes: u64, pages: u64) -> Outcome {
    family::unload_bus()?;
    let parameter = format!("fault_around_bytes={bytes}");
    kernel::run("modprobe", &["device_dax", &parameter])?;
    let region = Region::fresh()?;
    for align in [PAGE, UNIT] {
        let device = region.create_bound(align, &[region.units(4, 40)])?;
        let map = Map::whole(&device)?;
        check("store", map.store(20 * align, 1), Ok(()))?;
        let window = if align == PAGE { pages } else { 1 };
        // A window is aligned in the address space.
        let shift = map.addr() as u64 / align % window;
        let start = (20 + shift) / window * window - shift;
        let expected: Vec<u64> = (start..start + window).collect();
        let what = format!("{parameter}, pages of {align:#x}");
        check(what, map.present(align)?, expected)?;
        drop(map);
        region.destroy(&device)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use dax_protocol::TIMES_PAGE;

    #[test]
    fn command_line_asks_for_the_window() {
        let parameter = format!(" device_dax.fault_around_bytes={WINDOW}{TIMES_PAGE}");
        assert!(APPEND.ends_with(&parameter));
    }
}
