// SPDX-License-Identifier: GPL-2.0

//! Addresses of a device's pages, for devices whose ranges are as uneven and as large as they can
//! be.

use crate::prelude::GFP_KERNEL;
use crate::ranges::layout::{entry_at, pgoff_to_phys, Layout, NodeReservation};
use crate::ranges::range::{PhysRange, PAGE_SIZE};

/// Pages of a range: next to nothing, and so many that no product of two numbers of pages fits
/// into 64 bits.
const SIZES: [u64; 4] = [1, 3, 1 << 20, 1 << 38];
/// Ranges of a device at most.
const RANGES: u32 = 5;

/// A device whose ranges have `sizes` pages.
fn layout(sizes: &[u64]) -> Layout {
    let mut layout = Layout::new();
    layout.reserve(sizes.len()).unwrap();
    for pages in sizes {
        // A device does not mind whether its ranges overlap.
        let range = PhysRange::with_size(7 * PAGE_SIZE, pages * PAGE_SIZE).unwrap();
        let reservation = NodeReservation::new(GFP_KERNEL).unwrap();
        assert!(layout.push_reserved(range, reservation).is_ok());
    }
    layout
}

#[test]
fn every_page_beside_an_end_is_found() {
    let mut devices = 0;
    for len in 0..=RANGES {
        for number in 0..SIZES.len().pow(len) {
            let sizes: Vec<u64> = (0..len)
                .map(|digit| SIZES[number / SIZES.len().pow(digit) % SIZES.len()])
                .collect();
            check(&sizes);
            devices += 1;
        }
    }
    println!("{devices} devices");
}

/// Every range's first and last pages, and the ones behind all.
fn check(sizes: &[u64]) {
    let layout = layout(sizes);
    let entries = layout.entries();
    let mut first = 0;
    for (index, pages) in sizes.iter().enumerate() {
        for page in [0, 1, pages / 2, pages - 1] {
            if page < *pages {
                let found = entry_at(entries, first + page);
                assert_eq!(found, entries.get(index), "{page} of {index} in {sizes:?}");
                let phys = pgoff_to_phys(entries, first + page, PAGE_SIZE);
                assert_eq!(phys, Some((7 + page) * PAGE_SIZE), "{sizes:?}");
            }
        }
        assert_eq!(
            (entries[index].size(), entries[index].end()),
            (pages * PAGE_SIZE, first + pages)
        );
        first += pages;
    }
    for behind in [first, first + 1, u64::MAX] {
        assert_eq!(entry_at(entries, behind), entries.last());
        assert_eq!(pgoff_to_phys(entries, behind, PAGE_SIZE), None);
    }
}
