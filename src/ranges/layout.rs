// SPDX-License-Identifier: GPL-2.0

//! The ranges of a device, in page-offset order.
//!
//! C: `ranges` and `nr_range` of `struct dev_dax`. Each range owns the node that it needs
//! to become a hole of its region's
//! [`RangeAllocator`](crate::ranges::allocator::RangeAllocator), so freeing ranges needs no
//! memory.

use crate::{
    prelude::{
        warn_on,
        AllocError,
        KVVec,
        RBTreeNodeReservation,
        GFP_KERNEL, //
    },
    ranges::{
        neighbours::Neighbours,
        range::{
            usize_as_u64,
            Align,
            PgOff,
            PhysRange, //
        }, //
    }, //
};

/// A node of the tree of holes in a
/// [`RangeAllocator`](crate::ranges::allocator::RangeAllocator).
pub(crate) type NodeReservation = RBTreeNodeReservation<u64, u64>;

/// A range of a device, in the layout that C reads. C: `struct dev_dax_range`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct DevDaxRange {
    /// Page offset of the range in the device.
    pub(crate) pgoff: usize,
    /// First physical address.
    pub(crate) start: u64,
    /// Last physical address.
    pub(crate) last: u64,
    /// `struct dax_mapping *`. Always null: no user of the exported symbols reads it.
    pub(crate) mapping: usize,
}

impl DevDaxRange {
    /// Makes the entry of `range` at page offset `pgoff`. `None` if `pgoff` does not fit
    /// into a `usize`.
    fn new(pgoff: PgOff, range: PhysRange) -> Option<Self> {
        Some(Self {
            pgoff: usize::try_from(pgoff.pages()).ok()?,
            start: range.start(),
            last: range.last(),
            mapping: 0,
        })
    }

    /// The physical addresses. Never `None` for an entry of a [`Layout`].
    #[inline]
    pub(crate) fn range(&self) -> Option<PhysRange> {
        PhysRange::new(self.start, self.last)
    }

    /// The physical address of the `size` bytes at page `pgoff` of the device. `None` if
    /// they are not within this range.
    #[inline(always)]
    pub(crate) fn phys(&self, pgoff: u64, size: u64) -> Option<u64> {
        let offset = PgOff::new(pgoff).since(self.pgoff())?.bytes()?;
        let phys = self.start.checked_add(offset)?;
        let behind = self.last.checked_sub(phys)?;
        // No range has 2^64 bytes, so this does not wrap around.
        (size <= behind.wrapping_add(1)).then_some(phys)
    }

    /// How much of the range is before and behind the page at `phys`.
    pub(crate) fn around(&self, phys: u64) -> Neighbours {
        Neighbours::within(phys, self.start, self.last)
    }

    /// Size in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.range().map_or(0, |range| range.size())
    }

    /// Page offset of the first page after the range.
    pub(crate) fn end(&self) -> u64 {
        self.pgoff()
            .pages()
            .saturating_add(PgOff::of_byte(self.size()).pages())
    }

    /// Page offset of the range in the device.
    #[inline]
    pub(crate) const fn pgoff(&self) -> PgOff {
        PgOff::new(usize_as_u64(self.pgoff))
    }
}

/// The physical address of the `size` bytes at page `pgoff`. `None` if they are not within
/// one range. `entries` are those of a [`Layout`]. C: `dax_pgoff_to_phys()`.
pub(crate) fn pgoff_to_phys(entries: &[DevDaxRange], pgoff: u64, size: u64) -> Option<u64> {
    entry_at(entries, pgoff)?.phys(pgoff, size)
}

