// SPDX-License-Identifier: GPL-2.0

//! Tests that give ranges back to a region that never gave them. The region must complain and stay
//! as it is.

use crate::prelude::{nodes, warnings, GFP_KERNEL};
use crate::ranges::allocator::RangeAllocator;
use crate::ranges::layout::{Layout, NodeReservation};
use crate::ranges::range::{Align, PhysRange};
use crate::real::range;

/// The pages of the region, and those of them that are taken.
const REGION: (u64, u64) = (16, 16);
const TAKEN: (u64, u64) = (22, 4);

/// A device that claims to have a range.
fn liar(range: PhysRange) -> Layout {
    let mut layout = Layout::new();
    layout.reserve(1).unwrap();
    let reservation = NodeReservation::new(GFP_KERNEL).unwrap();
    assert!(layout.push_reserved(range, reservation).is_ok());
    layout
}

/// Every range of pages in and around the region. One whose every page is taken could be anybody's,
/// and is not refused.
#[test]
fn range_that_is_free_or_outside_is_refused() {
    let taken = TAKEN.0..TAKEN.0 + TAKEN.1;
    let mut refused = 0;
    for first in REGION.0 - 2..REGION.0 + REGION.1 + 2 {
        for pages in 1..=REGION.1 + 4 {
            if (first..first + pages).all(|page| taken.contains(&page)) {
                continue;
            }
            let mut allocator = RangeAllocator::new(range(REGION.0, REGION.1)).unwrap();
            let mut device = Layout::new();
            let held = range(TAKEN.0, TAKEN.1);
            let reservation = allocator.append(&mut device, &[held], Align::PAGE).unwrap();
            reservation.commit(&mut allocator, &mut device);
            let before: Vec<PhysRange> = allocator.holes().collect();
            let (free, count) = (allocator.available(), nodes());

            let mut liar = liar(range(first, pages));
            assert_eq!(
                warnings(|| allocator.release_all(&mut liar, |_, _| {})),
                1,
                "{first} {pages}"
            );
            assert!(allocator.holes().eq(before), "{first} {pages}");
            assert_eq!((allocator.available(), nodes()), (free, count));
            refused += 1;
        }
    }
    assert!(refused > 0);
    println!("{refused} ranges were refused");
}
