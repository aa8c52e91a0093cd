// SPDX-License-Identifier: GPL-2.0
//! Fault-around: what else is mapped when a page is touched. The C driver maps the page alone.

use super::{map, open};
use crate::child::{Child, End};
use crate::device::{Device, Driver};
use crate::family;
use crate::kernel::{self, Impl};
use crate::ktap::{check, Outcome, Test};
use crate::mmap::Map;
use crate::pattern;
use crate::region::Region;
use crate::sysfs;
use crate::test;
use crate::units::{Span, PAGE, UNIT};
use std::time::Duration;

/// The tests of this file.
pub const TESTS: &[Test] = &[
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
    test!(fault_around_off_maps_one_page).not_on_c("has no such parameter"),
];

/// The pages that a fault of the Rust driver maps, by default.
const WINDOW: u64 = 16;

/// The pages that a fault maps at most.
fn window() -> u64 {
    match Impl::running() {
        Impl::Rust => WINDOW,
        Impl::C => 1,
    }
}

/// The pages of a device of that alignment that are present, by number in the mapping.
fn present(map: &Map, align: u64) -> sysfs::Result<Vec<u64>> {
    let frames = map.frames(0, map.len() / PAGE)?;
    let pages = frames.chunks((align / PAGE) as usize).zip(0..);
    Ok(pages
        .filter(|(frames, _)| frames.iter().any(Option::is_some))
        .map(|(_, page)| page)
        .collect())
}

/// The window around page `page` of a mapping, but for what is not in `first..end`.
fn around(map: &Map, align: u64, page: u64, first: u64, end: u64) -> Vec<u64> {
    // A window is aligned in the address space.
    let shift = map.addr() as u64 / align % window();
    let start = (page + shift) / window() * window();
    (start..start + window())
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
    check("present", present(&map, align)?, expected.clone())?;
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
        check("present", present(&map, align)?, expected)?;
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
            check("present", present(&part, align)?, expected)?;
        }
        // What was unmapped at either side of the page does not come back.
        let all = Map::whole(&device)?;
        check("munmap", all.unmap(8 * align, align), Ok(()))?;
        check("munmap", all.unmap(12 * align, align), Ok(()))?;
        check("store", all.store(10 * align, 1), Ok(()))?;
        let expected = around(&all, align, 10, 9, 12);
        check("present", present(&all, align)?, expected)?;
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
            around(&part, PAGE, page, 4, 512)
        };
        let seen = present(&part, PAGE)?;
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
    check("present", present(&map, PAGE)?, (0..64).collect::<Vec<_>>())?;
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
        check("present", present(&map, align)?, vec![20])?;
        check("madvise", map.advise(libc::MADV_NORMAL), Ok(()))?;
        check("store", map.store(21 * align, 1), Ok(()))?;
        let mut expected = around(&map, align, 21, 0, 40 * UNIT / align);
        if !expected.contains(&20) {
            expected.insert(0, 20);
        }
        check("present again", present(&map, align)?, expected)?;
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
        let clean = (window() - 1) * kib;
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
    let device = region.create_bound(UNIT, &[region.units(4, 40)])?;
    let read_only = Map::with(
        &open(&device)?,
        40 * UNIT,
        0,
        libc::PROT_READ,
        libc::MAP_SHARED,
    );
    let read_only = read_only.map_err(|e| sysfs::Error::new("mmap", e))?;
    let map = Map::whole(&device)?;
    check("load", read_only.load(20 * UNIT).is_ok(), true)?;
    check("load", map.load(20 * UNIT).is_ok(), true)?;
    for page in around(&map, UNIT, 20, 0, 40) {
        check("store", map.store(page * UNIT, page), Ok(()))?;
        check("load", read_only.load(page * UNIT), Ok(page))?;
    }
    // No fault gave the other mapping what it may not do.
    let refused = read_only.store(20 * UNIT, 1).is_err();
    check("store to what is read-only fails", refused, true)
}

fn touch_leaves_poisoned_neighbours_alone(region: &Region) -> Outcome {
    let device = region.create_bound(PAGE, &[region.units(4, 1)])?;
    let file = open(&device)?;
    // Whoever has the page mapped gets SIGBUS, so it is another process. As no access of its
    // own faults, it lives on.
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
    let mut expected = around(&map, PAGE, 21, 0, 512);
    expected.retain(|page| *page != 20);
    check("present", present(&map, PAGE)?, expected)?;
    // Whoever asks for it gets it, from either driver.
    check("load", map.load(20 * PAGE).is_ok(), true)?;
    check("present", present(&map, PAGE)?.contains(&20), true)
}

fn neighbours_hold_the_data_of_their_offset(region: &Region) -> Outcome {
    let spans = [region.units(20, 3), region.units(2, 1), region.units(3, 5)];
    for align in [PAGE, UNIT] {
        let device = region.create_bound(align, &spans)?;
        let ranges = device.ranges()?;
        pattern::fill(&Map::whole(&device)?, &ranges, 11)?;
        // One touch in each window, then everything that is present is the right frame.
        let map = Map::whole(&device)?;
        for page in (0..device.size()? / align).step_by(window() as usize) {
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

fn fault_around_off_maps_one_page(_: &Region) -> Outcome {
    family::require_modules()?;
    let outcome = ["0", "1", "3"].into_iter().try_for_each(touched_with);
    // The next test loads the module as it is loaded by default.
    family::unload()?;
    outcome
}

/// A touch with `fault_around` set to that many pages, of which there are two at most.
fn touched_with(pages: &str) -> Outcome {
    family::unload()?;
    kernel::run(
        "modprobe",
        &["device_dax", &format!("fault_around={pages}")],
    )?;
    let region = Region::fresh()?;
    for align in [PAGE, UNIT] {
        let device = region.create_bound(align, &[region.units(4, 40)])?;
        let map = Map::whole(&device)?;
        check("store", map.store(20 * align, 1), Ok(()))?;
        let other = (map.addr() as u64 / align + 20) ^ 1;
        let other = other - map.addr() as u64 / align;
        let mut expected = vec![20];
        if pages == "3" {
            // Rounded down.
            expected.push(other);
            expected.sort_unstable();
        }
        check(pages, present(&map, align)?, expected)?;
        drop(map);
        region.destroy(&device)?;
    }
    Ok(())
}
