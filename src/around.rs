// SPDX-License-Identifier: GPL-2.0

//! Fault-around: which pages are mapped together with one that faulted.
//!
//! A fault costs far more than a page table entry. Whoever touches a page will
//! likely touch those around it, so these are mapped in the same fault: all in a
//! window of so many pages, aligned to its own size, but for what is outside of
//! the mapping, of the page's range or of its page table.

#![forbid(unsafe_code)]

/// How many pages, of whatever size, a fault maps.
///
/// # Invariants
///
/// A power of two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Window(u64);

impl Window {
    /// The largest that is not above `pages`, as the memory manager rounds its
    /// own `fault_around_bytes`. 0 and 1 are the page alone.
    pub(crate) fn new(pages: u32) -> Self {
        let order = pages.checked_ilog2().unwrap_or(0);
        // INVARIANT: A shifted one; the order is less than 32.
        Self(1 << order)
    }

    /// Whether there is more in it than the page.
    pub(crate) fn has_neighbours(self) -> bool {
        self.0 > 1
    }

    /// What of the window around the `page` bytes at `address` is in one page
    /// table, which maps `table` bytes. Both are powers of two, and `address` is
    /// a multiple of `page`.
    pub(crate) fn around(self, address: u64, page: u64, table: u64) -> Around {
        let bytes = self.0.saturating_mul(page).min(table);
        let before = address & bytes.saturating_sub(1);
        Around {
            before,
            behind: bytes.saturating_sub(page).saturating_sub(before),
        }
    }
}

/// Bytes before and behind a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Around {
    /// Bytes before it.
    pub(crate) before: u64,
    /// Bytes behind it.
    pub(crate) behind: u64,
}

impl Around {
    /// None.
    pub(crate) const NONE: Self = Self {
        before: 0,
        behind: 0,
    };

    /// What is around the `page` bytes at `address` from `start` to `last`, both
    /// included. Nothing if they are not in there.
    #[inline]
    pub(crate) fn within(address: u64, page: u64, start: u64, last: u64) -> Self {
        let around = || {
            let end = address.checked_add(page.checked_sub(1)?)?;
            Some(Self {
                before: address.checked_sub(start)?,
                behind: last.checked_sub(end)?,
            })
        };
        around().unwrap_or(Self::NONE)
    }

    /// Where the pages of `page` bytes in there begin, relative to the page in the
    /// middle, modulo 2^64; without that one.
    pub(crate) fn offsets(self, page: u64) -> impl Iterator<Item = u64> {
        let shift = page.checked_ilog2().unwrap_or(0);
        let first = 0_u64.wrapping_sub(self.before);
        (0..=self.before.saturating_add(self.behind) >> shift)
            .map(move |index| first.wrapping_add(index << shift))
            .filter(|offset| *offset != 0)
    }

    /// What is in both.
    pub(crate) fn min(self, other: Self) -> Self {
        Self {
            before: self.before.min(other.before),
            behind: self.behind.min(other.behind),
        }
    }
}

#[cfg(any(test, CONFIG_DEV_DAX_RUST_KUNIT_TEST))]
#[cfg_attr(not(test), crate::prelude::kunit_tests(dax_around))]
mod tests {
    use super::*;

    fn around(before: u64, behind: u64) -> Around {
        Around { before, behind }
    }

    #[test]
    fn window_is_rounded_down_to_a_power_of_two() {
        for (pages, rounded) in [(0, 1), (1, 1), (2, 2), (3, 2), (16, 16), (31, 16)] {
            assert_eq!(Window::new(pages), Window(rounded));
            assert_eq!(Window::new(pages).has_neighbours(), pages > 1);
        }
        assert_eq!(Window::new(u32::MAX), Window(1 << 31));
    }

    #[test]
    fn window_is_aligned_to_its_size() {
        let window = Window::new(4);
        let at = |address| window.around(address, 0x10, 0x1000);
        assert_eq!(at(0x100), around(0, 0x30));
        assert_eq!(at(0x110), around(0x10, 0x20));
        assert_eq!(at(0x130), around(0x30, 0));
        assert_eq!(at(u64::MAX - 0xf), around(0x30, 0));
    }

    #[test]
    fn window_of_one_page_is_the_page() {
        for address in [0, 0x110, u64::MAX - 0xf] {
            assert_eq!(Window::new(1).around(address, 0x10, 0x1000), Around::NONE);
        }
    }

    #[test]
    fn window_ends_with_the_page_table() {
        let huge = Window::new(u32::MAX);
        assert_eq!(huge.around(0x1010, 0x10, 0x1000), around(0x10, 0xfe0));
        assert_eq!(huge.around(0x1ff0, 0x10, 0x1000), around(0xff0, 0));
        // A page as large as what the table maps has none beside it.
        assert_eq!(huge.around(0x1000, 0x1000, 0x1000), Around::NONE);
        assert_eq!(
            huge.around(1 << 40, 1 << 30, 1 << 39),
            around(0, (1 << 39) - (1 << 30))
        );
    }

    #[test]
    fn within_is_what_is_on_both_sides() {
        assert_eq!(Around::within(0x20, 0x10, 0, 0x4f), around(0x20, 0x20));
        assert_eq!(Around::within(0x20, 0x10, 0x20, 0x2f), Around::NONE);
        assert_eq!(
            Around::within(0x20, 0x10, 0, u64::MAX),
            around(0x20, u64::MAX - 0x2f)
        );
        let last = u64::MAX - 0xf;
        assert_eq!(Around::within(last, 0x10, last, u64::MAX), Around::NONE);
    }

    #[test]
    fn within_what_does_not_hold_the_page_is_nothing() {
        assert_eq!(Around::within(0x20, 0x10, 0x21, 0x4f), Around::NONE);
        assert_eq!(Around::within(0x20, 0x10, 0, 0x2e), Around::NONE);
        assert_eq!(Around::within(u64::MAX, 2, 0, u64::MAX), Around::NONE);
        assert_eq!(Around::within(0x20, 0, 0, 0x4f), Around::NONE);
    }

    #[test]
    fn offsets_are_those_of_the_neighbours() {
        let back = |bytes: u64| 0_u64.wrapping_sub(bytes);
        let mut offsets = around(0x20, 0x10).offsets(0x10);
        for offset in [back(0x20), back(0x10), 0x10] {
            assert_eq!(offsets.next(), Some(offset));
        }
        assert_eq!(offsets.next(), None);
        assert_eq!(Around::NONE.offsets(0x10).next(), None);
    }

    #[test]
    fn min_takes_each_side_by_itself() {
        assert_eq!(around(1, 5).min(around(3, 2)), around(1, 2));
    }
}
