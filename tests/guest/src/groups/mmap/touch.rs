// SPDX-License-Identifier: GPL-2.0
//! A first touch works at any place in a page. Memory that a device had before it was shrunk is not
//! there.

use super::map;
use crate::device::{Device, Driver};
use crate::iomem;
use crate::ktap::{check, Outcome, Test};
use crate::mmap::{self, Map};
use crate::region::Region;
use crate::sysfs::Error;
use crate::test;
use crate::trap::Signal;
use crate::units::{Range, Span, PAGE, UNIT};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(first_touch_anywhere_in_a_huge_page_maps_that_page),
    test!(shrunk_device_ends_where_its_size_says),
    test!(device_that_changed_is_where_its_mappings_say),
];

/// The words of a page of `align` bytes that are touched first: around the middle, and at the ends.
pub(super) fn places(align: u64) -> [u64; 6] {
    let half = align / 2;
    [half, align - 8, half - 8, align - PAGE, PAGE - 8, 0]
}

fn first_touch_anywhere_in_a_huge_page_maps_that_page(region: &Region) -> Outcome {
    let spans = [region.units(9, 3), region.units(2, 2), region.units(30, 1)];
    let device = region.create_bound(UNIT, &spans)?;
    let frames = |range: &Range, page: u64| {
        let first = (range.span.start + page * UNIT) / PAGE;
        (first..first + UNIT / PAGE).map(Some).collect::<Vec<_>>()
    };
    for place in places(UNIT) {
        for load in [false, true] {
            for range in device.ranges()? {
                for page in 0..range.span.len() / UNIT {
                    let map = Map::whole(&device)?;
                    let start = range.page_offset * PAGE + page * UNIT;
                    let value = start + place + 1;
                    // One mapping stores, the other loads the same value.
                    match load {
                        false => check("store", map.store(start + place, value), Ok(()))?,
                        true => check("load", map.load(start + place), Ok(value))?,
                    }
                    let mapped = map.frames(start, UNIT / PAGE)?;
                    let what = format!("{place:#x} in page {page} of {:?}", range.span);
                    check(what, mapped, frames(&range, page))?;
                }
            }
        }
    }
    Ok(())
}

/// Checks that a bound device has all its units, and nothing beyond, up to `units`, which it may
/// have had before.
fn check_extent(device: &Device, units: u64) -> Outcome {
    let mut reserved = device.spans()?;
    let starts: Vec<u64> = reserved
        .iter()
        .flat_map(|span| (span.start..span.end).step_by(UNIT as usize))
        .collect();
    reserved.sort();
    check("reserved", iomem::named(device.name())?, reserved)?;
    let opened = mmap::open(&device.node());
    let file = opened.map_err(|e| Error::new(format!("open {}", device.name()), e))?;
    let all = map(&file, units * UNIT, 0)?;
    for unit in 0..units {
        for offset in [unit * UNIT, (unit + 1) * UNIT - 8] {
            let there = if unit < starts.len() as u64 {
                Ok(())
            } else {
                Err(Signal::BUS)
            };
            check(
                format!("store at {offset:#x}"),
                all.store(offset, offset),
                there,
            )?;
        }
    }
    for (unit, start) in (0..).zip(starts) {
        let frame = all.frames(unit * UNIT, 1)?[0];
        check(format!("frame of unit {unit}"), frame, Some(start / PAGE))?;
    }
    Ok(())
}

/// Ranges of 3, 2 and 4 units, in no order.
fn nine_units(region: &Region) -> [Span; 3] {
    [region.units(20, 3), region.units(2, 2), region.units(10, 4)]
}

fn shrunk_device_ends_where_its_size_says(region: &Region) -> Outcome {
    for align in [PAGE, UNIT] {
        let device = region.create_bound(align, &nine_units(region))?;
        check_extent(&device, 9)?;
        // Into a range, to the end of one, over one, into the first.
        for units in [8, 5, 4, 3, 1] {
            device.unbind()?;
            device.set_size(units * UNIT)?;
            device.bind(Driver::DeviceDax)?;
            check_extent(&device, 9)?;
        }
        region.destroy(&device)?;
    }
    Ok(())
}

fn device_that_changed_is_where_its_mappings_say(region: &Region) -> Outcome {
    for align in [PAGE, UNIT] {
        let device = region.create_bound(align, &nine_units(region))?;
        let separator = region.create_over(&[region.units(1, 1)])?;
        // Over holes, in place, by a range of choice, down to nothing and up again.
        let sizes = [9, 12, 30, 5, 31, 0, 6];
        for units in sizes {
            device.unbind()?;
            device.set_size(units * UNIT)?;
            if units == 0 {
                device.add_mapping(region.units(50, 2))?;
            }
            device.bind(Driver::DeviceDax)?;
            check_extent(&device, 33)?;
        }
        region.destroy(&device)?;
        region.destroy(&separator)?;
    }
    Ok(())
}
