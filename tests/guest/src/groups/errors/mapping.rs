// SPDX-License-Identifier: GPL-2.0
//! Bad writes to `mapping`.

use super::{all_on_c, each, refused, refuses, OnC, Row};
use crate::device::{mapping_text, mappings_text};
use crate::errno::Errno;
use crate::ktap::{check, deviates, needs_giant_pages, Outcome, Test};
use crate::region::Region;
use crate::test;
use crate::units::{in_order, Span, GIB, PAGE, UNIT};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(mapping_malformed_gives_einval),
    test!(mapping_beyond_64_bits_gives_erange),
    test!(mapping_with_misaligned_start_gives_einval),
    test!(mapping_with_misaligned_length_gives_einval),
    test!(mapping_empty_gives_einval),
    test!(mapping_reversed_gives_einval),
    test!(mapping_outside_region_gives_erange),
    test!(mapping_overlapping_gives_ebusy),
    test!(mapping_of_several_ranges_is_all_or_nothing),
    test!(mapping_of_bound_device_gives_ebusy),
    test!(mapping_shorter_than_align_gives_einval),
    test!(mapping_misplaced_for_one_gib_align_gives_einval),
    test!(grow_with_one_gib_align_skips_misaligned_hole),
];

fn mapping_malformed_gives_einval(region: &Region) -> Outcome {
    refused(region, |f| {
        let Span { start, end } = f.free(0, 1);
        let texts = [
            "\n".into(),
            "\0".into(),
            "-".into(),
            "x-y".into(),
            format!("{start:#x}"),
            format!("{start:#x}-"),
            format!("-{end:#x}"),
            format!("{start:#x} {end:#x}"),
            format!("{start:#x}:{end:#x}"),
            format!("{start:#x} - {end:#x}"),
            format!("{start:#x}-{end:#x}-"),
            format!("{start:#x}-{end:#x} "),
            format!(" {start:#x}-{end:#x}"),
            format!("{start:#x}-{end:#x}\n\n"),
            format!("{start:#x}-{end:#x}g"),
            format!("{start:#x}--{end:#x}"),
            format!("0x-{end:#x}"),
        ];
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let mut rows = each(&f.empty.attr("mapping"), &texts, Errno::EINVAL);
        rows.extend(each(&f.loose.attr("mapping"), &texts, Errno::EINVAL));
        rows
    })
}

fn mapping_beyond_64_bits_gives_erange(region: &Region) -> Outcome {
    refused(region, |f| {
        let Span { start, .. } = f.free(0, 1);
        let texts = [
            format!("{start:#x}-0x10000000000000000"),
            "0x10000000000000000-0x100000000001fffff".into(),
            "ffffffffffffffffffffffff-ffffffffffffffffffffffff".into(),
        ];
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        each(&f.loose.attr("mapping"), &texts, Errno::ERANGE)
    })
}

/// Rows for a device with and one without ranges.
fn for_both(f: &super::Fixture, span: Span, errno: Errno, on_c: OnC) -> [Row; 2] {
    [&f.empty, &f.loose]
        .map(|device| Row::new(device.attr("mapping"), mapping_text(span), errno).on_c(on_c))
}

fn mapping_with_misaligned_start_gives_einval(region: &Region) -> Outcome {
    refused(region, |f| {
        [PAGE, UNIT / 2, UNIT - PAGE, 1]
            .into_iter()
            .flat_map(|offset| {
                let span = Span::at(f.free(0, 1).start + offset, UNIT);
                for_both(f, span, Errno::EINVAL, OnC::Accepts)
            })
            .collect()
    })
}

fn mapping_with_misaligned_length_gives_einval(region: &Region) -> Outcome {
    refused(region, |f| {
        [1, PAGE, UNIT / 2, UNIT - 1, UNIT + 1, UNIT + PAGE]
            .into_iter()
            .flat_map(|len| {
                let span = Span::at(f.free(0, 1).start, len);
                for_both(f, span, Errno::EINVAL, OnC::Accepts)
            })
            .collect()
    })
}

fn mapping_empty_gives_einval(region: &Region) -> Outcome {
    refused(region, |f| {
        let start = f.free(0, 1).start;
        let text = format!("{start:#x}-{:#x}", start - 1);
        vec![
            Row::new(f.empty.attr("mapping"), &text, Errno::EINVAL).on_c(OnC::Accepts),
            Row::new(f.loose.attr("mapping"), &text, Errno::EINVAL).on_c(OnC::Breaks("warns")),
        ]
    })
}

fn mapping_reversed_gives_einval(region: &Region) -> Outcome {
    refused(region, |f| {
        let span = f.free(0, 2);
        let texts = [
            format!("{:#x}-{:#x}", span.end + 1, span.start - 1),
            format!("{:#x}-{:#x}", span.start + UNIT, span.start - UNIT - 1),
        ];
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let mut rows = each(&f.empty.attr("mapping"), &texts, Errno::EINVAL);
        rows.extend(each(&f.loose.attr("mapping"), &texts, Errno::EINVAL));
        all_on_c(rows, OnC::Refuses(Errno::ENOMEM))
    })
}

