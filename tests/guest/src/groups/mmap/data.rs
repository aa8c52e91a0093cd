// SPDX-License-Identifier: GPL-2.0
//! Each byte goes to the physical page that its page offset says.

use super::{map, open};
use crate::child::{Child, End};
use crate::device::Device;
use crate::ktap::{check, needs_units, note, Failure, Outcome, Test};
use crate::mmap::Map;
use crate::pattern;
use crate::region::Region;
use crate::test;
use crate::units::{Span, PAGE, UNIT};
use std::time::Duration;

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(data_at_4k_over_scattered_ranges_is_where_its_offset_says),
    test!(data_at_2m_over_scattered_ranges_is_where_its_offset_says),
    test!(data_at_2m_over_64_ranges_is_where_its_offset_says),
    test!(data_at_2m_over_first_fit_holes_is_where_its_offset_says),
    test!(data_survives_growing_and_shrinking),
    test!(data_survives_change_of_align),
    test!(mapping_at_an_offset_shows_that_part),
    test!(two_mappings_of_a_device_share_memory),
    test!(two_devices_do_not_share_memory),
    test!(forked_child_shares_the_mapping),
    test!(threads_faulting_together_see_the_same_data),
    test!(zapped_pages_come_back_with_their_data),
];

/// Fills a bound device, looks at the frames behind it, gives it up, and finds the same data in
/// the same physical memory.
pub(super) fn prove(region: &Region, device: Device, seed: u64) -> Outcome {
    let ranges = device.ranges()?;
    let map = Map::whole(&device)?;
    let written = pattern::fill(&map, &ranges, seed)?;
    let boundaries = pattern::fill_across(&map, &ranges, seed)?;
    check("boundaries", boundaries, written.ranges - 1)?;
    let read = pattern::compare(&map, &ranges, seed)?;
    check("what was read", read, written)?;
    // Looking into pagemap takes a PUD apart: there is nothing to see at 1 GiB.
    if device.align()? <= UNIT {
        let frames = pattern::compare_frames(&map, &ranges)?;
        check("frames looked at", frames.pages, written.pages)?;
    }
    drop(map);
    region.destroy(&device)?;
    let physical = pattern::compare_physical(region, &ranges, seed)?;
    check("what was found in memory", physical, written)?;
    note(format!("{written:?}"));
    Ok(())
}

/// Scattered, of different lengths, not in the order of addresses; two of them touch.
fn scattered(region: &Region) -> [Span; 5] {
    [
        region.units(9, 1),
        region.units(2, 2),
        region.units(30, 1),
        region.units(10, 1),
        region.units(5, 3),
    ]
}

fn data_at_4k_over_scattered_ranges_is_where_its_offset_says(region: &Region) -> Outcome {
    let device = region.create_bound(PAGE, &scattered(region))?;
    prove(region, device, 1)
}

fn data_at_2m_over_scattered_ranges_is_where_its_offset_says(region: &Region) -> Outcome {
    let device = region.create_bound(UNIT, &scattered(region))?;
    prove(region, device, 2)
}

fn data_at_2m_over_64_ranges_is_where_its_offset_says(region: &Region) -> Outcome {
    needs_units(region, 2 * 64)?;
    // Every other unit, from the top down.
    let spans: Vec<Span> = (0..64).rev().map(|i| region.units(2 * i, 1)).collect();
    let device = region.create_bound(UNIT, &spans)?;
    prove(region, device, 3)
}

fn data_at_2m_over_first_fit_holes_is_where_its_offset_says(region: &Region) -> Outcome {
    for unit in [1, 4, 5, 9] {
        region.create_over(&[region.units(unit, 1)])?;
    }
    let device = region.create_sized(8 * UNIT)?;
    check("ranges", device.ranges()?.len(), 4)?;
    device.bind(crate::device::Driver::DeviceDax)?;
    prove(region, device, 4)
}

fn data_survives_growing_and_shrinking(region: &Region) -> Outcome {
    let device = region.create_bound(UNIT, &scattered(region))?;
    let ranges = device.ranges()?;
    let map = Map::whole(&device)?;
    pattern::fill(&map, &ranges, 5)?;
    drop(map);
    device.unbind()?;
    device.set_size(device.size()? + 10 * UNIT)?;
    device.bind(crate::device::Driver::DeviceDax)?;
    let map = Map::whole(&device)?;
    pattern::compare(&map, &ranges, 5)?;
    pattern::fill(&map, &device.ranges()?, 5)?;
    drop(map);
    device.unbind()?;
    device.set_size(7 * UNIT)?;
    device.bind(crate::device::Driver::DeviceDax)?;
    prove_rest(region, device, 5)
}

