// SPDX-License-Identifier: GPL-2.0

//! Physical ranges, alignments and page offsets: all arithmetic on addresses.
//!
//! Addresses and sizes are bytes in a `u64`; page offsets are [`PgOff`]. A result that does
//! not fit is `None`; nothing wraps around or panics.

pub(crate) use crate::prelude::PAGE_SHIFT;

/// Size of a page in bytes.
pub(crate) const PAGE_SIZE: u64 = 1 << PAGE_SHIFT;

/// Converts without loss. The standard library has no `From` for this.
#[inline(always)]
pub(crate) const fn usize_as_u64(value: usize) -> u64 {
    // CAST: No machine that Linux runs on has a `usize` wider than `u64`.
    value as u64
}

/// The physical addresses from `start` to `last`, both included. C: `struct range`.
///
/// # Invariants
///
/// - `start <= last`: a range is never empty.
/// - The range is not the whole 64-bit address space, so its size fits into a `u64`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PhysRange {
    /// First address.
    start: u64,
    /// Last address.
    last: u64,
}

impl PhysRange {
    /// The range from `start` to `last`. `None` if it would be empty or the whole address
    /// space.
    pub(crate) const fn new(start: u64, last: u64) -> Option<Self> {
        if start > last || (start == 0 && last == u64::MAX) {
            return None;
        }
        // INVARIANT: Both were checked just now.
        Some(Self { start, last })
    }

    /// The range of `size` bytes at `start`. `None` if it would be empty, the whole address
    /// space, or beyond its end.
    pub(crate) const fn with_size(start: u64, size: u64) -> Option<Self> {
        let Some(above) = size.checked_sub(1) else {
            return None;
        };
        match start.checked_add(above) {
            Some(last) => Self::new(start, last),
            None => None,
        }
    }

    /// First address.
    pub(crate) const fn start(&self) -> u64 {
        self.start
    }

    /// Last address, inclusive.
    pub(crate) const fn last(&self) -> u64 {
        self.last
    }

    /// Size in bytes, at least one. C: `range_len()`.
    pub(crate) const fn size(&self) -> u64 {
        // By the invariants neither operation wraps around.
        self.last.wrapping_sub(self.start).wrapping_add(1)
    }

    /// Whether all of `other` is within this range.
    pub(crate) const fn contains(&self, other: &Self) -> bool {
        self.start <= other.start && other.last <= self.last
    }

    /// Whether the ranges have an address in common.
    pub(crate) const fn overlaps(&self, other: &Self) -> bool {
        self.start <= other.last && other.start <= self.last
    }

    /// Whether this range starts right after `other`.
    pub(crate) fn follows(&self, other: &Self) -> bool {
        other.last.checked_add(1) == Some(self.start)
    }

    /// Whether start and size are multiples of `align`.
    pub(crate) const fn is_aligned(&self, align: Align) -> bool {
        align.is_aligned(self.start) && align.is_aligned(self.size())
    }

    /// The largest part whose start and size are multiples of `align`, if there is one.
    pub(crate) fn aligned_part(&self, align: Align) -> Option<Self> {
        let start = align.round_up(self.start)?;
        let last = match self.last.checked_add(1) {
            Some(end) => align.round_down(end).checked_sub(1)?,
            // The end of the address space is aligned to every power of two.
            None => self.last,
        };
        Self::new(start, last)
    }

    /// The first `size` bytes; the whole range if it is smaller. `None` if `size` is 0.
    pub(crate) fn first_bytes(&self, size: u64) -> Option<Self> {
        Self::with_size(self.start, size.min(self.size()))
    }

    /// The range in pieces of `size` bytes, in ascending order; the last one may be smaller.
    /// No pieces if `size` is 0.
    pub(crate) fn chunks(self, size: u64) -> impl Iterator<Item = Self> {
        let mut rest = Some(self);
        core::iter::from_fn(move || {
            let chunk = rest?.first_bytes(size)?;
            rest = rest?.part_above(&chunk);
            Some(chunk)
        })
    }

    /// The part of this range below `other`, if any.
    pub(crate) fn part_below(&self, other: &Self) -> Option<Self> {
        Self::new(self.start, self.last.min(other.start.checked_sub(1)?))
    }

    /// The part of this range above `other`, if any.
    pub(crate) fn part_above(&self, other: &Self) -> Option<Self> {
        Self::new(self.start.max(other.last.checked_add(1)?), self.last)
    }

    /// This range and `next` as one range. `None` if `next` does not follow this range.
    pub(crate) fn joined(&self, next: &Self) -> Option<Self> {
        if !next.follows(self) {
            return None;
        }
        Self::new(self.start, next.last)
    }

    /// The smallest range that contains both. `None` if that is the whole address space.
    pub(crate) fn hull(&self, other: &Self) -> Option<Self> {
        Self::new(self.start.min(other.start), self.last.max(other.last))
    }
}

/// An alignment in bytes.
///
/// # Invariants
///
/// A power of two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Align(u64);

impl Align {
    /// The smallest alignment of ranges: one page.
    // INVARIANT: 1 shifted is a power of two.
    pub(crate) const PAGE: Self = Self(PAGE_SIZE);

    /// An alignment of `bytes` bytes. `None` if that is not a power of two.
    pub(crate) const fn new(bytes: u64) -> Option<Self> {
        if !bytes.is_power_of_two() {
            return None;
        }
        // INVARIANT: `bytes` is a power of two, as just checked.
        Some(Self(bytes))
    }