/// The only entry that may contain page `pgoff`: the last one that begins at or before it.
/// `entries` are those of a [`Layout`].
#[inline]
pub(crate) fn entry_at(entries: &[DevDaxRange], pgoff: u64) -> Option<&DevDaxRange> {
    let pgoff = PgOff::new(pgoff);
    // Most devices have one range.
    let last = entries.last()?;
    if last.pgoff() <= pgoff {
        return Some(last);
    }
    // Otherwise, all ranges but the last mostly have the same size. Guess the index for
    // that case, before searching.
    let before = usize_as_u64(entries.len().saturating_sub(1));
    let product = pgoff.pages().saturating_mul(before);
    let guess = usize::try_from(product.checked_div(last.pgoff().pages())?).ok()?;
    if let Some([entry, next]) = entries.get(guess..guess.saturating_add(2)) {
        if entry.pgoff() <= pgoff && pgoff < next.pgoff() {
            return Some(entry);
        }
    }
    let behind = entries.partition_point(|entry| entry.pgoff() <= pgoff);
    entries.get(behind.checked_sub(1)?)
}

/// The ranges of a device in page-offset order.
///
/// # Invariants
///
/// - The first entry has page offset 0, and each other one the page offset at which its
///   predecessor ends. All sizes are multiples of the page size.
/// - `nodes` has a node for each entry.
/// - `size` is the sum of the sizes.
pub(crate) struct Layout {
    entries: KVVec<DevDaxRange>,
    /// The nodes with which the ranges become holes again.
    nodes: KVVec<NodeReservation>,
    /// Size of all ranges in bytes.
    size: u64,
}

impl Layout {
    /// A layout without ranges.
    pub(crate) const fn new() -> Self {
        // INVARIANT: There are no entries and no nodes, and the sum of no sizes is 0.
        Self {
            entries: KVVec::new(),
            nodes: KVVec::new(),
            size: 0,
        }
    }

    /// The entries, in the layout that C reads. They may move when the layout changes or
    /// [`Layout::reserve`] is called.
    pub(crate) fn entries(&self) -> &[DevDaxRange] {
        &self.entries
    }

    /// The ranges in page-offset order.
    pub(crate) fn ranges(&self) -> impl DoubleEndedIterator<Item = PhysRange> + '_ {
        self.entries.iter().filter_map(DevDaxRange::range)
    }

    /// Number of ranges.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Size of all ranges in bytes. C: `dev_dax_size()`.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// The range with page offset 0.
    pub(crate) fn first(&self) -> Option<PhysRange> {
        self.entries.first()?.range()
    }

    /// The range with the highest page offset, which is the one that grows and shrinks.
    pub(crate) fn last(&self) -> Option<PhysRange> {
        self.entries.last()?.range()
    }

    /// Whether start, size and page offset of every range are multiples of `align`.
    /// C: `dev_dax_validate_align()`, which checks sizes only.
    pub(crate) fn is_aligned(&self, align: Align) -> bool {
        // A page offset is a sum of sizes, so it needs no check.
        self.ranges().all(|range| range.is_aligned(align))
    }

    /// Makes room for `additional` ranges. Changes nothing but the address of the entries.
    /// May sleep.
    ///
    /// # Errors
    ///
    /// `AllocError` if there is no memory.
    pub(crate) fn reserve(&mut self, additional: usize) -> Result<(), AllocError> {
        self.entries.reserve(additional, GFP_KERNEL)?;
        self.nodes.reserve(additional, GFP_KERNEL)
    }

    /// Appends `range` and returns its page offset.
    ///
    /// # Errors
    ///
    /// Returns `node` if no room was reserved, or if the size or page offset does
    /// not fit.
    pub(crate) fn push_reserved(
        &mut self,
        range: PhysRange,
        node: NodeReservation,
    ) -> Result<PgOff, NodeReservation> {
        let pgoff = PgOff::of_byte(self.size);
        let (Some(entry), Some(size)) = (
            DevDaxRange::new(pgoff, range),
            self.size.checked_add(range.size()),
        ) else {
            return Err(node);
        };
        if self.entries.push_within_capacity(entry).is_err() {
            return Err(node);
        }
        if let Err(e) = self.nodes.push_within_capacity(node) {
            self.entries.pop();
            return Err(e.0);
        }
        // INVARIANT: The entry and its node were added; so add the size.
        self.size = size;
        Ok(pgoff)
    }

    /// Replaces the last range by `range`, which has the same start.
    ///
    /// If there is no range, if the last one begins elsewhere, or if the size would not fit,
    /// that is a bug of the caller: warns, and changes nothing.
    pub(crate) fn set_last(&mut self, range: PhysRange) {
        let old = self.last().filter(|old| old.start() == range.start());
        let others = old.and_then(|old| self.size.checked_sub(old.size()));
        let size = others.and_then(|others| others.checked_add(range.size()));
        let (Some(entry), Some(size)) = (self.entries.last_mut(), size) else {
            warn_on!(true);
            return;
        };
        entry.start = range.start();
        entry.last = range.last();
        // INVARIANT: No page offset depends on the size of the last range.
        self.size = size;
    }

    /// Removes the last range and returns it with its node. `None` if there is no range.
    pub(crate) fn pop(&mut self) -> Option<(PhysRange, NodeReservation)> {
        let entry = self.entries.pop()?;
        let (Some(range), Some(node)) = (entry.range(), self.nodes.pop()) else {
            // By the invariants each entry has a range and a node.
            warn_on!(true);
            return None;
        };
        // INVARIANT: The entry and its node were removed; so subtract the size.
        self.size = self.size.saturating_sub(range.size());
        if self.entries.is_empty() {
            // This frees the memory of the lists.
            *self = Self::new();
        }
        Some((range, node))
    }
}

