// SPDX-License-Identifier: GPL-2.0
//! Tests of the model, with frames by hand and at random.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const CACHE: Memory = Memory::Cached { places: 4 };
const FLAT: Memory = Memory::Flat { base: 8, places: 4 };

/// A tally of so many hits, misses, pages lost to others, pages lost to itself.
fn tally(hits: u64, misses: u64, lost_to_others: u64, lost_to_itself: u64) -> Tally {
    Tally {
        hits,
        misses,
        lost_to_others,
        lost_to_itself,
    }
}

#[test]
fn places_repeat() {
    assert_eq!([3, 4, 7, 8].map(|frame| CACHE.place(frame)), [3, 0, 3, 0]);
    assert_eq!([8, 11, 12, 15].map(|frame| FLAT.place(frame)), [0, 3, 0, 3]);
    assert_eq!(CACHE.shared(&[0, 1, 4], &[5, 6, 8, 12]), 2);
    assert_eq!(FLAT.shared(&[8, 12], &[9, 13]), 0);
}

#[test]
fn a_cache_is_empty_at_first_and_keeps_the_last() {
    let mut machine = Machine::new(CACHE, &[&[0, 4], &[8]]);
    for (tenant, frame) in [(0, 0), (0, 0), (0, 4), (1, 8), (0, 4)] {
        machine.access(tenant, frame);
    }
    assert_eq!(machine.take(), [tally(1, 3, 1, 1), tally(0, 1, 1, 0)]);
    assert_eq!(machine.take(), [Tally::default(); 2]);
}

#[test]
fn near_memory_is_full_at_first_and_pairs_swap() {
    // 8 is near and 12 far; 10 and 14 are nobody's and the second tenant's.
    let mut machine = Machine::new(FLAT, &[&[8], &[12, 14]]);
    for (tenant, frame) in [(0, 8), (1, 12), (0, 8), (1, 14), (1, 14)] {
        machine.access(tenant, frame);
    }
    assert_eq!(machine.take(), [tally(1, 1, 1, 0), tally(1, 2, 1, 0)]);
}

#[test]
fn warm_up_is_not_counted() {
    let turns = Turns {
        warm_up: 100,
        counted: 10,
        seed: 1,
    };
    let tallies = turns.play(CACHE, &[&[0, 1], &[2, 7]]);
    assert_eq!(tallies, [tally(10, 0, 0, 0); 2]);
}

/// Memory of a few places, near memory at the first frame that may be used.
fn some_memory() -> impl Strategy<Value = Memory> {
    (any::<bool>(), 1u64..20).prop_map(|(flat, places)| match flat {
        true => Memory::Flat { base: 5, places },
        false => Memory::Cached { places },
    })
}

/// The frames of two tenants, none of which both have.
fn two_tenants() -> impl Strategy<Value = [Vec<u64>; 2]> {
    let owners = prop::collection::vec(0usize..3, 1..60);
    owners.prop_map(|owners| {
        let of = |tenant: usize| {
            let all = (5..).zip(&owners).filter(|(_, owner)| **owner == tenant);
            all.map(|(frame, _)| frame).collect::<Vec<u64>>()
        };
        [of(0), of(1)]
    })
}

fn some_turns() -> impl Strategy<Value = Turns> {
    (0u64..50, 1u64..200, any::<u64>()).prop_map(|(warm_up, counted, seed)| Turns {
        warm_up,
        counted,
        seed,
    })
}

/// The places of frames, the obvious way.
fn places(memory: Memory, frames: &[u64]) -> BTreeSet<u64> {
    frames.iter().map(|&frame| memory.place(frame)).collect()
}

/// Those frames of a tenant whose places are in one part of the memory.
fn of_colour(memory: Memory, frames: &[u64], colour: u64, width: u64) -> Vec<u64> {
    let inside = |frame: &&u64| memory.place(**frame) / width == colour;
    frames.iter().filter(inside).copied().collect()
}

