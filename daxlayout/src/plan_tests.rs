// SPDX-License-Identifier: GPL-2.0
//! Tests of the planner, with random holes and with all sets of holes of a small region.

use proptest::prelude::*;

use super::*;
use crate::colour;
use crate::span::holes;

/// The granule of all requests of these tests, in bytes.
const GRANULE: u64 = 4;

fn at(start: u64, len: u64) -> Span {
    Span::at(start, len)
}

fn request(size: Option<u64>, placement: Placement) -> Request {
    Request {
        size,
        granule: GRANULE,
        placement,
    }
}

/// Checks planned ranges: inside the holes, aligned, disjoint, and of the wanted size.
fn check(holes: &[Span], request: &Request, ranges: &[Span]) {
    assert!(!ranges.is_empty());
    for (i, range) in ranges.iter().enumerate() {
        assert!(holes.iter().any(|h| h.contains(*range)), "{range} outside");
        assert!(range.is_aligned(request.granule), "{range} not aligned");
        let twice = ranges[..i].iter().any(|other| other.overlaps(*range));
        assert!(!twice, "{range} twice");
    }
    if let Some(size) = request.size {
        assert_eq!(total(ranges), size);
    }
}

/// Holes of a region of some hundred bytes, not all of them aligned.
fn some_holes() -> impl Strategy<Value = Vec<Span>> {
    let taken = prop::collection::vec((0u64..400, 1u64..40), 0..12);
    (0u64..50, 100u64..400, taken).prop_map(|(start, len, taken)| {
        let taken: Vec<Span> = taken.iter().map(|&(s, l)| at(s, l)).collect();
        holes(at(start, len), &taken)
    })
}

/// A size in bytes, or none.
fn some_size() -> impl Strategy<Value = Option<u64>> {
    prop::option::weighted(0.9, (1u64..60).prop_map(|granules| granules * GRANULE))
}

/// The largest number of bytes that a placement can have.
fn room(holes: &[Span], usable: impl Fn(Span) -> Vec<Span>) -> u64 {
    let pieces = crate::span::merged(holes.iter().flat_map(|&h| usable(h)).collect());
    total(&aligned(&pieces, GRANULE))
}

proptest! {
    #[test]
    fn contiguous(holes in some_holes(), size in some_size()) {
        let request = request(size, Placement::Contiguous);
        let room = room(&holes, |hole| vec![hole]);
        match plan(&holes, &request) {
            Ok(ranges) => check(&holes, &request, &ranges),
            Err(refusal) => {
                prop_assert!(size.unwrap_or(1) > room);
                prop_assert_eq!(refusal, Refusal::NoRoom { wanted: size.unwrap_or(0), free: room });
            }
        }
    }

    #[test]
    fn one_colour(
        holes in some_holes(), size in some_size(), colours in 1u64..5, width in 4u64..30, colour in 0u64..5,
    ) {
        let period = colours * width;
        let part = CachePart::colour(colour, colours, period);
        prop_assert_eq!(part.is_ok(), colour < colours);
        if let Ok(part) = part {
            let request = request(size, Placement::CachePart(part));
            match plan(&holes, &request) {
                Ok(ranges) => {
                    check(&holes, &request, &ranges);
                    for place in colour::places(&ranges, period) {
                        prop_assert!(at(part.offset, part.width).contains(place));
                    }
                }
                Err(_) => prop_assert!(size.unwrap_or(1) > room(&holes, |hole| part.pieces(hole))),
            }
        }
    }

    #[test]
    fn colours_share_no_place_in_the_cache(holes in some_holes(), colours in 2u64..5, width in 4u64..30) {
        let period = colours * width;
        let of = |colour| {
            let part = CachePart::colour(colour, colours, period).unwrap();
            plan(&holes, &request(None, Placement::CachePart(part))).unwrap_or_default()
        };
        for colour in 1..colours {
            prop_assert_eq!(colour::shared(&of(0), &of(colour), period), 0);
        }
    }

    #[test]
    fn two_at_a_distance(holes in some_holes(), size in some_size(), distance in 1u64..60) {
        let distance = distance * GRANULE;
        let request = request(size, Placement::Pair { distance });
        // Whether there is such a pair, found by trying every address.
        let half = size.unwrap_or(2 * GRANULE) / 2;
        let free = |start| holes.iter().any(|h| h.contains(at(start, half)));
        let possible = half % GRANULE == 0 && half <= distance
            && (0..500).step_by(GRANULE as usize).any(|a| free(a) && free(a + distance));
        match plan(&holes, &request) {
            Ok(ranges) => {
                check(&holes, &request, &ranges);
                prop_assert_eq!(ranges.len(), 2);
                prop_assert_eq!(ranges[0].start + distance, ranges[1].start);
                prop_assert_eq!(ranges[0].len(), ranges[1].len());
                prop_assert!(possible);
            }
            Err(_) => prop_assert!(!possible),
        }
    }

    #[test]
    fn exactly_there(holes in some_holes(), wanted in prop::collection::vec((0u64..400, 1u64..40), 1..4)) {
        let wanted: Vec<Span> = wanted.iter().map(|&(s, l)| at(s, l)).collect();
        let request = request(None, Placement::Exact(wanted.clone()));
        if let Ok(ranges) = plan(&holes, &request) {
            check(&holes, &request, &ranges);
            prop_assert_eq!(ranges, wanted);
        }
    }
}