/// Proves that the rest of a device still has the pattern.
fn prove_rest(region: &Region, device: Device, seed: u64) -> Outcome {
    let ranges = device.ranges()?;
    let map = Map::whole(&device)?;
    // Only whole ranges hold the words that a shorter last range is looked at for.
    let whole = &ranges[..ranges.len() - 1];
    pattern::compare(&map, whole, seed)?;
    pattern::compare_frames(&map, whole)?;
    drop(map);
    region.destroy(&device)?;
    pattern::compare_physical(region, whole, seed).map(drop)
}

fn data_survives_change_of_align(region: &Region) -> Outcome {
    let device = region.create_bound(UNIT, &scattered(region))?;
    let ranges = device.ranges()?;
    pattern::fill(&Map::whole(&device)?, &ranges, 6)?;
    device.unbind()?;
    device.set_align(PAGE)?;
    device.bind(crate::device::Driver::DeviceDax)?;
    let map = Map::whole(&device)?;
    pattern::compare(&map, &ranges, 6)?;
    pattern::compare_frames(&map, &ranges).map(drop)
}

fn mapping_at_an_offset_shows_that_part(region: &Region) -> Outcome {
    let device = region.create_bound(UNIT, &scattered(region))?;
    let file = open(&device)?;
    let ranges = device.ranges()?;
    for range in &ranges {
        let part = map(&file, range.span.len(), range.page_offset * PAGE)?;
        check("store", part.store(0, range.page_offset), Ok(()))?;
        let frame = part.frames(0, 1)?[0];
        check("frame", frame, Some(range.span.start / PAGE))?;
    }
    let all = Map::whole(&device)?;
    for range in &ranges {
        let word = all.load(range.page_offset * PAGE);
        check("through the whole", word, Ok(range.page_offset))?;
    }
    Ok(())
}

fn two_mappings_of_a_device_share_memory(region: &Region) -> Outcome {
    let device = super::bound(region)?;
    let (one, two) = (Map::whole(&device)?, Map::whole(&device)?);
    for offset in [0, UNIT - 8, 3 * UNIT] {
        check("store", one.store(offset, offset + 1), Ok(()))?;
        check("load", two.load(offset), Ok(offset + 1))?;
    }
    Ok(())
}

fn two_devices_do_not_share_memory(region: &Region) -> Outcome {
    // Interleaved: abababab.
    let spans = |first: u64| {
        (0..4)
            .map(|i| region.units(first + 2 * i, 1))
            .collect::<Vec<_>>()
    };
    let a = region.create_bound(UNIT, &spans(0))?;
    let b = region.create_bound(PAGE, &spans(1))?;
    let (map_a, map_b) = (Map::whole(&a)?, Map::whole(&b)?);
    pattern::fill(&map_a, &a.ranges()?, 7)?;
    pattern::fill(&map_b, &b.ranges()?, 8)?;
    pattern::compare(&map_a, &a.ranges()?, 7)?;
    pattern::compare(&map_b, &b.ranges()?, 8).map(drop)
}

fn forked_child_shares_the_mapping(region: &Region) -> Outcome {
    let map = Map::whole(&super::bound(region)?)?;
    check("store", map.store(0, 1), Ok(()))?;
    // One page that the parent has touched and one that it has not.
    let child = Child::spawn(|| {
        let inherited = map.load(0) == Ok(1);
        let stored = map.store(8, 2).is_ok() && map.store(2 * UNIT, 3).is_ok();
        i32::from(!(inherited && stored))
    });
    let end = child.map(|child| child.wait(Duration::from_secs(10)));
    check("child", end, Ok(End::Exit(0)))?;
    check("touched page", map.load(8), Ok(2))?;
    check("untouched page", map.load(2 * UNIT), Ok(3))
}

fn threads_faulting_together_see_the_same_data(region: &Region) -> Outcome {
    let device = region.create_bound(PAGE, &scattered(region))?;
    let ranges = device.ranges()?;
    let map = Map::whole(&device)?;
    let outcomes = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| pattern::fill(&map, &ranges, 9)))
            .collect();
        threads
            .into_iter()
            .map(|t| {
                t.join()
                    .unwrap_or_else(|_| Err(Failure::Fail("panicked".into())))
            })
            .collect::<Vec<_>>()
    });
    for outcome in outcomes {
        outcome?;
    }
    pattern::compare(&map, &ranges, 9)?;
    pattern::compare_frames(&map, &ranges).map(drop)
}

fn zapped_pages_come_back_with_their_data(region: &Region) -> Outcome {
    for align in [PAGE, UNIT] {
        let device = region.create_bound(align, &scattered(region))?;
        let ranges = device.ranges()?;
        let map = Map::whole(&device)?;
        pattern::fill(&map, &ranges, 10)?;
        check("madvise", map.advise(libc::MADV_DONTNEED), Ok(()))?;
        check("frame", map.frames(0, 1)?[0], None)?;
        pattern::compare(&map, &ranges, 10)?;
        drop(map);
        region.destroy(&device)?;
    }
    Ok(())
}
