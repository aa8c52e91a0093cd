// SPDX-License-Identifier: GPL-2.0
//! Devices of 1 GiB pages. The region is 3 GiB and aligned to 1 GiB.

use super::{data, map, open, touch};
use crate::device::{mapping_text, Driver};
use crate::errno::Errno;
use crate::kernel::{self, Impl};
use crate::ktap::{check, Outcome, Test};
use crate::mmap::Map;
use crate::region::Region;
use crate::test;
use crate::trap::Signal;
use crate::units::{in_order, Span, GIB, PAGE, UNIT};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(data_at_1g_over_scattered_ranges_is_where_its_offset_says),
    test!(data_at_2m_over_more_than_a_gib_is_where_its_offset_says),
    test!(first_touch_anywhere_in_a_giant_page_maps_that_page),
    test!(mmap_address_is_aligned_to_one_gib),
    test!(mmap_of_two_mib_of_one_gib_device_gives_einval),
    test!(munmap_of_two_mib_of_one_gib_device_gives_einval),
    test!(munmap_of_one_gib_splits),
    test!(smaps_page_size_is_one_gib),
    test!(access_to_one_gib_mapping_after_unbind_gives_sigbus),
    test!(grow_with_one_gib_align_takes_aligned_holes_only),
    test!(one_gib_page_shows_no_memory_of_others).not_on_c("shows it"),
];

/// A value that only its device may show.
const SECRET: u64 = 0x5ec2_e75e_c2e7;

/// The GiB of that number in the region.
fn gib(region: &Region, number: u64) -> Span {
    Span::at(region.span().start + number * GIB, GIB)
}

fn data_at_1g_over_scattered_ranges_is_where_its_offset_says(region: &Region) -> Outcome {
    let spans = [gib(region, 2), gib(region, 0)];
    let device = region.create_bound(GIB, &spans)?;
    data::prove(region, device, 11)
}

fn data_at_2m_over_more_than_a_gib_is_where_its_offset_says(region: &Region) -> Outcome {
    let spans = [region.units(600, 600), region.units(3, 7)];
    let device = region.create_bound(UNIT, &spans)?;
    data::prove(region, device, 12)
}

fn first_touch_anywhere_in_a_giant_page_maps_that_page(region: &Region) -> Outcome {
    let spans = [gib(region, 2), gib(region, 0)];
    let device = region.create_bound(GIB, &spans)?;
    let word = |page: u64, place: u64| page * GIB + place;
    for place in touch::places(GIB) {
        for page in [0, 1] {
            let map = Map::whole(&device)?;
            let at = word(page, place);
            check("store", map.store(at, at + 7), Ok(()))?;
            // The same page in another mapping, touched at its start.
            let other = Map::whole(&device)?;
            check("load", other.load(page * GIB).is_ok(), true)?;
            check(format!("load at {at:#x}"), other.load(at), Ok(at + 7))?;
        }
    }
    region.destroy(&device)?;
    // In smaller pages of just that memory.
    for (page, span) in (0..).zip(spans) {
        let device = region.create_bound(UNIT, &[span])?;
        let map = Map::whole(&device)?;
        for place in touch::places(GIB) {
            let at = word(page, place);
            check(format!("word at {at:#x}"), map.load(place), Ok(at + 7))?;
        }
        drop(map);
        region.destroy(&device)?;
    }
    Ok(())
}

fn mmap_address_is_aligned_to_one_gib(region: &Region) -> Outcome {
    let device = region.create_bound(GIB, &[gib(region, 0), gib(region, 1)])?;
    let file = open(&device)?;
    let mut kept = Vec::new();
    for (len, offset) in [(2, 0), (1, 0), (1, 1)] {
        let map = map(&file, len * GIB, offset * GIB)?;
        let what = format!("address {:#x} of {len} GiB at {offset}", map.addr());
        check(what, map.addr() as u64 % GIB, 0)?;
        kept.push((map, Map::anonymous(PAGE)));
    }
    Ok(())
}

