// SPDX-License-Identifier: GPL-2.0
//! Bad writes to `size`.

use super::{each, refused, refuses, units, Fixture, OnC, Row, NOT_NUMBERS};
use crate::device::Device;
use crate::errno::Errno;
use crate::ktap::{check, deviates, needs_giant_pages, Outcome, Test};
use crate::region::Region;
use crate::test;
use crate::units::{GIB, GRANULE, PAGE, SUBSECTION, UNIT};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(size_malformed_gives_einval),
    test!(size_beyond_64_bits_gives_erange),
    test!(size_misaligned_gives_einval),
    test!(size_below_subsection_with_small_align_gives_einval),
    test!(size_not_a_multiple_of_large_align_gives_einval),
    test!(size_beyond_free_space_gives_enospc),
    test!(size_of_bound_device_gives_ebusy),
    test!(size_with_no_aligned_hole_gives_enospc),
];

fn size_malformed_gives_einval(region: &Region) -> Outcome {
    refused(region, |f| {
        let mut rows = each(&f.empty.attr("size"), NOT_NUMBERS, Errno::EINVAL);
        rows.extend(each(&f.loose.attr("size"), NOT_NUMBERS, Errno::EINVAL));
        rows
    })
}

fn size_beyond_64_bits_gives_erange(region: &Region) -> Outcome {
    let texts = [
        "18446744073709551616",
        "0x10000000000000000",
        "99999999999999999999999999999999",
        "0xfffffffffffffffffffffffe00000",
    ];
    refused(region, |f| {
        each(&f.loose.attr("size"), &texts, Errno::ERANGE)
    })
}

fn size_misaligned_gives_einval(region: &Region) -> Outcome {
    let texts = [
        "1".to_owned(),
        PAGE.to_string(),
        (UNIT / 2).to_string(),
        (UNIT - 1).to_string(),
        (UNIT + 1).to_string(),
        format!("{:#x}", UNIT + PAGE),
        u64::MAX.to_string(),
    ];
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    refused(region, |f| {
        let mut rows = each(&f.empty.attr("size"), &texts, Errno::EINVAL);
        rows.extend(each(&f.loose.attr("size"), &texts, Errno::EINVAL));
        rows
    })
}

/// Either driver refuses this size with `EINVAL`.
fn refuses_size(region: &Region, device: &Device, bytes: u64) -> Outcome {
    let text = bytes.to_string();
    refuses(
        region,
        &device.attr("size"),
        &text,
        Errno::EINVAL,
        OnC::Same,
    )
}

fn size_below_subsection_with_small_align_gives_einval(region: &Region) -> Outcome {
    let device = region.create()?;
    device.set_align(PAGE)?;
    let least = deviates(GRANULE, SUBSECTION);
    for bytes in [PAGE, least / 2, 3 * least / 2] {
        refuses_size(region, &device, bytes)?;
    }
    device.set_size(least)?;
    refuses_size(region, &device, PAGE)
}

fn size_not_a_multiple_of_large_align_gives_einval(region: &Region) -> Outcome {
    needs_giant_pages()?;
    let device = region.create()?;
    device.set_align(GIB)?;
    for bytes in [UNIT, GIB / 2, GIB + UNIT] {
        refuses_size(region, &device, bytes)?;
    }
    Ok(())
}

fn size_beyond_free_space_gives_enospc(region: &Region) -> Outcome {
    // The largest of all sizes that are aligned.
    let most = format!("{:#x}", u64::MAX - UNIT + 1);
    refused(region, |f| {
        let (empty, loose) = (f.empty.attr("size"), f.loose.attr("size"));
        let total = f.region.unit_count();
        vec![
            Row::new(empty.clone(), units(Fixture::FREE + 1), Errno::ENOSPC),
            Row::new(empty.clone(), units(total), Errno::ENOSPC),
            Row::new(empty.clone(), units(total + 1), Errno::ENOSPC),
            Row::new(empty.clone(), "0x8000000000000000", Errno::ENOSPC),
            Row::new(empty, &most, Errno::ENOSPC),
            Row::new(
                loose.clone(),
                units(Fixture::LOOSE + Fixture::FREE + 1),
                Errno::ENOSPC,
            ),
            Row::new(loose.clone(), units(total), Errno::ENOSPC),
            Row::new(loose, &most, Errno::ENOSPC),
        ]
    })
}

fn size_of_bound_device_gives_ebusy(region: &Region) -> Outcome {
    refused(region, |f| {
        [0, 1, 4, 5, 8]
            .map(|count| Row::new(f.bound.attr("size"), units(count), Errno::EBUSY))
            .into()
    })
}

/// Holes of 512 MiB have 1 GiB together, but none has an aligned GiB.
fn size_with_no_aligned_hole_gives_enospc(region: &Region) -> Outcome {
    needs_giant_pages()?;
    let half = GIB / 2 / UNIT;
    let mut unit = 0;
    while unit < region.unit_count() {
        region.create_over(&[region.units(unit, half)])?;
        unit += 2 * half;
    }
    let device = region.create()?;
    device.set_align(GIB)?;
    check("available", region.available()?, region.span().len() / 2)?;
    refuses(
        region,
        &device.attr("size"),
        &GIB.to_string(),
        Errno::ENOSPC,
        OnC::Accepts,
    )
}
