// SPDX-License-Identifier: GPL-2.0

//! Pages that the kernel must not touch, because memory-failure handling marked them.

use crate::{
    prelude::{
        warn_on,
        AllocError,
        KVVec,
        GFP_KERNEL, //
    },
    ranges::range::{
        PhysRange,
        PAGE_SHIFT,
        PAGE_SIZE, //
    }, //
};

/// The page frames that were marked as poisoned (`PG_hwpoison`).
///
/// The mark is in the struct page, which goes away when a device is unbound. This list lasts
/// as long as the region.
///
/// # Invariants
///
/// `pfns` ascends, and has no number twice.
pub(crate) struct PoisonedPages {
    pfns: KVVec<u64>,
    /// The smallest range that contains every page that could not be added to `pfns`.
    unknown: Option<PhysRange>,
}

impl PoisonedPages {
    /// An empty list.
    pub(crate) const fn new() -> Self {
        // INVARIANT: There is no number.
        Self {
            pfns: KVVec::new(),
            unknown: None,
        }
    }

    /// Adds page frame `pfn`. May sleep.
    ///
    /// # Errors
    ///
    /// `AllocError` if there is no memory. From then on [`PoisonedPages::knows`] returns false
    /// for each range with the page.
    pub(crate) fn add(&mut self, pfn: u64) -> Result<(), AllocError> {
        let Err(at) = self.pfns.binary_search(&pfn) else {
            return Ok(());
        };
        if let Err(e) = self.pfns.reserve(1, GFP_KERNEL) {
            self.miss(pfn);
            return Err(e);
        }
        // INVARIANT: The number was not there. Each number from `at` on moves up by one, so
        // the numbers ascend.
        let mut moved = pfn;
        for number in self.pfns.iter_mut().skip(at) {
            core::mem::swap(number, &mut moved);
        }
        // There is room, see above.
        warn_on!(self.pfns.push_within_capacity(moved).is_err());
        Ok(())
    }

    /// Notes that page frame `pfn` is missing from the list.
    fn miss(&mut self, pfn: u64) {
        let Some(page) = page(pfn) else {
            return;
        };
        self.unknown = match self.unknown {
            // No machine has memory at both ends of the address space.
            Some(unknown) => unknown.hull(&page).or(Some(unknown)),
            None => Some(page),
        };
    }

    /// Whether all poisoned pages of `range` are known.
    pub(crate) fn knows(&self, range: &PhysRange) -> bool {
        !self.unknown.is_some_and(|unknown| unknown.overlaps(range))
    }

    /// Removes all pages of `range`, whose region is gone.
    pub(crate) fn forget(&mut self, range: &PhysRange) {
        self.unknown = self.unknown.and_then(|unknown| {
            let below = unknown.part_below(range);
            let above = unknown.part_above(range);
            // There may be such pages on both sides of the region, and one range must contain
            // them all. So the region in between stays unknown too.
            match (below, above) {
                (Some(_), Some(_)) => Some(unknown),
                (part, other) => part.or(other),
            }
        });
        // INVARIANT: Removing numbers does not change the order of the others.
        let inside = |pfn: u64| page(pfn).is_some_and(|page| range.overlaps(&page));
        self.pfns.retain(|pfn| !inside(*pfn));
    }

    /// The lowest part of `range` without a poisoned page, up to the next such page or the
    /// end of `range`. `None` if all pages are poisoned.
    pub(crate) fn first_clean(&self, range: PhysRange) -> Option<PhysRange> {
        let first = range.start() >> PAGE_SHIFT;
        let at = self.pfns.partition_point(|pfn| *pfn < first);
        let mut rest = range;
        for pfn in self.pfns.get(at..).unwrap_or_default() {
            let Some(poisoned) = page(*pfn) else {
                break;
            };
            if let Some(clean) = rest.part_below(&poisoned) {
                return Some(clean);
            }
            rest = rest.part_above(&poisoned)?;
        }
        Some(rest)
    }
}

