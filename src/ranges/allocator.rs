// SPDX-License-Identifier: GPL-2.0

//! The holes of a region, and changes of the ranges of its devices.
//!
//! C: the children of `dax_region.res`, `dev_dax_resize()`, `dev_dax_shrink()`,
//! `alloc_dev_dax_range()` and `adjust_dev_dax_range()`.
//!
//! A shrink is made at once. A device gains memory in two steps, so that the caller can do
//! work in between that may fail and must not hold the region lock:
//!
//! ```text
//! RangeAllocator::grow()   \
//!                           > Reservation -> commit() or cancel()
//! RangeAllocator::append() /
//! ```
//!
//! The first step makes all checks and allocations, and takes the memory out of the holes.
//! `commit` and `cancel` cannot fail. The caller excludes other changes of the layout from
//! the first step until the last one (ranges lock), and other users of the allocator during
//! each step (region lock).
//!
//! Differences from C: a new range starts and ends at a multiple of the granule, which the
//! caller passes as `granule`, and a change is made in full or not at all.

use crate::{
    prelude::{
        warn_on,
        AllocError,
        Error,
        KVVec,
        RBTree,
        EBUSY,
        EINVAL,
        ENOMEM,
        ENOSPC,
        ERANGE,
        GFP_KERNEL, //
    },
    ranges::{
        layout::{
            Layout,
            NodeReservation, //
        },
        range::{
            Align,
            PgOff,
            PhysRange, //
        }, //
    }, //
};

/// A change of a device's ranges that the user asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change<'a> {
    /// Grow or shrink to this size in bytes.
    Resize(u64),
    /// Append exactly these ranges, in this order.
    Append(&'a [PhysRange]),
}

impl Change<'_> {
    /// Checks that the parameters are multiples of `granule`.
    ///
    /// # Errors
    ///
    /// `Misaligned` or `MisalignedRange` if one is not.
    pub(crate) fn check_aligned(&self, granule: Align) -> Result<(), RangeError> {
        match self {
            Self::Resize(size) if granule.is_aligned(*size) => Ok(()),
            Self::Resize(_) => Err(RangeError::Misaligned),
            Self::Append(ranges) => match ranges.iter().find(|range| !range.is_aligned(granule)) {
                None => Ok(()),
                Some(range) => Err(RangeError::MisalignedRange(*range)),
            },
        }
    }
}

/// Why a change is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RangeError {
    /// The new size or the current size is not a multiple of the granule.
    Misaligned,
    /// Start or size of this range is not a multiple of the granule.
    MisalignedRange(PhysRange),
    /// This range is not within the region.
    OutOfRegion(PhysRange),
    /// A part of this range is not free.
    Overlap(PhysRange),
    /// The region has not enough free memory, or not enough of it in aligned pieces.
    NoSpace,
    /// An allocation failed.
    NoMemory,
}

impl From<RangeError> for Error {
    fn from(e: RangeError) -> Self {
        match e {
            RangeError::Misaligned | RangeError::MisalignedRange(_) => EINVAL,
            RangeError::OutOfRegion(_) => ERANGE,
            RangeError::Overlap(_) => EBUSY,
            RangeError::NoSpace => ENOSPC,
            RangeError::NoMemory => ENOMEM,
        }
    }
}

impl From<AllocError> for RangeError {
    fn from(_: AllocError) -> Self {
        Self::NoMemory
    }
}

/// The holes of a region.
///
/// # Invariants
///
/// - `holes` maps the last address of each hole to its first. All holes are within `span`,
///   and no two holes overlap or touch.
/// - `free` is the sum of the sizes of the holes.
pub(crate) struct RangeAllocator {
    /// The addresses of the region.
    span: PhysRange,
    /// The key is the last address. So only the lower bound of an address can be the hole that
    /// contains it, and taking the front of a hole, as growth mostly does, keeps its key.
    holes: RBTree<u64, u64>,
    /// Free bytes.
    free: u64,
}

impl RangeAllocator {
    /// Makes an allocator with all of `span` free. May sleep.
    ///
    /// # Errors
    ///
    /// `AllocError` if there is no memory.
    pub(crate) fn new(span: PhysRange) -> Result<Self, AllocError> {
        let node = new_node()?;
        let mut holes = RBTree::new();
        holes.insert(node.into_node(span.last(), span.start()));
        // INVARIANT: There is one hole, which is all of `span`.
        Ok(Self {
            span,
            holes,
            free: span.size(),
        })
    }

