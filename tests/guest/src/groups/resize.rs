// SPDX-License-Identifier: GPL-2.0
//! Writes to size, mapping and align that succeed, and which addresses the device gets.
//!
//! In the comments one letter is one unit, and `.` is a hole.

use crate::device::{mapping_text, mappings_text, Device, Driver};
use crate::errno::Errno;
use crate::ktap::{check, deviates, needs_giant_pages, needs_units, Outcome, Test};
use crate::region::Region;
use crate::sysfs;
use crate::test;
use crate::units::{in_order, Span, GIB, HAS_GIANT, PAGE, UNIT};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(several_ranges_in_one_write_are_appended_in_order),
    test!(as_many_ranges_as_a_write_holds_are_appended),
    test!(size_with_trailing_nul_returns_full_count),
    test!(size_with_trailing_newline_returns_full_count),
    test!(size_in_hex_and_octal_is_understood),
    test!(size_of_same_value_is_a_no_op),
    test!(size_zero_of_empty_device_is_a_no_op),
    test!(grow_of_empty_device_starts_at_region_start),
    test!(grow_extends_last_range_in_place),
    test!(grow_fills_holes_first_fit),
    test!(grow_takes_lowest_hole_before_extending),
    test!(grow_extends_in_place_when_own_end_is_the_lowest_hole),
    test!(grow_to_whole_region_leaves_nothing),
    test!(grow_extends_only_the_last_range),
    test!(shrink_trims_the_last_range),
    test!(shrink_across_ranges_removes_the_last_first),
    test!(shrink_to_zero_removes_all_mappings),
    test!(mapping_numbers_stay_contiguous_after_regrowth),
    test!(mapping_in_hex_without_prefix_is_understood),
    test!(mapping_with_trailing_nul_returns_full_count),
    test!(mapping_appends_in_page_offset_order),
    test!(mapping_adjacent_to_last_range_stays_separate),
    test!(mapping_replay_of_a_device_gives_the_same_device),
    test!(align_values_read_back),
    test!(align_in_hex_with_trailing_nul_returns_full_count),
    test!(align_of_one_gib_places_aligned_device),
];

fn size_with_trailing_nul_returns_full_count(region: &Region) -> Outcome {
    let device = region.create()?;
    for (text, size) in [
        (format!("{:#x}\n\0", 3 * UNIT), 3 * UNIT),
        (format!("{UNIT}\0"), UNIT),
        ("0\0".to_owned(), 0),
    ] {
        check(
            format!("{text:?}"),
            device.try_write("size", &text),
            Ok(text.len()),
        )?;
        check(format!("size after {text:?}"), device.size()?, size)?;
    }
    Ok(())
}

fn size_with_trailing_newline_returns_full_count(region: &Region) -> Outcome {
    let device = region.create()?;
    let text = format!("{}\n", 2 * UNIT);
    check("count", device.try_write("size", &text), Ok(text.len()))?;
    check("size", device.size()?, 2 * UNIT)
}

fn size_in_hex_and_octal_is_understood(region: &Region) -> Outcome {
    let device = region.create()?;
    for (text, size) in [
        (format!("{:#x}", 2 * UNIT), 2 * UNIT),
        (format!("0{UNIT:o}"), UNIT),
        (format!("0X{:x}", 3 * UNIT), 3 * UNIT),
    ] {
        check(&text, device.try_write("size", &text), Ok(text.len()))?;
        check(format!("size after {text}"), device.size()?, size)?;
    }
    Ok(())
}

fn size_of_same_value_is_a_no_op(region: &Region) -> Outcome {
    let spans = [region.units(6, 1), region.units(2, 2)];
    let device = region.create_over(&spans)?;
    device.set_size(3 * UNIT)?;
    check("ranges", device.ranges()?, in_order(&spans))
}

fn size_zero_of_empty_device_is_a_no_op(region: &Region) -> Outcome {
    let device = region.first_device()?;
    device.set_size(0)?;
    check("size", device.size()?, 0)?;
    check("available", region.available()?, region.span().len())
}

fn grow_of_empty_device_starts_at_region_start(region: &Region) -> Outcome {
    let device = region.create_sized(3 * UNIT)?;
    check("ranges", device.ranges()?, in_order(&[region.units(0, 3)]))
}

fn grow_extends_last_range_in_place(region: &Region) -> Outcome {
    // aa......  ->  aaaaa...
    let device = region.create_sized(2 * UNIT)?;
    device.set_size(5 * UNIT)?;
    check("ranges", device.ranges()?, in_order(&[region.units(0, 5)]))
}

/// Devices of one unit each at these places: the holes are between them.
fn separators(region: &Region, at: &[u64]) -> Result<Vec<Device>, crate::ktap::Failure> {
    let mut separators = Vec::new();
    for &unit in at {
        separators.push(region.create_over(&[region.units(unit, 1)])?);
    }
    Ok(separators)
}