proptest! {
    #[test]
    fn shared_places_are_those_of_both(memory in some_memory(), [a, b] in two_tenants()) {
        let both = places(memory, &a).intersection(&places(memory, &b)).count() as u64;
        prop_assert_eq!(memory.shared(&a, &b), both);
        prop_assert_eq!(memory.shared(&b, &a), both);
    }

    #[test]
    fn everything_is_counted_once(
        memory in some_memory(), [a, b] in two_tenants(), turns in some_turns(),
    ) {
        let tallies = turns.play(memory, &[&a, &b]);
        for (tally, frames) in tallies.iter().zip([&a, &b]) {
            let accesses = if frames.is_empty() { 0 } else { turns.counted };
            prop_assert_eq!(tally.accesses(), accesses);
        }
        let sum = |of: fn(&Tally) -> u64| tallies.iter().map(of).sum::<u64>();
        let lost = sum(|t| t.lost_to_others + t.lost_to_itself);
        let misses = sum(|t| t.misses);
        // What is brought in pushes out one page at most.
        prop_assert!(lost <= misses);
    }

    #[test]
    fn who_shares_no_place_is_as_if_alone(
        places in 2u64..20, flat in any::<bool>(), [a, b] in two_tenants(), turns in some_turns(),
    ) {
        let places = 2 * places;
        let memory = match flat {
            true => Memory::Flat { base: 5, places },
            false => Memory::Cached { places },
        };
        let [a, b] = [(0, a), (1, b)].map(|(k, all)| of_colour(memory, &all, k, places / 2));
        prop_assert_eq!(memory.shared(&a, &b), 0);
        let both = turns.play(memory, &[&a, &b]);
        prop_assert!(both.iter().all(|tally| tally.lost_to_others == 0));
        prop_assert_eq!(both[0], turns.play(memory, &[&a])[0]);
    }

    #[test]
    fn pairs_have_their_places_for_themselves(
        places in 1u64..20, cut in 0u64..20, turns in some_turns(),
    ) {
        let memory = Memory::Flat { base: 5, places };
        let cut = cut.min(places);
        let of = |from: u64, to: u64| -> Vec<u64> {
            (from..to).flat_map(|at| [5 + at, 5 + at + places]).collect()
        };
        let (a, b) = (of(0, cut), of(cut, places));
        prop_assert_eq!(memory.shared(&a, &b), 0);
        let both = turns.play(memory, &[&a, &b]);
        prop_assert!(both.iter().all(|tally| tally.lost_to_others == 0));
    }

    #[test]
    fn a_shared_place_costs_both(memory in some_memory(), [a, b] in two_tenants()) {
        // Whoever has a place in common pushes the other out when they use it in turns.
        let pair = a.iter().flat_map(|&x| b.iter().map(move |&y| (x, y)));
        let common = pair.clone().find(|&(x, y)| memory.place(x) == memory.place(y));
        prop_assert_eq!(common.is_some(), memory.shared(&a, &b) > 0);
        if let Some((x, y)) = common {
            let mut machine = Machine::new(memory, &[&a, &b]);
            for (tenant, frame) in [(0, x), (1, y), (0, x)] {
                machine.access(tenant, frame);
            }
            prop_assert!(machine.take().iter().all(|tally| tally.lost_to_others > 0));
        }
    }

    #[test]
    fn lines_of_a_page_are_shared_as_pages_are(
        places in 1u64..20, [a, b] in two_tenants(), lines in 1u64..5,
    ) {
        let of = |frames: &[u64]| -> Vec<u64> {
            frames.iter().flat_map(|&f| f * lines..(f + 1) * lines).collect()
        };
        let pages = Memory::Cached { places }.shared(&a, &b);
        let finer = Memory::Cached { places: places * lines };
        prop_assert_eq!(finer.shared(&of(&a), &of(&b)), pages * lines);
    }
}