/// The addresses of page frame `pfn`.
fn page(pfn: u64) -> Option<PhysRange> {
    PhysRange::with_size(pfn.checked_mul(PAGE_SIZE)?, PAGE_SIZE)
}

#[cfg(any(test, CONFIG_DEV_DAX_RUST_KUNIT_TEST))]
#[cfg_attr(not(test), crate::prelude::kunit_tests(dax_hwpoison))]
mod tests {
    use super::*;
    use crate::prelude::Error;

    /// The range of pages `first` to `last`.
    fn pages(first: u64, last: u64) -> Option<PhysRange> {
        PhysRange::new(
            first.checked_mul(PAGE_SIZE)?,
            last.checked_add(1)?
                .checked_mul(PAGE_SIZE)?
                .checked_sub(1)?,
        )
    }

    /// The clean parts of pages `first` to `last`, each as (first, last) page.
    fn clean(poisoned: &PoisonedPages, first: u64, last: u64) -> [Option<(u64, u64)>; 4] {
        let mut found = [None; 4];
        let mut rest = pages(first, last);
        for slot in &mut found {
            let part = rest.and_then(|rest| poisoned.first_clean(rest));
            let numbers = |part: PhysRange| (part.start() / PAGE_SIZE, part.last() / PAGE_SIZE);
            *slot = part.map(numbers);
            rest = rest.and_then(|rest| rest.part_above(&part?));
        }
        found
    }

    #[test]
    fn poisoned_pages_are_left_out() -> Result<(), Error> {
        let mut poisoned = PoisonedPages::new();
        assert_eq!(clean(&poisoned, 8, 15), [Some((8, 15)), None, None, None]);
        for pfn in [12, 3, 9, 10, 12] {
            poisoned.add(pfn)?;
        }
        let parts = [Some((8, 8)), Some((11, 11)), Some((13, 15)), None];
        assert_eq!(clean(&poisoned, 8, 15), parts);
        assert_eq!(clean(&poisoned, 9, 10), [None; 4]);
        assert_eq!(clean(&poisoned, 9, 12), [Some((11, 11)), None, None, None]);
        assert_eq!(clean(&poisoned, 4, 8), [Some((4, 8)), None, None, None]);
        Ok(())
    }

    #[test]
    fn pages_that_could_not_be_added_are_unknown() -> Result<(), Error> {
        let range = |first, last| pages(first, last).ok_or(crate::prelude::EINVAL);
        let mut poisoned = PoisonedPages::new();
        poisoned.add(8)?;
        assert!(poisoned.knows(&range(0, 100)?));
        poisoned.miss(30);
        poisoned.miss(20);
        assert!(poisoned.knows(&range(0, 19)?) && poisoned.knows(&range(31, 100)?));
        for (first, last) in [(0, 20), (20, 20), (25, 26), (30, 100)] {
            assert!(!poisoned.knows(&range(first, last)?));
        }
        // A region between two missing pages tells nothing about either.
        poisoned.forget(&range(22, 28)?);
        assert!(!poisoned.knows(&range(25, 26)?));
        poisoned.forget(&range(0, 24)?);
        assert!(poisoned.knows(&range(0, 24)?) && !poisoned.knows(&range(25, 26)?));
        poisoned.forget(&range(25, 30)?);
        assert!(poisoned.knows(&range(0, 100)?));
        Ok(())
    }

    #[test]
    fn a_region_that_is_gone_is_forgotten() -> Result<(), Error> {
        let mut poisoned = PoisonedPages::new();
        for pfn in [7, 8, 15, 16] {
            poisoned.add(pfn)?;
        }
        poisoned.forget(&pages(8, 15).ok_or(crate::prelude::EINVAL)?);
        assert_eq!(
            clean(&poisoned, 6, 17),
            [Some((6, 6)), Some((8, 15)), Some((17, 17)), None]
        );
        Ok(())
    }
}