fn grow_fills_holes_first_fit(region: &Region) -> Outcome {
    // ..s.s...s.....  and seven units of device:  aasasaaasa....
    separators(region, &[2, 4, 8])?;
    let device = region.create_sized(7 * UNIT)?;
    let expected = [
        region.units(0, 2),
        region.units(3, 1),
        region.units(5, 3),
        region.units(9, 1),
    ];
    check("ranges", device.ranges()?, in_order(&expected))
}

fn grow_takes_lowest_hole_before_extending(region: &Region) -> Outcome {
    // ..sa....  ->  bbsa.... with b the new range of a: the lowest hole comes first.
    separators(region, &[2])?;
    let device = region.create_over(&[region.units(3, 1)])?;
    device.set_size(3 * UNIT)?;
    let expected = [region.units(3, 1), region.units(0, 2)];
    check("ranges", device.ranges()?, in_order(&expected))?;
    // The next hole is behind its first range, which is not its last: a third range.
    device.set_size(4 * UNIT)?;
    let expected = [region.units(3, 1), region.units(0, 2), region.units(4, 1)];
    check("ranges", device.ranges()?, in_order(&expected))
}

fn grow_extends_in_place_when_own_end_is_the_lowest_hole(region: &Region) -> Outcome {
    // sa.s..  ->  saasa.: what does not fit in place becomes a range of its own.
    separators(region, &[0, 3])?;
    let device = region.create_over(&[region.units(1, 1)])?;
    device.set_size(3 * UNIT)?;
    let expected = [region.units(1, 2), region.units(4, 1)];
    check("ranges", device.ranges()?, in_order(&expected))
}

fn grow_to_whole_region_leaves_nothing(region: &Region) -> Outcome {
    separators(region, &[1])?;
    let rest = region.available()?;
    let device = region.create_sized(rest)?;
    check("available", region.available()?, 0)?;
    let last = region.unit_count() - 2;
    let expected = [region.units(0, 1), region.units(2, last)];
    check("ranges", device.ranges()?, in_order(&expected))
}

fn grow_extends_only_the_last_range(region: &Region) -> Outcome {
    // a: s.a with page offsets a=0 (unit 3), then unit 1. Growing by one takes unit 2, behind
    // its last range: extended in place although another range of it ends the hole.
    separators(region, &[0])?;
    let device = region.create_over(&[region.units(3, 1), region.units(1, 1)])?;
    device.set_size(3 * UNIT)?;
    let expected = [region.units(3, 1), region.units(1, 2)];
    check("ranges", device.ranges()?, in_order(&expected))
}

/// A device over three ranges: two units at 8, one at 2, three at 4.
fn three_ranges(region: &Region) -> Result<(Device, [Span; 3]), crate::ktap::Failure> {
    let spans = [region.units(8, 2), region.units(2, 1), region.units(4, 3)];
    Ok((region.create_over(&spans)?, spans))
}

fn shrink_trims_the_last_range(region: &Region) -> Outcome {
    let (device, spans) = three_ranges(region)?;
    device.set_size(5 * UNIT)?;
    let expected = [spans[0], spans[1], region.units(4, 2)];
    check("ranges", device.ranges()?, in_order(&expected))?;
    check("size", device.size()?, 5 * UNIT)
}

fn shrink_across_ranges_removes_the_last_first(region: &Region) -> Outcome {
    let (device, _) = three_ranges(region)?;
    device.set_size(UNIT)?;
    check("ranges", device.ranges()?, in_order(&[region.units(8, 1)]))?;
    check("available", region.available()?, region.span().len() - UNIT)
}

fn shrink_to_zero_removes_all_mappings(region: &Region) -> Outcome {
    let (device, _) = three_ranges(region)?;
    device.set_size(0)?;
    check("ranges", device.ranges()?, vec![])?;
    check("mapping0", device.attr("mapping0").exists(), false)?;
    check("available", region.available()?, region.span().len())?;
    check("resource", device.resource()?, region.span().start)
}

fn mapping_numbers_stay_contiguous_after_regrowth(region: &Region) -> Outcome {
    let (device, spans) = three_ranges(region)?;
    device.set_size(2 * UNIT)?;
    device.add_mapping(region.units(20, 1))?;
    device.add_mapping(region.units(30, 1))?;
    let expected = [spans[0], region.units(20, 1), region.units(30, 1)];
    check("ranges", device.ranges()?, in_order(&expected))?;
    check("mapping3", device.attr("mapping3").exists(), false)
}

fn mapping_in_hex_without_prefix_is_understood(region: &Region) -> Outcome {
    let device = region.create()?;
    let span = region.units(7, 2);
    let text = format!("{:x}-{:x}\n", span.start, span.end);
    check("count", device.try_write("mapping", &text), Ok(text.len()))?;
    check("ranges", device.ranges()?, in_order(&[span]))
}