/// The smallest number of holes that have room for so many bytes, by trying every set.
fn smallest_number(holes: &[Span], size: u64) -> Option<u32> {
    (0u32..1 << holes.len())
        .filter(|set| {
            let chosen = (0..holes.len()).filter(|i| set & (1 << i) != 0);
            chosen.map(|i| holes[i].len()).sum::<u64>() >= size
        })
        .map(u32::count_ones)
        .min()
}

#[test]
fn contiguous_is_as_few_ranges_as_possible() {
    // Every way in which ten granules can be taken or free.
    for taken in 0u32..1 << 10 {
        let taken: Vec<Span> = (0..10)
            .filter(|i| taken & (1 << i) != 0)
            .map(|i| at(i * GRANULE, GRANULE))
            .collect();
        let holes = holes(at(0, 10 * GRANULE), &taken);
        for granules in 1..=10 {
            let request = request(Some(granules * GRANULE), Placement::Contiguous);
            let planned = plan(&holes, &request);
            let number = planned.as_ref().ok().map(|ranges| ranges.len() as u32);
            assert_eq!(
                number,
                smallest_number(&holes, granules * GRANULE),
                "{holes:?}"
            );
            if let Ok(ranges) = planned {
                check(&holes, &request, &ranges);
            }
        }
    }
}

#[test]
fn contiguous_prefers_the_smallest_hole_with_room_then_the_lowest() {
    let holes = [at(0, 40), at(100, 12), at(200, 8), at(300, 8)];
    let ranges = |size| plan(&holes, &request(Some(size), Placement::Contiguous)).unwrap();
    assert_eq!(ranges(8), [at(200, 8)]);
    assert_eq!(ranges(12), [at(100, 12)]);
    assert_eq!(ranges(44), [at(0, 40), at(200, 4)]);
    assert_eq!(ranges(60), [at(0, 40), at(100, 12), at(200, 8)]);
}

#[test]
fn refusals_name_the_range() {
    let holes = [at(0, 40), at(100, 12)];
    let exact =
        |size, spans: &[Span]| plan(&holes, &request(size, Placement::Exact(spans.to_vec())));
    let granule = GRANULE;
    let span = at(2, 8);
    assert_eq!(
        exact(None, &[span]),
        Err(Refusal::Unaligned { span, granule })
    );
    let span = at(36, 8);
    assert_eq!(exact(None, &[at(0, 8), span]), Err(Refusal::Taken { span }));
    let (span, other) = (at(4, 8), at(0, 8));
    assert_eq!(
        exact(None, &[other, span]),
        Err(Refusal::Twice { span, other })
    );
    let sum = Refusal::Sum {
        have: 8,
        wanted: 16,
    };
    assert_eq!(exact(Some(16), &[other]), Err(sum));
    // The order is the user's.
    let spans = [at(100, 4), at(0, 4)];
    assert_eq!(exact(Some(8), &spans), Ok(spans.to_vec()));
}