    #[cfg(test)]
    pub(crate) fn span(&self) -> PhysRange {
        self.span
    }

    /// Free bytes. C: `dax_region_avail_size()`.
    pub(crate) fn available(&self) -> u64 {
        self.free
    }

    /// The holes, in ascending order.
    pub(crate) fn holes(&self) -> impl Iterator<Item = PhysRange> + '_ {
        let holes = self.holes.iter();
        holes.filter_map(|(last, first)| PhysRange::new(*first, *last))
    }

    /// The lowest hole that has an address of at least `addr`.
    fn hole_from(&self, addr: u64) -> Option<PhysRange> {
        let cursor = self.holes.cursor_lower_bound(&addr)?;
        let (last, first) = cursor.current();
        PhysRange::new(*first, *last)
    }

    /// The hole that contains all of `range`.
    fn hole_around(&self, range: &PhysRange) -> Option<PhysRange> {
        self.hole_from(range.last())
            .filter(|hole| hole.contains(range))
    }

    /// Parts of holes, aligned to `granule`, that add up to `wanted` bytes, in ascending
    /// order. They add up to less if the holes have less.
    fn pieces(&self, wanted: u64, granule: Align) -> impl Iterator<Item = PhysRange> + '_ {
        let mut usable = self
            .holes()
            .filter_map(move |hole| hole.aligned_part(granule));
        let mut wanted = wanted;
        core::iter::from_fn(move || {
            if wanted == 0 {
                return None;
            }
            let range = usable.next()?.first_bytes(wanted)?;
            wanted = wanted.saturating_sub(range.size());
            Some(range)
        })
    }

    /// Reserves what a device needs to grow to `new_size` bytes; nothing if it has that
    /// size. May sleep. C: `dev_dax_resize()`.
    ///
    /// The lowest holes are used first. If the first of them follows the last range of the
    /// device, that range is extended.
    ///
    /// # Errors
    ///
    /// `Misaligned` if the new or the current size is, `NoSpace`, `NoMemory`.
    pub(crate) fn grow(
        &mut self,
        layout: &mut Layout,
        new_size: u64,
        granule: Align,
    ) -> Result<Reservation, RangeError> {
        let granule = granule.max(Align::PAGE);
        check_sizes(layout, new_size, granule)?;
        let wanted = new_size.saturating_sub(layout.size());
        // Check that there is enough before allocating anything.
        let (mut found, mut count) = (0_u64, 0_usize);
        if wanted <= self.free {
            for range in self.pieces(wanted, granule) {
                found = found.saturating_add(range.size());
                count = count.saturating_add(1);
            }
        }
        if found != wanted {
            return Err(RangeError::NoSpace);
        }
        let mut ranges = KVVec::new();
        ranges.reserve(count, GFP_KERNEL)?;
        for range in self.pieces(wanted, granule) {
            ranges.push(range, GFP_KERNEL)?;
        }
        let extended = match (layout.last(), ranges.first()) {
            (Some(last), Some(next)) => last.joined(next),
            _ => None,
        };
        self.reserve(layout, &ranges, extended)
    }

    /// Reserves exactly `ranges`, to append them in this order, each as a new range even if
    /// it follows the one before. May sleep. C: `alloc_dev_dax_range()`.
    ///
    /// # Errors
    ///
    /// `MisalignedRange` if a range is misaligned, `Misaligned` if the current size is;
    /// `OutOfRegion`, `Overlap`, `NoMemory`; `NoSpace` if the new size is too large for page
    /// offsets.
    pub(crate) fn append(
        &mut self,
        layout: &mut Layout,
        ranges: &[PhysRange],
        granule: Align,
    ) -> Result<Reservation, RangeError> {
        let granule = granule.max(Align::PAGE);
        let mut new_size = Some(layout.size());
        for range in ranges {
            if !range.is_aligned(granule) {
                return Err(RangeError::MisalignedRange(*range));
            }
            if !self.span.contains(range) {
                return Err(RangeError::OutOfRegion(*range));
            }
            new_size = new_size.and_then(|size| size.checked_add(range.size()));
        }
        check_sizes(layout, new_size.ok_or(RangeError::NoSpace)?, granule)?;
        self.reserve(layout, ranges, None)
    }

    /// Takes `ranges` out of the holes, and makes room for them in `layout`.
    fn reserve(
        &mut self,
        layout: &mut Layout,
        ranges: &[PhysRange],
        extended: Option<PhysRange>,
    ) -> Result<Reservation, RangeError> {
        // INVARIANT: Nothing is taken yet. If the last range is to be extended, the caller made
        // `extended` of that range and the first of `ranges`.
        let mut reservation = Reservation {
            base: layout.size(),
            extended,
            taken: KVVec::new(),
        };
        let old = usize::from(extended.is_some());
        layout.reserve(ranges.len().saturating_sub(old))?;
        reservation.taken.reserve(ranges.len(), GFP_KERNEL)?;
        for range in ranges {
            let taken = self.take(range).and_then(|node| {
                // INVARIANT: The range was taken out of its hole just now.
                let pushed = reservation.taken.push_within_capacity((*range, node));
                pushed.map_err(|full| {
                    // There is room, see above.
                    warn_on!(true);
                    let (range, node) = full.0;
                    self.give(range, node);
                    RangeError::NoMemory
                })
            });
            if let Err(e) = taken {
                reservation.cancel(self);
                return Err(e);
            }
        }
        Ok(reservation)
    }

    /// Shrinks a device to `new_size` bytes; nothing changes if the device is not larger.
    /// May sleep. C: `dev_dax_shrink()`.
    ///
    /// Removes whole ranges from the end of the device, calls `removed` for each with its
    /// index, then cuts the last one that is kept. Returns that one if it was cut.
    ///
    /// # Errors
    ///
    /// `Misaligned` if the new or the current size is, `NoMemory` if a range is to be cut.
    /// Nothing changes then.
    pub(crate) fn shrink(
        &mut self,
        layout: &mut Layout,
        new_size: u64,
        granule: Align,
        mut removed: impl FnMut(usize, PhysRange),
    ) -> Result<Option<PhysRange>, RangeError> {
        check_sizes(layout, new_size, granule.max(Align::PAGE))?;
        let mut excess = layout.size().saturating_sub(new_size);
        let (mut count, mut cut) = (0_usize, None);
        for range in layout.ranges().rev() {
            if excess == 0 {
                break;
            }
            let kept = range.size().checked_sub(excess);
            if let Some(kept) = kept.and_then(|kept| range.first_bytes(kept)) {
                cut = Some((kept, new_node()?));
                break;
            }
            count = count.saturating_add(1);
            excess = excess.saturating_sub(range.size());
        }
        for _ in 0..count {
            if let Some((range, node)) = layout.pop() {
                removed(layout.len(), range);
                self.give(range, node);
            }
        }
        let (Some((kept, node)), Some(old)) = (cut, layout.last()) else {
            return Ok(None);
        };
        layout.set_last(kept);
        if let Some(range) = old.part_above(&kept) {
            self.give(range, node);
        }
        Ok(Some(kept))
    }

    /// Frees all ranges of a device that is gone, last one first, and calls `removed` for
    /// each with its index.
    pub(crate) fn release_all(
        &mut self,
        layout: &mut Layout,
        mut removed: impl FnMut(usize, PhysRange),
    ) {
        while let Some((range, node)) = layout.pop() {
            removed(layout.len(), range);
            self.give(range, node);
        }
    }

    /// Takes `range` out of the hole that contains it. Returns the node with which it
    /// becomes a hole again. The rest of the hole stays free, as one hole or two.
    ///
    /// # Errors
    ///
    /// `Overlap` if `range` is not free, `NoMemory`. Nothing changes then.
    fn take(&mut self, range: &PhysRange) -> Result<NodeReservation, RangeError> {
        let hole = self.hole_around(range);
        let hole = hole.ok_or(RangeError::Overlap(*range))?;
        // Allocate all nodes before anything changes. The node of the hole is used again.
        let node = match (hole.part_below(range), hole.part_above(range)) {
            (None, None) => self.remove_hole(&hole).ok_or(RangeError::NoMemory)?,
            (None, Some(above)) => {
                let node = new_node()?;
                self.move_start(&above);
                node
            }
            (Some(below), None) => {
                let node = new_node()?;
                if let Some(old) = self.remove_hole(&hole) {
                    self.insert_hole(&below, old);
                }
                node
            }
            (Some(below), Some(above)) => {
                let (for_below, node) = (new_node()?, new_node()?);
                self.move_start(&above);
                self.insert_hole(&below, for_below);
                node
            }
        };
        // INVARIANT: `range` is in no hole any more, and the rest of its hole is in one or two.
        self.free = self.free.saturating_sub(range.size());
        Ok(node)
    }

    /// Makes `range` a hole, merged with the holes beside it. Uses `node` only if there is
    /// no hole beside it.
    ///
    /// If `range` is already free or not within the region, that is a bug. Warn, and leak
    /// the range: handing it out twice would be worse.
    fn give(&mut self, range: PhysRange, node: NodeReservation) {
        let above = self.hole_from(range.start());
        if warn_on!(above.is_some_and(|hole| hole.overlaps(&range)) || !self.span.contains(&range))
        {
            return;
        }
        let above = above.filter(|hole| hole.follows(&range));
        let below = self.hole_before(&range);
        let joined = below
            .and_then(|below| below.joined(&range))
            .unwrap_or(range);
        let below = below.and_then(|below| self.remove_hole(&below));
        // INVARIANT: The range and the holes beside it become one hole.
        match above.and_then(|above| joined.joined(&above)) {
            Some(joined) => self.move_start(&joined),
            None => self.insert_hole(&joined, below.unwrap_or(node)),
        }
        self.free = self.free.saturating_add(range.size());
    }

    /// The hole that ends right before `range`.
    fn hole_before(&self, range: &PhysRange) -> Option<PhysRange> {
        let last = range.start().checked_sub(1)?;
        PhysRange::new(*self.holes.get(&last)?, last)
    }

    /// Inserts `hole` into the tree of holes.
    fn insert_hole(&mut self, hole: &PhysRange, node: NodeReservation) {
        self.holes.insert(node.into_node(hole.last(), hole.start()));
    }

    /// Removes `hole` from the tree of holes and returns its node. Warns if there is no such
    /// hole.
    fn remove_hole(&mut self, hole: &PhysRange) -> Option<NodeReservation> {
        let node = self.holes.remove_node(&hole.last());
        // The callers have just found the hole.
        warn_on!(node.is_none());
        node.map(|node| node.into_reservation())
    }

    /// Moves the start of a hole to that of `hole`, which ends where the hole ends.
    fn move_start(&mut self, hole: &PhysRange) {
        match self.holes.get_mut(&hole.last()) {
            Some(start) => *start = hole.start(),
            // The callers have just found the hole.
            None => {
                warn_on!(true);
            }
        }
    }
}

