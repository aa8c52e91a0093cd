// SPDX-License-Identifier: GPL-2.0
//! Bad writes to `align`.

use super::{all_on_c, each, refused, refuses, OnC, Row, NOT_NUMBERS};
use crate::errno::Errno;
use crate::ktap::{needs_giant_pages, Outcome, Test};
use crate::region::Region;
use crate::test;
use crate::units::{Span, GIB, PAGE, UNIT};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(align_malformed_gives_einval),
    test!(align_beyond_64_bits_gives_erange),
    test!(align_unsupported_gives_einval),
    test!(align_larger_than_ranges_gives_einval),
    test!(align_of_misplaced_range_gives_einval),
    test!(align_of_bound_device_gives_ebusy),
];

fn align_malformed_gives_einval(region: &Region) -> Outcome {
    refused(region, |f| {
        let rows = each(&f.loose.attr("align"), NOT_NUMBERS, Errno::EINVAL);
        all_on_c(rows, OnC::Refuses(Errno::ENXIO))
    })
}

fn align_beyond_64_bits_gives_erange(region: &Region) -> Outcome {
    let texts = ["18446744073709551616", "0x10000000000001000"];
    refused(region, |f| {
        let rows = each(&f.loose.attr("align"), &texts, Errno::ERANGE);
        all_on_c(rows, OnC::Refuses(Errno::ENXIO))
    })
}

fn align_unsupported_gives_einval(region: &Region) -> Outcome {
    let texts = [
        "0".to_owned(),
        "1".to_owned(),
        "2".to_owned(),
        "512".to_owned(),
        (PAGE - 1).to_string(),
        (PAGE + 1).to_string(),
        (2 * PAGE).to_string(),
        (UNIT / 2).to_string(),
        (2 * UNIT).to_string(),
        (2 * GIB).to_string(),
        // In 32 bits these are 0, and two that are good.
        format!("{:#x}", 4 * GIB),
        format!("{:#x}", 4 * GIB + PAGE),
        format!("{:#x}", 4 * GIB + UNIT),
        "0x8000000000000000".to_owned(),
        "0xffffffffffffffff".to_owned(),
    ];
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    refused(region, |f| {
        let mut rows = each(&f.empty.attr("align"), &texts, Errno::EINVAL);
        rows.extend(each(&f.loose.attr("align"), &texts, Errno::EINVAL));
        rows
    })
}

fn align_larger_than_ranges_gives_einval(region: &Region) -> Outcome {
    needs_giant_pages()?;
    refused(region, |f| {
        each(&f.loose.attr("align"), &["1073741824"], Errno::EINVAL)
    })
}

/// The length is a multiple of the alignment, the start is not. The C driver accepts; a page
/// fault then maps memory of others.
fn align_of_misplaced_range_gives_einval(region: &Region) -> Outcome {
    needs_giant_pages()?;
    let start = region.span().start.next_multiple_of(GIB) + UNIT;
    let device = region.create_over(&[Span::at(start, GIB)])?;
    refuses(
        region,
        &device.attr("align"),
        "1073741824",
        Errno::EINVAL,
        OnC::Accepts,
    )
}

fn align_of_bound_device_gives_ebusy(region: &Region) -> Outcome {
    refused(region, |f| {
        [PAGE, UNIT]
            .map(|align| Row::new(f.bound.attr("align"), align.to_string(), Errno::EBUSY))
            .into()
    })
}
