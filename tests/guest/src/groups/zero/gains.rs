// SPDX-License-Identifier: GPL-2.0
//! The attribute itself, and memory that a device gains by a new size, by given ranges, or with its
//! region.

use super::{device, dirty, mark, marked, pages, set, ATTRIBUTE, NOT_IN_C};
use crate::device::{mappings_text, Driver};
use crate::errno::Errno;
use crate::family;
use crate::kernel;
use crate::ktap::{check, deviates, Outcome, Rows, Test};
use crate::mmap::Map;
use crate::region::{self, Region};
use crate::sysfs;
use crate::test;
use crate::units::{PAGE, UNIT};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(zero_is_off_and_leaves_memory_as_it_is),
    test!(zero_attribute_takes_a_boolean).not_on_c(NOT_IN_C),
    test!(zero_of_a_resize_over_holes).not_on_c(NOT_IN_C),
    test!(zero_of_an_extended_range_spares_what_the_device_had).not_on_c(NOT_IN_C),
    test!(zero_of_ranges_at_given_addresses).not_on_c(NOT_IN_C),
    test!(zero_of_a_device_made_with_its_region, region::tear_down).not_on_c(NOT_IN_C),
];

fn zero_is_off_and_leaves_memory_as_it_is(region: &Region) -> Outcome {
    let there = region.attr(ATTRIBUTE).exists();
    check(ATTRIBUTE, there, deviates(true, false))?;
    if there {
        check(ATTRIBUTE, sysfs::read(&region.attr(ATTRIBUTE))?, "0".into())?;
    }
    let spans = [region.units(9, 2), region.units(3, 1)];
    dirty(region, &spans)?;
    let next = device(region, &spans)?;
    check("marked pages", marked(&next)?.len() as u64, pages(&spans))
}

fn zero_attribute_takes_a_boolean(region: &Region) -> Outcome {
    check("mode", sysfs::mode(&region.attr(ATTRIBUTE))?, 0o644)?;
    let mut rows = Rows::default();
    for (text, shown) in [
        ("1", "1"),
        ("n", "0"),
        ("on", "1"),
        ("0\n", "0"),
        ("Y", "1"),
    ] {
        let written = region.try_write(ATTRIBUTE, text);
        rows.add(text, check("write", written, Ok(text.len())));
        let now = sysfs::read(&region.attr(ATTRIBUTE))?;
        rows.add(text, check("read", now, shown.into()));
    }
    for text in ["", "2", "-1", "zero"] {
        let written = region.try_write(ATTRIBUTE, text);
        let expected = if text.is_empty() {
            Ok(0)
        } else {
            Err(Errno::EINVAL)
        };
        rows.add(text, check("write", written, expected));
        let now = sysfs::read(&region.attr(ATTRIBUTE))?;
        rows.add(text, check("read", now, "1".into()));
    }
    rows.finish()
}

fn zero_of_a_resize_over_holes(region: &Region) -> Outcome {
    set(region, true)?;
    dirty(region, &[region.units(0, 8)])?;
    // Holes of one unit each.
    let others = region.create_over(&[region.units(1, 1), region.units(3, 1)])?;
    let next = region.create()?;
    next.set_align(PAGE)?;
    next.set_size(4 * UNIT)?;
    check("ranges", next.ranges()?.len(), 3)?;
    next.bind(Driver::DeviceDax)?;
    check("marked pages", marked(&next)?, vec![])?;
    // The memory of the other device was zeroed as well, when it got that.
    others.set_align(PAGE)?;
    others.bind(Driver::DeviceDax)?;
    check("marked pages of the other", marked(&others)?, vec![])
}

fn zero_of_an_extended_range_spares_what_the_device_had(region: &Region) -> Outcome {
    dirty(region, &[region.units(0, 4)])?;
    set(region, true)?;
    let device = device(region, &[region.units(0, 2)])?;
    mark(&device)?;
    device.unbind()?;
    device.set_size(4 * UNIT)?;
    check("ranges", device.spans()?, vec![region.units(0, 4)])?;
    device.bind(Driver::DeviceDax)?;
    let own: Vec<u64> = (0..2 * UNIT / PAGE).collect();
    check("marked pages", marked(&device)?, own)
}

fn zero_of_ranges_at_given_addresses(region: &Region) -> Outcome {
    let spans = [region.units(9, 1), region.units(4, 2), region.units(12, 1)];
    dirty(region, &[region.units(0, 16)])?;
    set(region, true)?;
    let next = region.create()?;
    next.set_align(PAGE)?;
    let text = mappings_text(&spans[..2], " ");
    check("mapping", next.try_write("mapping", &text), Ok(text.len()))?;
    next.add_mapping(spans[2])?;
    check("spans", next.spans()?, spans.to_vec())?;
    next.bind(Driver::DeviceDax)?;
    check("marked pages", marked(&next)?, vec![])?;
    // The memory around them was not touched.
    set(region, false)?;
    let around = [region.units(8, 1), region.units(10, 2), region.units(3, 1)];
    let rest = device(region, &around)?;
    check("marked around", marked(&rest)?.len() as u64, pages(&around))
}

fn zero_of_a_device_made_with_its_region() -> Outcome {
    family::require_modules()?;
    let region = Region::fresh()?;
    let span = region.units(0, 8);
    dirty(&region, &[span])?;
    let hmem = region.hmem().to_owned();
    family::unload_bus()?;
    kernel::modprobe(&["device_dax", "zero_on_alloc=1"])?;
    // Not idle: the first device has all of the region.
    kernel::modprobe(&["dax_hmem", "region_idle=0"])?;
    let region = kernel::eventually("the region", || Ok(Region::of(hmem.clone()).ok()))?;
    check(ATTRIBUTE, sysfs::read(&region.attr(ATTRIBUTE))?, "1".into())?;
    let first = region.first_device()?;
    check("spans", first.spans()?, vec![region.span()])?;
    first.unbind()?;
    first.set_align(PAGE)?;
    first.bind_by_id(Driver::DeviceDax)?;
    let map = Map::whole(&first)?;
    for offset in (0..span.len()).step_by(PAGE as usize) {
        check("word", map.load(offset + 8), Ok(0))?;
    }
    Ok(())
}