/// Allocates a node of the tree of holes. May sleep.
fn new_node() -> Result<NodeReservation, AllocError> {
    NodeReservation::new(GFP_KERNEL).map_err(|_| AllocError)
}

/// Checks the current and the new size of a device.
///
/// # Errors
///
/// `Misaligned` if one is not a multiple of `granule`; `NoSpace` if the page offset of some
/// page does not fit into a `usize`.
fn check_sizes(layout: &Layout, new_size: u64, granule: Align) -> Result<(), RangeError> {
    if !granule.is_aligned(new_size) || !granule.is_aligned(layout.size()) {
        return Err(RangeError::Misaligned);
    }
    let pages = usize::try_from(PgOff::of_byte(new_size).pages());
    pages.map(drop).map_err(|_| RangeError::NoSpace)
}

/// Memory that is neither in a hole nor in a device yet. The caller passes it to
/// [`Reservation::commit`] or [`Reservation::cancel`].
///
/// # Invariants
///
/// - The ranges in `taken` are taken out of the holes, and are in no layout.
/// - `extended`, if any, is the last range of the layout joined with the first of `taken`.
#[must_use]
pub(crate) struct Reservation {
    /// Size in bytes of the layout that this was made for.
    base: u64,
    /// The new last range of the layout, if growth extends the old one.
    extended: Option<PhysRange>,
    /// The memory in page-offset order, with the nodes with which it becomes holes again.
    taken: KVVec<(PhysRange, NodeReservation)>,
}

