// SPDX-License-Identifier: GPL-2.0

//! Compares the driver's note of poisoned pages with a plain list of them.

use std::collections::BTreeSet;

use proptest::collection;
use proptest::prelude::*;

use crate::prelude::fail_after;
use crate::ranges::hwpoison::PoisonedPages;
use crate::ranges::range::PAGE_SIZE;
use crate::real::range;

/// Pages that the tests are about.
const PAGES: u64 = 24;

/// All parts of pages that are clean, found one after the other.
fn clean(poisoned: &PoisonedPages, first: u64, count: u64) -> Vec<u64> {
    let mut found = Vec::new();
    let mut rest = Some(range(first, count));
    while let Some(part) = rest.and_then(|rest| poisoned.first_clean(rest)) {
        assert!(range(first, count).contains(&part));
        found.extend(part.start() / PAGE_SIZE..=part.last() / PAGE_SIZE);
        rest = rest.and_then(|rest| rest.part_above(&part));
    }
    found
}

/// One step: a page is poisoned, perhaps without memory to note that, or some pages are forgotten.
#[derive(Clone, Debug)]
enum Step {
    Add(u64),
    Miss(u64),
    Forget(u64, u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..PAGES).prop_map(Step::Add),
        1 => (0..PAGES).prop_map(Step::Miss),
        1 => (0..PAGES, 1..8_u64).prop_map(|(first, count)| Step::Forget(first, count)),
    ]
}

proptest! {
    #[test]
    fn poisoned_pages_are_left_out_until_they_are_forgotten(
        steps in collection::vec(step(), 0..24),
        first in 0..PAGES,
        count in 1..PAGES,
    ) {
        let mut poisoned = PoisonedPages::new();
        let (mut list, mut missed) = (BTreeSet::new(), BTreeSet::new());
        let mut ever_missed = false;
        for step in steps {
            match step {
                Step::Add(pfn) => {
                    prop_assert!(poisoned.add(pfn).is_ok());
                    list.insert(pfn);
                }
                Step::Miss(pfn) => {
                    fail_after(Some(0));
                    let added = poisoned.add(pfn);
                    fail_after(None);
                    ever_missed |= added.is_err();
                    if added.is_ok() { &mut list } else { &mut missed }.insert(pfn);
                }
                Step::Forget(first, count) => {
                    poisoned.forget(&range(first, count));
                    list.retain(|pfn| !(first..first + count).contains(pfn));
                    missed.retain(|pfn| !(first..first + count).contains(pfn));
                }
            }
        }
        let unknown = missed.range(first..first + count).next().is_some();
        let knows = poisoned.knows(&range(first, count));
        prop_assert!(!(unknown && knows));
        prop_assert!(knows || ever_missed);
        let expected = (first..first + count).filter(|pfn| !list.contains(pfn));
        prop_assert!(clean(&poisoned, first, count).into_iter().eq(expected));
    }
}

#[test]
fn page_that_cannot_be_noted_is_not_forgotten_silently() {
    let mut poisoned = PoisonedPages::new();
    fail_after(Some(0));
    let added = poisoned.add(3);
    fail_after(None);
    assert!(added.is_err());
    assert!(!poisoned.knows(&range(3, 1)));
    // Later pages do not make good for it, and other ranges do not suffer.
    assert!(poisoned.add(4).is_ok());
    assert!(!poisoned.knows(&range(0, PAGES)));
    assert!(poisoned.knows(&range(4, PAGES)));
}