#[cfg(any(test, CONFIG_DEV_DAX_RUST_KUNIT_TEST))]
#[cfg_attr(not(test), crate::prelude::kunit_tests(dax_layout))]
mod tests {
    use super::*;
    use crate::prelude::Error;
    use crate::ranges::range::PAGE_SIZE;

    /// A layout of ranges, each given as (first page, number of pages).
    fn layout(ranges: &[(u64, u64)]) -> Result<Layout, Error> {
        let mut layout = Layout::new();
        layout.reserve(ranges.len())?;
        for (page, pages) in ranges {
            let range = PhysRange::with_size(page * PAGE_SIZE, pages * PAGE_SIZE);
            if let Some(range) = range {
                let _ = layout.push_reserved(range, NodeReservation::new(GFP_KERNEL)?);
            }
        }
        Ok(layout)
    }

    #[test]
    fn page_offsets_are_sums_of_sizes() -> Result<(), Error> {
        let layout = layout(&[(8, 2), (2, 4), (20, 1)])?;
        let pgoff = |index: usize| layout.entries().get(index).map(|e| e.pgoff().pages());
        assert_eq!(pgoff(0), Some(0));
        assert_eq!(pgoff(1), Some(2));
        assert_eq!(pgoff(2), Some(6));
        assert_eq!(layout.size(), 7 * PAGE_SIZE);
        assert_eq!(
            layout.first(),
            PhysRange::with_size(8 * PAGE_SIZE, 2 * PAGE_SIZE)
        );
        assert_eq!(
            layout.last(),
            PhysRange::with_size(20 * PAGE_SIZE, PAGE_SIZE)
        );
        Ok(())
    }

    #[test]
    fn pgoff_to_phys_stays_in_one_range() -> Result<(), Error> {
        let layout = layout(&[(8, 2), (2, 4)])?;
        let phys = |pgoff, pages| {
            pgoff_to_phys(layout.entries(), pgoff, pages * PAGE_SIZE).map(|a| a / PAGE_SIZE)
        };
        assert_eq!(phys(0, 1), Some(8));
        assert_eq!(phys(1, 1), Some(9));
        assert_eq!(phys(1, 2), None);
        assert_eq!(phys(2, 4), Some(2));
        assert_eq!(phys(2, 5), None);
        assert_eq!(phys(5, 1), Some(5));
        assert_eq!(phys(6, 1), None);
        assert_eq!(phys(u64::MAX, 1), None);
        assert_eq!(pgoff_to_phys(&[], 0, 1), None);
        Ok(())
    }