    /// The alignment in bytes.
    pub(crate) const fn bytes(self) -> u64 {
        self.0
    }

    /// The bits that are zero in every multiple.
    const fn mask(self) -> u64 {
        // By the invariant this does not wrap around.
        self.0.wrapping_sub(1)
    }

    /// Whether `value` is a multiple of the alignment. C: `IS_ALIGNED()`.
    pub(crate) const fn is_aligned(self, value: u64) -> bool {
        value & self.mask() == 0
    }

    /// The smallest multiple that is at least `value`. `None` if that does not fit.
    /// C: `ALIGN()`.
    pub(crate) fn round_up(self, value: u64) -> Option<u64> {
        Some(self.round_down(value.checked_add(self.mask())?))
    }

    /// The largest multiple that is at most `value`. C: `ALIGN_DOWN()`.
    pub(crate) const fn round_down(self, value: u64) -> u64 {
        value & !self.mask()
    }

    /// The larger of the two alignments. Its multiples are multiples of both.
    pub(crate) fn max(self, other: Self) -> Self {
        if self.0 < other.0 {
            other
        } else {
            self
        }
    }
}

/// An offset in a device, in pages of `PAGE_SIZE`. C: `pgoff_t`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct PgOff(u64);

impl PgOff {
    /// The page offset of that many pages.
    pub(crate) const fn new(pages: u64) -> Self {
        Self(pages)
    }

    /// The offset of the page that contains byte `bytes` of the device. C: `PHYS_PFN()`.
    pub(crate) const fn of_byte(bytes: u64) -> Self {
        Self(bytes >> PAGE_SHIFT)
    }

    /// The offset in pages.
    pub(crate) const fn pages(self) -> u64 {
        self.0
    }

    /// The offset in bytes.
    #[inline]
    pub(crate) fn bytes(self) -> Option<u64> {
        self.0.checked_mul(PAGE_SIZE)
    }

    /// The distance from `origin` to this offset. `None` if `origin` is the larger one.
    #[inline]
    pub(crate) fn since(self, origin: Self) -> Option<Self> {
        Some(Self(self.0.checked_sub(origin.0)?))
    }
}

#[cfg(any(test, CONFIG_DEV_DAX_RUST_KUNIT_TEST))]
#[cfg_attr(not(test), crate::prelude::kunit_tests(dax_range))]
mod tests {
    use super::*;

    fn range(start: u64, last: u64) -> Option<PhysRange> {
        PhysRange::new(start, last)
    }

    fn align(bytes: u64) -> Align {
        Align::new(bytes).unwrap_or(Align::PAGE)
    }

    #[test]
    fn range_empty_or_everything_is_none() {
        assert!(range(1, 0).is_none());
        assert!(range(0, u64::MAX).is_none());
        assert!(range(0, u64::MAX - 1).is_some());
        assert!(range(1, u64::MAX).is_some());
        assert!(PhysRange::with_size(0, 0).is_none());
        assert!(PhysRange::with_size(2, u64::MAX).is_none());
        assert_eq!(PhysRange::with_size(1, u64::MAX), range(1, u64::MAX));
        assert_eq!(range(5, 5).map(|r| r.size()), Some(1));
        assert_eq!(range(1, u64::MAX).map(|r| r.size()), Some(u64::MAX));
    }

    #[test]
    fn aligned_part_at_the_ends_of_the_address_space() {
        let part = |start, last, bytes| range(start, last)?.aligned_part(align(bytes));
        assert_eq!(part(1, u64::MAX, 4096), range(4096, u64::MAX));
        assert_eq!(part(0, u64::MAX - 1, 4096), range(0, u64::MAX - 4096));
        assert_eq!(part(0, 4094, 4096), None);
        assert_eq!(part(u64::MAX - 4094, u64::MAX, 4096), None);
        assert_eq!(part(1, 8190, 4096), None);
        assert_eq!(part(1, 8191, 4096), range(4096, 8191));
    }

    #[test]
    fn parts_below_and_above() {
        let parts = |a: Option<PhysRange>, b: Option<PhysRange>| {
            let (a, b) = (a?, b?);
            Some((a.part_below(&b), a.part_above(&b)))
        };
        assert_eq!(
            parts(range(10, 19), range(12, 15)),
            Some((range(10, 11), range(16, 19)))
        );
        assert_eq!(parts(range(10, 19), range(10, 19)), Some((None, None)));
        assert_eq!(parts(range(0, 9), range(0, 3)), Some((None, range(4, 9))));
    }

    #[test]
    fn align_is_a_power_of_two() {
        assert!(Align::new(0).is_none());
        assert!(Align::new(3).is_none());
        assert_eq!(align(1).round_up(u64::MAX), Some(u64::MAX));
        assert_eq!(align(4096).round_up(u64::MAX), None);
        assert_eq!(align(4096).round_up(4097), Some(8192));
        assert_eq!(align(4096).round_down(4095), 0);
        assert_eq!(align(2).max(align(8)), align(8));
        assert_eq!(align(8).max(align(2)), align(8));
    }

    #[test]
    fn page_offset_counts_pages() {
        assert_eq!(PgOff::new(2).bytes(), Some(2 * PAGE_SIZE));
        assert_eq!(PgOff::new(u64::MAX).bytes(), None);
        assert_eq!(PgOff::of_byte(PAGE_SIZE - 1), PgOff::new(0));
    }
}