fn mmap_of_two_mib_of_one_gib_device_gives_einval(region: &Region) -> Outcome {
    let device = region.create_bound(GIB, &[gib(region, 0)])?;
    let file = open(&device)?;
    for (len, offset) in [(UNIT, 0), (GIB - UNIT, 0), (GIB, UNIT)] {
        let mapped = Map::shared(&file, len, offset).map(|m| m.addr());
        check(
            format!("{len:#x} at {offset:#x}"),
            mapped,
            Err(Errno::EINVAL),
        )?;
    }
    Ok(())
}

fn munmap_of_two_mib_of_one_gib_device_gives_einval(region: &Region) -> Outcome {
    let map = Map::whole(&region.create_bound(GIB, &[gib(region, 1)])?)?;
    check("store", map.store(0, 1), Ok(()))?;
    check("munmap", map.unmap(0, UNIT), Err(Errno::EINVAL))?;
    let protected = map.protect(UNIT, UNIT, libc::PROT_READ);
    check("mprotect", protected, Err(Errno::EINVAL))?;
    check("load", map.load(0), Ok(1))
}

fn munmap_of_one_gib_splits(region: &Region) -> Outcome {
    let map = Map::whole(&region.create_bound(GIB, &[gib(region, 1), gib(region, 0)])?)?;
    check("store", map.store(GIB, 9), Ok(()))?;
    check("munmap", map.unmap(0, GIB), Ok(()))?;
    check("unmapped", map.load(0), Err(Signal::SEGV))?;
    check("the other", map.load(GIB), Ok(9))
}

fn smaps_page_size_is_one_gib(region: &Region) -> Outcome {
    let map = Map::whole(&region.create_bound(GIB, &[gib(region, 0)])?)?;
    check("store", map.store(0, 1), Ok(()))?;
    check(
        "KernelPageSize",
        map.smaps_kib("KernelPageSize")?,
        GIB / 1024,
    )?;
    check("load", map.load(0), Ok(1))
}

fn access_to_one_gib_mapping_after_unbind_gives_sigbus(region: &Region) -> Outcome {
    let device = region.create_bound(GIB, &[gib(region, 2)])?;
    let map = Map::whole(&device)?;
    check("store", map.store(UNIT, 1), Ok(()))?;
    device.unbind()?;
    check("load", map.load(UNIT), Err(Signal::BUS))
}

/// `p` is a device of one unit, `.` is free; only the third GiB is whole: `.p|p.|..`.
fn grow_with_one_gib_align_takes_aligned_holes_only(region: &Region) -> Outcome {
    let per_gib = GIB / UNIT;
    region.create_over(&[region.units(per_gib - 1, 2)])?;
    let device = region.create()?;
    device.set_align(GIB)?;
    device.set_size(GIB)?;
    if kernel::driver() == Impl::C {
        // First fit without a look at the alignment.
        let misplaced = [region.units(0, per_gib - 1), region.units(per_gib + 1, 1)];
        return check("ranges", device.ranges()?, in_order(&misplaced));
    }
    check("ranges", device.ranges()?, in_order(&[gib(region, 2)]))?;
    let more = device.try_write("size", &(2 * GIB).to_string());
    check("growing further", more, Err(Errno::ENOSPC))?;
    check("ranges", device.ranges()?, in_order(&[gib(region, 2)]))?;
    device.bind(Driver::DeviceDax)?;
    data::prove(region, device, 13)
}

/// A page of 1 GiB whose range begins one unit behind a GiB that begins with somebody else's unit.
fn one_gib_page_shows_no_memory_of_others(region: &Region) -> Outcome {
    let start = gib(region, 1).start;
    let other = Map::whole(&region.create_bound(UNIT, &[Span::at(start, UNIT)])?)?;
    check("store", other.store(0, SECRET), Ok(()))?;
    let device = region.create()?;
    device.set_align(GIB)?;
    let misplaced = mapping_text(Span::at(start + UNIT, GIB));
    match device.try_write("mapping", &misplaced) {
        Err(errno) => return check("mapping", errno, Errno::EINVAL),
        Ok(_) => device.bind(Driver::DeviceDax)?,
    }
    let map = Map::whole(&device)?;
    let shown = map.load(0) == Ok(SECRET);
    check("what another device has is shown", shown, false)
}
