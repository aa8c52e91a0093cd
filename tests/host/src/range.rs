// SPDX-License-Identifier: GPL-2.0

//! Compares every range and every pair of ranges, among a few addresses at either end of the
//! address space, with arithmetic that cannot wrap.

use crate::ranges::range::{Align, PhysRange};

/// Addresses at each end.
const WIDTH: u64 = 8;
/// The first address of each end.
const BASES: [u64; 2] = [0, u64::MAX - (WIDTH - 1)];

/// First and last address.
type Wide = (u128, u128);

fn wide(range: PhysRange) -> Wide {
    (range.start().into(), range.last().into())
}

/// The range from `start` to `last`, if that is one.
fn some(start: u128, last: u128) -> Option<Wide> {
    (start <= last).then_some((start, last))
}

fn within(address: u128, (start, last): Wide) -> bool {
    (start..=last).contains(&address)
}

/// Every range of the addresses from `base` on.
fn every_range(base: u64) -> Vec<(PhysRange, Wide)> {
    let mut ranges = Vec::new();
    for start in base..=base + (WIDTH - 1) {
        for last in base..=base + (WIDTH - 1) {
            let range = PhysRange::new(start, last);
            assert_eq!(range.map(wide), some(start.into(), last.into()));
            ranges.extend(range.map(|range| (range, wide(range))));
        }
    }
    ranges
}

#[test]
fn every_pair_of_ranges() {
    for base in BASES {
        let ranges = every_range(base);
        for (a, wide_a) in &ranges {
            for (b, wide_b) in &ranges {
                pair(a, *wide_a, b, *wide_b);
            }
        }
    }
}

fn pair(a: &PhysRange, wide_a: Wide, b: &PhysRange, wide_b: Wide) {
    let mut addresses = wide_b.0..=wide_b.1;
    let all = addresses.clone().all(|address| within(address, wide_a));
    let any = addresses.any(|address| within(address, wide_a));
    assert_eq!(a.contains(b), all, "{a:?} {b:?}");
    assert_eq!(a.overlaps(b), any, "{a:?} {b:?}");

    let follows = wide_a.0 == wide_b.1 + 1;
    assert_eq!(a.follows(b), follows, "{a:?} {b:?}");
    let joined = follows.then_some((wide_b.0, wide_a.1));
    assert_eq!(b.joined(a).map(wide), joined, "{a:?} {b:?}");

    let end = wide_b.0.checked_sub(1);
    let below = end.and_then(|end| some(wide_a.0, wide_a.1.min(end)));
    assert_eq!(a.part_below(b).map(wide), below, "{a:?} {b:?}");
    let above = some(wide_a.0.max(wide_b.1 + 1), wide_a.1);
    assert_eq!(a.part_above(b).map(wide), above, "{a:?} {b:?}");
}

#[test]
fn every_range_alone() {
    for base in BASES {
        for (range, (start, last)) in every_range(base) {
            let size = last + 1 - start;
            assert_eq!(u128::from(range.size()), size);
            assert_eq!(
                PhysRange::with_size(range.start(), range.size()),
                Some(range)
            );
            for count in 0..=WIDTH + 1 {
                let first = some(start + 1, start + size.min(count.into()));
                let first = first.map(|(behind, last)| (behind - 1, last - 1));
                assert_eq!(
                    range.first_bytes(count).map(wide),
                    first,
                    "{range:?} {count}"
                );
            }
        }
    }
}

#[test]
fn every_range_aligned() {
    for base in BASES {
        let ranges = every_range(base);
        for bytes in [1, 2, 4, 8] {
            let align = Align::new(bytes).unwrap();
            let fits = |(start, last): Wide| {
                start % u128::from(bytes) == 0 && (last + 1) % u128::from(bytes) == 0
            };
            for (range, all) in &ranges {
                assert_eq!(range.is_aligned(align), fits(*all), "{range:?} {bytes}");
                let parts = ranges.iter().map(|(_, part)| *part);
                let parts = parts.filter(|part| fits(*part));
                let parts = parts.filter(|part| within(part.0, *all) && within(part.1, *all));
                let largest = parts.max_by_key(|part| part.1 - part.0);
                assert_eq!(
                    range.aligned_part(align).map(wide),
                    largest,
                    "{range:?} {bytes}"
                );
            }
        }
    }
}

#[test]
fn chunks_are_the_range_in_pieces() {
    for start in [0, 5, u64::MAX - 30] {
        for size in 1..30 {
            let range = PhysRange::with_size(start, size).unwrap();
            for step in 0..32 {
                let chunks: Vec<PhysRange> = range.chunks(step).collect();
                if step == 0 {
                    assert!(chunks.is_empty());
                    continue;
                }
                assert_eq!(chunks.len() as u64, size.div_ceil(step));
                let joined = chunks
                    .iter()
                    .try_fold(None, |sum: Option<PhysRange>, next| {
                        assert!(next.size() <= step);
                        sum.map_or(Some(*next), |sum| sum.joined(next)).map(Some)
                    });
                assert_eq!(joined.flatten(), Some(range));
                let whole = &chunks[..chunks.len() - 1];
                assert!(whole.iter().all(|chunk| chunk.size() == step));
            }
        }
    }
}
