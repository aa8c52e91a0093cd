// SPDX-License-Identifier: GPL-2.0

//! Fault-around: which pages a fault maps beside the one that was touched.
//!
//! A fault costs far more than writing a page table entry, and a program that touches a
//! page may touch its neighbours next. So a fault maps all pages in a window that is
//! aligned to its size, except for those outside the VMA or outside the page's range. All
//! pages here have `PAGE_SIZE` bytes.

use crate::ranges::range::PAGE_SIZE;

/// Size of the window that a fault maps, in bytes.
///
/// # Invariants
///
/// A power of two, and at least one page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Window(u64);

impl Window {
    /// A window of `bytes` bytes, rounded down to a power of two, as the memory manager
    /// does for its own `fault_around_bytes`. It is at most `table`, which is the size of
    /// the area that one page table maps, and at least one page.
    pub(crate) fn new(bytes: u64, table: u64) -> Self {
        let order = bytes.min(table).max(PAGE_SIZE).checked_ilog2();
        // INVARIANT: 1 shifted is a power of two; `max` made it at least one page.
        Self(1 << order.unwrap_or(0))
    }

    /// Whether the window has more than one page.
    pub(crate) fn has_neighbours(self) -> bool {
        self.0 > PAGE_SIZE
    }

    /// The neighbours in the window of the page at `address`, which is a multiple of the
    /// page size.
    pub(crate) fn around(self, address: u64) -> Neighbours {
        let before = address & self.0.saturating_sub(1);
        Neighbours {
            before,
            behind: self.0.saturating_sub(PAGE_SIZE).saturating_sub(before),
        }
    }
}

/// How much there is before and behind a page, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Neighbours {
    /// Bytes before the page.
    pub(crate) before: u64,
    /// Bytes behind the page.
    pub(crate) behind: u64,
}

impl Neighbours {
    /// No neighbours.
    pub(crate) const NONE: Self = Self {
        before: 0,
        behind: 0,
    };

    /// The neighbours of the page at `address` in the area from `start` to `last`, both
    /// included. No neighbours if the page is not within the area.
    #[inline]
    pub(crate) fn within(address: u64, start: u64, last: u64) -> Self {
        let around = || {
            let end = address.checked_add(PAGE_SIZE.saturating_sub(1))?;
            Some(Self {
                before: address.checked_sub(start)?,
                behind: last.checked_sub(end)?,
            })
        };
        around().unwrap_or(Self::NONE)
    }

    /// The offsets of all neighbours relative to the page, in bytes modulo 2^64, in
    /// ascending order of address.
    pub(crate) fn offsets(self) -> impl Iterator<Item = u64> {
        let first = 0_u64.wrapping_sub(self.before);
        let count = self.before.saturating_add(self.behind) / PAGE_SIZE;
        (0..=count)
            .map(move |index| first.wrapping_add(index.wrapping_mul(PAGE_SIZE)))
            .filter(|offset| *offset != 0)
    }

    /// The neighbours that are in both.
    pub(crate) fn min(self, other: Self) -> Self {
        Self {
            before: self.before.min(other.before),
            behind: self.behind.min(other.behind),
        }
    }
}

#[cfg(any(test, CONFIG_DEV_DAX_RUST_KUNIT_TEST))]
#[cfg_attr(not(test), crate::prelude::kunit_tests(dax_neighbours))]
mod tests {
    use super::*;

    fn around(before: u64, behind: u64) -> Neighbours {
        Neighbours { before, behind }
    }

    const PAGE: u64 = PAGE_SIZE;
    const TABLE: u64 = 512 * PAGE;

    #[test]
    fn window_is_rounded_down_to_a_power_of_two() {
        let window = |bytes| Window::new(bytes, TABLE);
        for (pages, rounded) in [(1, 1), (2, 2), (3, 2), (16, 16), (31, 16), (512, 512)] {
            assert_eq!(window(pages * PAGE), Window(rounded * PAGE));
            assert_eq!(window(pages * PAGE).has_neighbours(), pages > 1);
        }
        assert_eq!(window(2 * PAGE - 1), Window(PAGE));
        assert_eq!(window(3 * PAGE + 1), Window(2 * PAGE));
    }

    #[test]
    fn window_is_a_page_at_least_and_a_table_at_most() {
        for bytes in [0, 1, PAGE - 1] {
            assert_eq!(Window::new(bytes, TABLE), Window(PAGE));
        }
        for bytes in [TABLE, TABLE + 1, 2 * TABLE, u64::MAX] {
            assert_eq!(Window::new(bytes, TABLE), Window(TABLE));
        }
    }

    #[test]
    fn window_is_aligned_to_its_size() {
        let at = |page: u64| Window::new(4 * PAGE, TABLE).around(page * PAGE);
        assert_eq!(at(16), around(0, 3 * PAGE));
        assert_eq!(at(17), around(PAGE, 2 * PAGE));
        assert_eq!(at(19), around(3 * PAGE, 0));
        let last = u64::MAX / PAGE;
        assert_eq!(at(last), around(3 * PAGE, 0));
    }

    #[test]
    fn window_of_one_page_is_the_page() {
        for address in [0, 17 * PAGE, u64::MAX - (PAGE - 1)] {
            assert_eq!(Window::new(PAGE, TABLE).around(address), Neighbours::NONE);
        }
    }

    #[test]
    fn within_is_what_is_on_both_sides() {
        let two = 2 * PAGE;
        assert_eq!(Neighbours::within(two, 0, 5 * PAGE - 1), around(two, two));
        assert_eq!(Neighbours::within(two, two, 3 * PAGE - 1), Neighbours::NONE);
        assert_eq!(
            Neighbours::within(two, 0, u64::MAX),
            around(two, u64::MAX - (3 * PAGE - 1))
        );
        let last = u64::MAX - (PAGE - 1);
        assert_eq!(Neighbours::within(last, last, u64::MAX), Neighbours::NONE);
    }

    #[test]
    fn within_what_does_not_hold_the_page_is_nothing() {
        assert_eq!(
            Neighbours::within(PAGE, PAGE + 1, 5 * PAGE),
            Neighbours::NONE
        );
        assert_eq!(Neighbours::within(PAGE, 0, 2 * PAGE - 2), Neighbours::NONE);
        assert_eq!(Neighbours::within(u64::MAX, 0, u64::MAX), Neighbours::NONE);
    }

    #[test]
    fn offsets_are_those_of_the_neighbours() {
        let back = |pages: u64| 0_u64.wrapping_sub(pages * PAGE);
        let mut offsets = around(2 * PAGE, PAGE).offsets();
        for offset in [back(2), back(1), PAGE] {
            assert_eq!(offsets.next(), Some(offset));
        }
        assert_eq!(offsets.next(), None);
        assert_eq!(Neighbours::NONE.offsets().next(), None);
    }

    #[test]
    fn min_takes_each_side_by_itself() {
        assert_eq!(around(1, 5).min(around(3, 2)), around(1, 2));
    }
}
