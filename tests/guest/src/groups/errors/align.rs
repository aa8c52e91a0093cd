// SPDX-License-Identifier: GPL-2.0
//! Bad writes to `align`.

use super::{all_on_c, each, refused, refuses, OnC, NOT_NUMBERS};
use crate::errno::Errno;
use crate::ktap::{Outcome, Test};
use crate::region::Region;
use crate::test;
use crate::units::{Span, GIB, UNIT};

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
        "0",
        "1",
        "2",
        "512",
        "4095",
        "4097",
        "8192",
        "1048576",
        "4194304",
        "2147483648",
        "0x100000000",
        "0x100001000",
        "0x100200000",
        "0x8000000000000000",
        "0xffffffffffffffff",
    ];
    refused(region, |f| {
        let mut rows = each(&f.empty.attr("align"), &texts, Errno::EINVAL);
        rows.extend(each(&f.loose.attr("align"), &texts, Errno::EINVAL));
        rows
    })
}

fn align_larger_than_ranges_gives_einval(region: &Region) -> Outcome {
    refused(region, |f| {
        each(&f.loose.attr("align"), &["1073741824"], Errno::EINVAL)
    })
}

/// The length is a multiple of the alignment, the start is not. The C driver accepts; a page
/// fault then maps memory of others.
fn align_of_misplaced_range_gives_einval(region: &Region) -> Outcome {
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
        each(&f.bound.attr("align"), &["4096", "2097152"], Errno::EBUSY)
    })
}