fn mapping_with_trailing_nul_returns_full_count(region: &Region) -> Outcome {
    let device = region.create()?;
    let span = region.units(1, 1);
    let text = format!("{:#x}-{:#x}\n\0", span.start, span.end);
    check("count", device.try_write("mapping", &text), Ok(text.len()))?;
    check("ranges", device.ranges()?, in_order(&[span]))
}

fn mapping_appends_in_page_offset_order(region: &Region) -> Outcome {
    let (device, spans) = three_ranges(region)?;
    check("ranges", device.ranges()?, in_order(&spans))?;
    check("size", device.size()?, 6 * UNIT)
}

fn mapping_adjacent_to_last_range_stays_separate(region: &Region) -> Outcome {
    let spans = [region.units(2, 1), region.units(3, 1)];
    let device = region.create_over(&spans)?;
    check("ranges", device.ranges()?, in_order(&spans))
}

fn mapping_replay_of_a_device_gives_the_same_device(region: &Region) -> Outcome {
    // Does the same as `daxctl create-device --input`: align, mappings by page offset, size.
    let (device, _) = three_ranges(region)?;
    let (size, align, ranges) = (device.size()?, device.align()?, device.ranges()?);
    region.destroy(&device)?;
    let again = region.create()?;
    again.set_align(align)?;
    for range in &ranges {
        again.add_mapping(range.span)?;
    }
    again.set_size(size)?;
    check("ranges", again.ranges()?, ranges)?;
    again.bind(Driver::DeviceDax)?;
    check("driver", again.driver(), Some("device_dax".into()))
}

fn align_values_read_back(region: &Region) -> Outcome {
    let device = region.create()?;
    for align in [PAGE, UNIT, GIB, UNIT, PAGE] {
        if align == GIB && !HAS_GIANT {
            let result = device.try_write("align", &GIB.to_string());
            check("align of 1 GiB", result, Err(Errno::EINVAL))?;
            continue;
        }
        device.set_align(align)?;
        check("align", device.align()?, align)?;
    }
    Ok(())
}

fn align_in_hex_with_trailing_nul_returns_full_count(region: &Region) -> Outcome {
    let device = region.create()?;
    for (text, align) in [
        (format!("{PAGE:#x}\n\0"), PAGE),
        (format!("{UNIT:#x}\n"), UNIT),
        (format!("{PAGE}\0"), PAGE),
    ] {
        check(
            format!("{text:?}"),
            device.try_write("align", &text),
            Ok(text.len()),
        )?;
        check("align", device.align()?, align)?;
    }
    Ok(())
}

fn align_of_one_gib_places_aligned_device(region: &Region) -> Outcome {
    needs_giant_pages()?;
    let device = region.create()?;
    device.set_align(GIB)?;
    device.set_size(GIB)?;
    let start = region.span().start.next_multiple_of(GIB);
    check(
        "ranges",
        device.ranges()?,
        in_order(&[Span::at(start, GIB)]),
    )
}

/// Writes several ranges at once to `mapping`; the C driver takes one.
fn append(device: &Device, text: &str) -> Outcome {
    let result = sysfs::try_write(&device.attr("mapping"), text.as_bytes());
    check(text, result, deviates(Ok(text.len()), Err(Errno::EINVAL)))
}

fn several_ranges_in_one_write_are_appended_in_order(region: &Region) -> Outcome {
    let spans = [
        region.units(9, 2),
        region.units(2, 1),
        // Two ranges, though one follows the other.
        region.units(3, 3),
        region.units(20, 1),
    ];
    for (separator, end) in [(" ", ""), (" ", "\n"), ("\n", "\n"), ("\n", "")] {
        let device = region.create()?;
        append(&device, &(mappings_text(&spans, separator) + end))?;
        let expected = deviates(in_order(&spans), Vec::new());
        check("ranges", device.ranges()?, expected)?;
        // To a device that has ranges.
        let more = [region.units(30, 1), region.units(28, 1)];
        append(&device, &mappings_text(&more, separator))?;
        let all = [&spans[..], &more].concat();
        check(
            "more",
            device.ranges()?,
            deviates(in_order(&all), Vec::new()),
        )?;
        let size: u64 = all.iter().map(|span| span.len()).sum();
        check("size", device.size()?, deviates(size, 0))?;
        region.destroy(&device)?;
    }
    Ok(())
}

fn as_many_ranges_as_a_write_holds_are_appended(region: &Region) -> Outcome {
    let mut spans = Vec::new();
    // A write to sysfs has less than a page.
    let one = mapping_text(region.units(0, 1)).len();
    while mappings_text(&spans, " ").len() + one + 1 < PAGE as usize - 1 {
        spans.push(region.units(2 * spans.len() as u64, 1));
    }
    needs_units(region, 2 * spans.len() as u64)?;
    check("more than a hundred", spans.len() > 100, true)?;
    let device = region.create()?;
    append(&device, &mappings_text(&spans, " "))?;
    let expected = deviates(in_order(&spans), Vec::new());
    check("ranges", device.ranges()?, expected)
}