impl Reservation {
    /// Whether nothing is reserved, because the device has the wanted size.
    pub(crate) fn is_empty(&self) -> bool {
        self.taken.is_empty()
    }

    /// The new last range of the device, if growth extends the old one.
    pub(crate) fn extended(&self) -> Option<PhysRange> {
        self.extended
    }

    /// All memory that the device gains, in page-offset order.
    pub(crate) fn memory(&self) -> impl Iterator<Item = PhysRange> + Clone + '_ {
        self.taken.iter().map(|(range, _)| *range)
    }

    /// The new ranges with their page offsets, in that order. Does not include the memory
    /// by which the last range is extended.
    pub(crate) fn added(&self) -> impl Iterator<Item = (PgOff, PhysRange)> + '_ {
        let mut next = self.base;
        let all = self.taken.iter().map(move |(range, _)| {
            let pgoff = PgOff::of_byte(next);
            next = next.saturating_add(range.size());
            (pgoff, *range)
        });
        all.skip(usize::from(self.extended.is_some()))
    }

    /// Gives the memory to the device with this `layout`.
    ///
    /// If `layout` was changed since, that is a bug of the caller: warns, frees the memory
    /// and changes nothing.
    pub(crate) fn commit(mut self, allocator: &mut RangeAllocator, layout: &mut Layout) {
        if warn_on!(layout.size() != self.base) {
            self.cancel(allocator);
            return;
        }
        // INVARIANT: Nothing is left in `taken`, and nothing is extended any more.
        let mut extended = self.extended.take();
        for (range, node) in core::mem::replace(&mut self.taken, KVVec::new()) {
            if let Some(extended) = extended.take() {
                layout.set_last(extended);
            } else if let Err(node) = layout.push_reserved(range, node) {
                // `RangeAllocator::reserve` made room.
                warn_on!(true);
                allocator.give(range, node);
            }
        }
    }

    /// Frees the memory again. The holes around it may have changed since.
    pub(crate) fn cancel(mut self, allocator: &mut RangeAllocator) {
        while let Some((range, node)) = self.taken.pop() {
            // INVARIANT: The range becomes a hole, and is not in `taken` any more.
            allocator.give(range, node);
        }
    }
}