fn mapping_outside_region_gives_erange(region: &Region) -> Outcome {
    let all = region.span();
    let end = all.end + 1;
    refused(region, |f| {
        let mut rows: Vec<Row> = [
            Span::at(all.start - UNIT, UNIT),
            Span::at(end, UNIT),
            Span::at(0, UNIT),
            Span::at(all.start - UNIT, 2 * UNIT),
            Span::at(end - UNIT, 2 * UNIT),
            Span::at(all.start - UNIT, all.len() + 2 * UNIT),
            Span::at(u64::MAX - UNIT + 1, UNIT),
        ]
        .into_iter()
        .flat_map(|span| for_both(f, span, Errno::ERANGE, OnC::Refuses(Errno::ENOMEM)))
        .collect();
        // All of the address space: its length does not fit into 64 bits.
        let everything = format!("0-{:#x}", u64::MAX);
        rows.push(Row::new(f.empty.attr("mapping"), &everything, Errno::ERANGE).on_c(OnC::Accepts));
        rows.push(
            Row::new(f.loose.attr("mapping"), everything, Errno::ERANGE).on_c(OnC::Breaks("warns")),
        );
        rows
    })
}

fn mapping_overlapping_gives_ebusy(region: &Region) -> Outcome {
    refused(region, |f| {
        [
            f.region.units(0, 1),  // First unit of the bound device.
            f.region.units(0, 4),  // All of it.
            f.region.units(3, 2),  // Its end and the hole behind.
            f.region.units(7, 2),  // A hole and the start of `loose`.
            f.region.units(8, 4),  // A range of `loose`.
            f.region.units(12, 4), // A hole and the other range.
            f.region.units(7, 6),  // Around a range.
            f.region.span(),
        ]
        .into_iter()
        .flat_map(|span| for_both(f, span, Errno::EBUSY, OnC::Refuses(Errno::ENOMEM)))
        .collect()
    })
}

/// The C driver takes one range at a time.
fn mapping_of_several_ranges_is_all_or_nothing(region: &Region) -> Outcome {
    let outside = Span::at(region.span().end + 1, UNIT);
    refused(region, |f| {
        let (good, taken) = (f.free(0, 1), f.region.units(8, 4));
        let half = Span::at(f.free(2, 1).start, UNIT / 2);
        let bad = [
            (vec![good, taken], Errno::EBUSY),
            (vec![taken, good], Errno::EBUSY),
            (vec![good, f.free(2, 1), good], Errno::EBUSY),
            (vec![f.free(0, 3), f.free(2, 1)], Errno::EBUSY),
            (vec![good, outside], Errno::ERANGE),
            (vec![good, half], Errno::EINVAL),
        ];
        let mut rows: Vec<Row> = Vec::new();
        for (spans, errno) in bad {
            for device in [&f.empty, &f.loose] {
                let text = mappings_text(&spans, " ");
                let row = Row::new(device.attr("mapping"), text, errno);
                rows.push(row.on_c(OnC::Refuses(Errno::EINVAL)));
            }
        }
        let text = mappings_text(&[good, f.free(2, 1)], " ");
        let malformed = [
            format!("{text} "),
            format!(" {text}"),
            format!("{text}\n\n"),
            text.replace(' ', "  "),
            text.replace(' ', "\t"),
            text.replace(' ', ","),
            format!("{text} 1"),
        ];
        let malformed: Vec<&str> = malformed.iter().map(String::as_str).collect();
        rows.extend(each(&f.loose.attr("mapping"), &malformed, Errno::EINVAL));
        rows
    })
}

fn mapping_of_bound_device_gives_ebusy(region: &Region) -> Outcome {
    refused(region, |f| {
        [f.free(0, 1), f.free(1, 3), f.region.units(4, 1)]
            .map(|span| {
                Row::new(f.bound.attr("mapping"), mapping_text(span), Errno::EBUSY)
                    .on_c(OnC::Accepts)
            })
            .into()
    })
}

/// Writes mappings to devices of 1 GiB alignment; the C driver takes them.
fn refused_for_giant(region: &Region, spans: &[Span]) -> Outcome {
    needs_giant_pages()?;
    for &span in spans {
        let device = region.create()?;
        device.set_align(GIB)?;
        let (path, text) = (device.attr("mapping"), mapping_text(span));
        refuses(region, &path, &text, Errno::EINVAL, OnC::Accepts)?;
        region.destroy(&device)?;
    }
    Ok(())
}

fn mapping_shorter_than_align_gives_einval(region: &Region) -> Outcome {
    let start = region.span().start.next_multiple_of(GIB);
    let spans = [UNIT, GIB / 2, GIB - UNIT, GIB + UNIT].map(|len| Span::at(start, len));
    refused_for_giant(region, &spans)
}

fn mapping_misplaced_for_one_gib_align_gives_einval(region: &Region) -> Outcome {
    let start = region.span().start.next_multiple_of(GIB);
    let spans = [UNIT, GIB / 2, GIB - UNIT].map(|offset| Span::at(start + offset, GIB));
    refused_for_giant(region, &spans)
}

/// The C driver takes the misaligned hole; a page fault then maps memory of others.
fn grow_with_one_gib_align_skips_misaligned_hole(region: &Region) -> Outcome {
    needs_giant_pages()?;
    region.create_over(&[region.units(0, 1)])?;
    let device = region.create()?;
    device.set_align(GIB)?;
    device.set_size(GIB)?;
    let hole = region.span().start + UNIT;
    let start = deviates(hole.next_multiple_of(GIB), hole);
    let expected = in_order(&[Span::at(start, GIB)]);
    check("ranges", device.ranges()?, expected)
}
