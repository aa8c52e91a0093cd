// SPDX-License-Identifier: GPL-2.0

//! Random sequences of operations on a region with thousands of ranges.

use proptest::prelude::*;

use crate::oracle::{Dense, Op};
use crate::prelude::fail_after;
use crate::ranges::allocator::RangeError;
use crate::ranges::layout::pgoff_to_phys;
use crate::ranges::range::PAGE_SIZE;
use crate::real::Real;

/// Pages in the region.
const PAGES: u64 = 8192;
/// First page; not a multiple of the larger alignments.
const BASE: u64 = 4100;
const DEVICES: usize = 3;

/// An operation on a region.
#[derive(Clone, Debug)]
enum Action {
    /// One operation.
    One(usize, Op),
    /// As many ranges of that many pages as there is room for, so far apart.
    Comb(usize, u64, u64, u64),
    /// An operation that runs out of memory after so many allocations.
    Starved(usize, Op, usize),
    /// A growth that is reserved, another operation, then commit or cancel.
    Meanwhile(u64, Op, bool),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        // Sizes that are multiples of something, and any.
        4 => (0..=PAGES / 8).prop_map(|n| Op::Resize(n * 8)),
        2 => (0..=PAGES).prop_map(Op::Resize),
        3 => (BASE..BASE + PAGES, 1..64_u64).prop_map(|(first, n)| Op::MapAt(first, n)),
        1 => [(BASE..BASE + PAGES, 1..64_u64), (BASE..BASE + PAGES, 1..64_u64)]
            .prop_map(|[one, two]| Op::MapTwo(one, two)),
        2 => (0..4_u32).prop_map(|shift| Op::Align(1 << shift)),
        1 => Just(Op::Delete),
    ]
}

fn action() -> impl Strategy<Value = Action> {
    let device = 0..DEVICES;
    prop_oneof![
        6 => (device.clone(), op()).prop_map(|(d, op)| Action::One(d, op)),
        2 => (device.clone(), BASE..BASE + PAGES, 1..4_u64, 1..4_u64)
            .prop_map(|(d, first, pages, apart)| Action::Comb(d, first, pages, apart)),
        2 => (device, op(), 0..300_usize).prop_map(|(d, op, n)| Action::Starved(d, op, n)),
        2 => (0..=PAGES, op(), any::<bool>())
            .prop_map(|(pages, op, commit)| Action::Meanwhile(pages, op, commit)),
    ]
}

/// The region, and what it should be.
struct Pair {
    real: Real,
    dense: Dense,
    ranges: usize,
}

impl Pair {
    fn one(&mut self, device: usize, op: Op) {
        let next = self.dense.after(device, op);
        let result = self.real.apply(device, op);
        assert_eq!(result.err(), next.as_ref().err().copied(), "{op:?}");
        if let Ok(next) = next {
            self.dense = next;
        }
    }

    fn act(&mut self, action: &Action) {
        match *action {
            Action::One(device, op) => self.one(device, op),
            Action::Comb(device, first, pages, apart) => {
                let mut at = first;
                while at + pages <= BASE + PAGES {
                    self.one(device, Op::MapAt(at, pages));
                    at += pages + apart;
                }
            }
            Action::Starved(device, op, count) => {
                fail_after(Some(count));
                let result = self.real.apply(device, op);
                fail_after(None);
                match result {
                    // Overlap is found range by range, allocations come in between.
                    Err(RangeError::NoMemory) => assert!(matches!(
                        self.dense.after(device, op),
                        Ok(_) | Err(RangeError::Overlap(_))
                    )),
                    Err(e) => assert_eq!(self.dense.after(device, op).err(), Some(e)),
                    Ok(()) => self.dense = self.dense.after(device, op).unwrap(),
                }
            }
            Action::Meanwhile(pages, op, commit) => self.meanwhile(pages, op, commit),
        }
        self.ranges = self
            .ranges
            .max(self.real.layouts.iter().map(|l| l.len()).sum());
    }

    fn meanwhile(&mut self, pages: u64, op: Op, commit: bool) {
        let first = Op::Resize(pages.max(self.dense.devices[0].size()));
        let before = self.dense.devices[0].clone();
        let Ok(reserved) = self.dense.after(0, first) else {
            return;
        };
        let reservation = self.real.reserve(0, first).unwrap().unwrap();
        self.dense = reserved;
        self.one(1, op);
        if commit {
            self.real.commit(0, reservation);
        } else {
            reservation.cancel(&mut self.real.allocator);
            self.dense.replace(0, before);
        }
    }

    /// Page offset to address, at a sample of the device's pages.
    fn check_some_pgoffs(&self) {
        for (layout, device) in self.real.layouts.iter().zip(&self.dense.devices) {
            let pages = device.pages();
            for pgoff in (0..pages.len() + 2).step_by(37) {
                let phys = pages.get(pgoff).map(|(page, _)| page * PAGE_SIZE);
                let found = pgoff_to_phys(layout.entries(), pgoff as u64, PAGE_SIZE);
                assert_eq!(found, phys);
                // Two pages are together only in one range.
                let two = pages
                    .get(pgoff..pgoff + 2)
                    .filter(|two| two[0].1 == two[1].1);
                let found = pgoff_to_phys(layout.entries(), pgoff as u64, 2 * PAGE_SIZE);
                assert_eq!(found, two.and(phys));
            }
        }
    }
}

fn cases() -> u32 {
    std::env::var("DAX_DEPTH").map_or(100, |_| 1000)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: cases(),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn long_sequences_agree_with_the_oracle(
        actions in proptest::collection::vec(action(), 1..40),
    ) {
        let dense = Dense::new(BASE, PAGES as usize, DEVICES);
        let mut pair = Pair { real: Real::of(&dense), dense, ranges: 0 };
        for action in &actions {
            pair.act(action);
            pair.real.check(&pair.dense);
        }
        pair.check_some_pgoffs();
    }
}

/// Growth into thousands of holes, as a run that is the same every time.
#[test]
fn growth_into_thousands_of_holes() {
    let dense = Dense::new(BASE, PAGES as usize, DEVICES);
    let mut pair = Pair {
        real: Real::of(&dense),
        dense,
        ranges: 0,
    };
    pair.act(&Action::Comb(0, BASE + 1, 1, 1));
    pair.real.check(&pair.dense);
    for pages in [PAGES / 4, PAGES / 2, 17, 0, PAGES / 2] {
        pair.act(&Action::One(1, Op::Resize(pages)));
        pair.real.check(&pair.dense);
    }
    pair.act(&Action::One(0, Op::Delete));
    pair.act(&Action::One(2, Op::Resize(PAGES / 2)));
    pair.real.check(&pair.dense);
    pair.check_some_pgoffs();
    assert_eq!(pair.ranges as u64, PAGES);
}