    #[test]
    fn entry_at_finds_what_a_walk_finds() -> Result<(), Error> {
        let even = [(0, 2), (10, 2), (20, 2), (30, 2), (40, 5)];
        let uneven = [(0, 1), (10, 6), (20, 1), (30, 1), (40, 3)];
        for ranges in [
            &even[..],
            &even[..2],
            &uneven[..],
            &uneven[1..3],
            &uneven[1..],
        ] {
            let layout = layout(ranges)?;
            for pgoff in 0..16 {
                let walk = layout
                    .entries()
                    .iter()
                    .rfind(|entry| entry.pgoff().pages() <= pgoff);
                assert_eq!(entry_at(layout.entries(), pgoff), walk);
            }
        }
        assert_eq!(entry_at(&[], 0), None);
        Ok(())
    }

    #[test]
    fn around_is_what_the_range_has_beside_the_page() -> Result<(), Error> {
        let layout = layout(&[(8, 2), (2, 4)])?;
        let around = |pgoff| {
            let entry = entry_at(layout.entries(), pgoff)?;
            let around = entry.around(entry.phys(pgoff, PAGE_SIZE)?);
            Some((around.before / PAGE_SIZE, around.behind / PAGE_SIZE))
        };
        assert_eq!(around(0), Some((0, 1)));
        assert_eq!(around(1), Some((1, 0)));
        assert_eq!(around(2), Some((0, 3)));
        assert_eq!(around(5), Some((3, 0)));
        assert_eq!(around(6), None);
        Ok(())
    }

    #[test]
    fn entry_has_size_and_end() -> Result<(), Error> {
        let layout = layout(&[(8, 2), (2, 4)])?;
        let sizes = |entry: &DevDaxRange| (entry.size() / PAGE_SIZE, entry.end());
        let mut entries = layout.entries().iter().map(sizes);
        assert_eq!(entries.next(), Some((2, 2)));
        assert_eq!(entries.next(), Some((4, 6)));
        assert_eq!(entries.next(), None);
        Ok(())
    }

    #[test]
    fn is_aligned_looks_at_start_size_and_offset() -> Result<(), Error> {
        let two = Align::new(2 * PAGE_SIZE).unwrap_or(Align::PAGE);
        assert!(layout(&[])?.is_aligned(two));
        assert!(layout(&[(8, 2), (2, 4)])?.is_aligned(two));
        assert!(!layout(&[(8, 2), (3, 4)])?.is_aligned(two));
        assert!(!layout(&[(8, 2), (2, 3)])?.is_aligned(two));
        assert!(!layout(&[(8, 1), (3, 1), (4, 2)])?.is_aligned(two));
        Ok(())
    }

    #[test]
    fn push_without_room_changes_nothing() -> Result<(), Error> {
        let mut layout = Layout::new();
        let pushed = match PhysRange::with_size(0, PAGE_SIZE) {
            Some(range) => layout
                .push_reserved(range, NodeReservation::new(GFP_KERNEL)?)
                .is_ok(),
            None => true,
        };
        assert!(!pushed);
        assert_eq!(layout.len(), 0);
        assert_eq!(layout.size(), 0);
        Ok(())
    }

    #[test]
    fn set_last_and_pop_keep_the_size() -> Result<(), Error> {
        let mut layout = layout(&[(8, 2), (2, 4)])?;
        if let Some(range) = PhysRange::with_size(2 * PAGE_SIZE, PAGE_SIZE) {
            layout.set_last(range);
        }
        assert_eq!(layout.size(), 3 * PAGE_SIZE);
        assert!(layout.pop().is_some());
        assert_eq!(layout.size(), 2 * PAGE_SIZE);
        assert!(layout.pop().is_some());
        assert!(layout.pop().is_none());
        assert_eq!(layout.size(), 0);
        Ok(())
    }
}