impl Drop for Reservation {
    /// Warns if the memory is leaked.
    fn drop(&mut self) {
        warn_on!(!self.taken.is_empty());
    }
}

#[cfg(any(test, CONFIG_DEV_DAX_RUST_KUNIT_TEST))]
#[cfg_attr(not(test), crate::prelude::kunit_tests(dax_allocator))]
mod tests {
    use super::*;

    const PAGE: u64 = Align::PAGE.bytes();

    /// The range of pages `first` to `last`.
    fn pages(first: u64, last: u64) -> Result<PhysRange, Error> {
        PhysRange::new(first * PAGE, last * PAGE + (PAGE - 1)).ok_or(EINVAL)
    }

    fn align(pages: u64) -> Align {
        Align::new(pages * PAGE).unwrap_or(Align::PAGE)
    }

    /// A region of pages 16 to 31, and two devices without ranges.
    fn region() -> Result<(RangeAllocator, Layout, Layout), Error> {
        Ok((
            RangeAllocator::new(pages(16, 31)?)?,
            Layout::new(),
            Layout::new(),
        ))
    }

    fn resize(
        allocator: &mut RangeAllocator,
        layout: &mut Layout,
        count: u64,
        unit: u64,
    ) -> Result<(), RangeError> {
        let (size, align) = (count * PAGE, align(unit));
        if size < layout.size() {
            allocator.shrink(layout, size, align, |_, _| {})?;
        } else {
            let reservation = allocator.grow(layout, size, align)?;
            reservation.commit(allocator, layout);
        }
        Ok(())
    }

    fn take_exact(
        allocator: &mut RangeAllocator,
        layout: &mut Layout,
        range: PhysRange,
        align: Align,
    ) -> Result<(), RangeError> {
        let reservation = allocator.append(layout, &[range], align)?;
        reservation.commit(allocator, layout);
        Ok(())
    }

    fn is(ranges: impl Iterator<Item = PhysRange>, expected: &[(u64, u64)]) -> bool {
        ranges
            .map(|range| (range.start() / PAGE, range.last() / PAGE))
            .eq(expected.iter().copied())
    }

    #[test]
    fn growth_extends_the_last_range() -> Result<(), Error> {
        let (mut allocator, mut a, _) = region()?;
        resize(&mut allocator, &mut a, 2, 1)?;
        resize(&mut allocator, &mut a, 5, 1)?;
        assert!(is(a.ranges(), &[(16, 20)]));
        assert!(is(allocator.holes(), &[(21, 31)]));
        assert_eq!(allocator.available(), 11 * PAGE);
        Ok(())
    }

    #[test]
    fn growth_fills_the_lowest_holes_first() -> Result<(), Error> {
        let (mut allocator, mut a, mut b) = region()?;
        take_exact(&mut allocator, &mut b, pages(18, 19)?, align(1))?;
        take_exact(&mut allocator, &mut b, pages(22, 22)?, align(1))?;
        resize(&mut allocator, &mut a, 6, 1)?;
        assert!(is(a.ranges(), &[(16, 17), (20, 21), (23, 24)]));
        // The first hole does not follow the last range of `b`, so that is not extended.
        resize(&mut allocator, &mut b, 4, 1)?;
        assert!(is(b.ranges(), &[(18, 19), (22, 22), (25, 25)]));
        Ok(())
    }

    #[test]
    fn growth_takes_aligned_pieces_or_nothing() -> Result<(), Error> {
        let (mut allocator, mut a, mut b) = region()?;
        take_exact(&mut allocator, &mut b, pages(17, 17)?, align(1))?;
        take_exact(&mut allocator, &mut b, pages(22, 22)?, align(1))?;
        assert!(resize(&mut allocator, &mut a, 6, 4) == Err(RangeError::Misaligned));
        assert!(resize(&mut allocator, &mut a, 12, 4) == Err(RangeError::NoSpace));
        assert_eq!(a.len(), 0);
        resize(&mut allocator, &mut a, 8, 4)?;
        assert!(is(a.ranges(), &[(24, 31)]));
        Ok(())
    }

    #[test]
    fn shrinking_frees_the_end() -> Result<(), Error> {
        let (mut allocator, mut a, mut b) = region()?;
        take_exact(&mut allocator, &mut b, pages(20, 20)?, align(1))?;
        resize(&mut allocator, &mut a, 9, 1)?;
        assert!(is(a.ranges(), &[(16, 19), (21, 25)]));
        resize(&mut allocator, &mut a, 3, 1)?;
        assert!(is(a.ranges(), &[(16, 18)]));
        assert!(is(allocator.holes(), &[(19, 19), (21, 31)]));
        resize(&mut allocator, &mut a, 0, 1)?;
        allocator.release_all(&mut b, |_, _| {});
        assert!(is(allocator.holes(), &[(16, 31)]));
        Ok(())
    }

    #[test]
    fn exact_ranges_are_checked_and_never_merged() -> Result<(), Error> {
        let (mut allocator, mut a, _) = region()?;
        take_exact(&mut allocator, &mut a, pages(20, 21)?, align(2))?;
        take_exact(&mut allocator, &mut a, pages(22, 23)?, align(2))?;
        assert!(is(a.ranges(), &[(20, 21), (22, 23)]));
        let mut fail = |first, last| match pages(first, last) {
            Ok(range) => take_exact(&mut allocator, &mut a, range, align(2)).err(),
            Err(_) => None,
        };
        for (first, last) in [(25, 26), (24, 24)] {
            let misaligned = RangeError::MisalignedRange(pages(first, last)?);
            assert_eq!(fail(first, last), Some(misaligned));
        }
        for (first, last) in [(14, 17), (30, 33)] {
            let outside = RangeError::OutOfRegion(pages(first, last)?);
            assert_eq!(fail(first, last), Some(outside));
        }
        for (first, last) in [(18, 21), (18, 25)] {
            let overlap = RangeError::Overlap(pages(first, last)?);
            assert_eq!(fail(first, last), Some(overlap));
        }
        assert_eq!(fail(18, 19), None);
        Ok(())
    }

    #[test]
    fn several_ranges_are_appended_or_none() -> Result<(), Error> {
        let (mut allocator, mut a, _) = region()?;
        let both = [pages(24, 25)?, pages(20, 20)?];
        let reservation = allocator.append(&mut a, &both, align(1))?;
        assert!(reservation
            .added()
            .map(|(pgoff, range)| (pgoff.pages(), range.start() / PAGE))
            .eq([(0, 24), (2, 20)]));
        assert!(is(reservation.memory(), &[(24, 25), (20, 20)]));
        reservation.commit(&mut allocator, &mut a);
        assert!(is(a.ranges(), &[(24, 25), (20, 20)]));
        // The second overlaps the first.
        let overlap = [pages(28, 29)?, pages(29, 30)?];
        let refused = allocator.append(&mut a, &overlap, align(1)).err();
        assert_eq!(refused, Some(RangeError::Overlap(pages(29, 30)?)));
        assert!(is(allocator.holes(), &[(16, 19), (21, 23), (26, 31)]));
        Ok(())
    }

    #[test]
    fn cancel_gives_back_among_changed_neighbours() -> Result<(), Error> {
        let (mut allocator, mut a, mut b) = region()?;
        resize(&mut allocator, &mut a, 2, 1)?;
        let reservation = allocator.grow(&mut a, 4 * PAGE, align(1))?;
        resize(&mut allocator, &mut b, 12, 1)?;
        assert_eq!(allocator.available(), 0);
        reservation.cancel(&mut allocator);
        assert!(is(a.ranges(), &[(16, 17)]));
        assert!(is(allocator.holes(), &[(18, 19)]));
        Ok(())
    }
}
