// SPDX-License-Identifier: GPL-2.0

//! The holes of a region, and plans that change the ranges of a device.
//!
//! C: the children of `dax_region.res`, `dev_dax_resize()`, `dev_dax_shrink()`,
//! `alloc_dev_dax_range()` and `adjust_dev_dax_range()`.
//!
//! Planning a change does not modify the allocator or the layout, and allocates everything
//! that the change needs. Applying the plan cannot fail:
//!
//! ```text
//! plan_*() -> Plan::prepare() -> RangeAllocator::reserve() -> Plan::apply()
//!                                                 \> RangeAllocator::cancel()
//! ```
//!
//! The caller excludes other changes of the layout from planning until the end (ranges
//! lock), and other users of the allocator from planning until reserving (region lock).
//! After reserving it may release the region lock, to register mappings for the new ranges.
//! `apply` notices a layout that was changed since, warns, and changes nothing.
//!
//! Differences from C: a new range starts and ends at a multiple of the granule, which the
//! caller passes as `align`, and a change is made in full or not at all.

use crate::{
    prelude::{
        warn_on,
        AllocError,
        Error,
        KVVec,
        RBTree, //
        EBUSY,
        EINVAL,
        ENOMEM,
        ENOSPC,
        ERANGE,
        GFP_KERNEL,
    },
    ranges::{
        layout::{
            Layout,
            NodeReservation,
            Shape, //
        },
        range::{
            Align,
            PgOff,
            PhysRange, //
        }, //
    }, //
};

/// Why a change is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PlanError {
    /// The new size, the new range or the current size is not a multiple of the granule.
    Misaligned,
    /// The range is not within the region.
    OutOfRegion,
    /// A part of the range is not free.
    Overlap,
    /// The region has not enough free memory, or not enough of it in aligned pieces.
    NoSpace,
    /// An allocation failed.
    NoMemory,
}

impl From<PlanError> for Error {
    fn from(e: PlanError) -> Self {
        match e {
            PlanError::Misaligned => EINVAL,
            PlanError::OutOfRegion => ERANGE,
            PlanError::Overlap => EBUSY,
            PlanError::NoSpace => ENOSPC,
            PlanError::NoMemory => ENOMEM,
        }
    }
}

impl From<AllocError> for PlanError {
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
    /// The key is the last address. So the hole that contains an address is a lower bound
    /// of it, and taking the front of a hole, as growth mostly does, keeps its node.
    holes: RBTree<u64, u64>,
    /// Free bytes.
    free: u64,
}

/// A part of a hole that a plan takes.
struct Chunk {
    /// The part that is taken.
    range: PhysRange,
    /// Number of nodes to allocate. Each rest of the hole needs a node, and so does the
    /// range, for when it is freed; the node of the hole itself serves as one of them.
    nodes: usize,
}

impl Chunk {
    /// The chunk that takes `range` out of `hole`. `range` is within `hole`.
    fn of(hole: &PhysRange, range: PhysRange) -> Self {
        let below = hole.part_below(&range).is_some();
        let above = hole.part_above(&range).is_some();
        Self {
            range,
            nodes: usize::from(below).saturating_add(usize::from(above)),
        }
    }
}

impl RangeAllocator {
    /// Makes an allocator with all of `span` free. May sleep.
    ///
    /// # Errors
    ///
    /// `AllocError` if there is no memory.
    pub(crate) fn new(span: PhysRange) -> Result<Self, AllocError> {
        let node = NodeReservation::new(GFP_KERNEL).map_err(|_| AllocError)?;
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

    /// Parts of holes, aligned to `align`, that add up to `wanted` bytes, in ascending
    /// order. They add up to less if there is not as much.
    fn chunks(&self, wanted: u64, align: Align) -> impl Iterator<Item = Chunk> + '_ {
        let usable = move |hole: PhysRange| Some((hole, hole.aligned_part(align)?));
        let mut holes = self.holes().filter_map(usable);
        let mut wanted = wanted;
        core::iter::from_fn(move || {
            if wanted == 0 {
                return None;
            }
            let (hole, usable) = holes.next()?;
            let range = usable.first_bytes(wanted)?;
            wanted = wanted.saturating_sub(range.size());
            Some(Chunk::of(&hole, range))
        })
    }

    /// Plans to resize a device to `new_size` bytes. May sleep. C: `dev_dax_resize()`.
    ///
    /// # Errors
    ///
    /// Those of [`RangeAllocator::plan_grow`] and [`RangeAllocator::plan_shrink`].
    pub(crate) fn plan_resize(
        &self,
        layout: &Layout,
        new_size: u64,
        align: Align,
    ) -> Result<Plan, PlanError> {
        if new_size < layout.size() {
            self.plan_shrink(layout, new_size, align)
        } else {
            self.plan_grow(layout, new_size, align)
        }
    }

    /// Plans to grow a device to `new_size` bytes. The plan is empty if the device has that
    /// size. May sleep.
    ///
    /// The lowest holes are used first. If the first of them follows the last range of the
    /// device, the plan extends that range.
    ///
    /// # Errors
    ///
    /// `Misaligned` if the new or the current size is, `NoSpace`, `NoMemory`.
    pub(crate) fn plan_grow(
        &self,
        layout: &Layout,
        new_size: u64,
        align: Align,
    ) -> Result<Plan, PlanError> {
        let align = align.max(Align::PAGE);
        let mut plan = Plan::new(layout, new_size, align)?;
        let wanted = new_size.saturating_sub(layout.size());
        if wanted == 0 {
            return Ok(plan);
        }
        if wanted > self.free {
            return Err(PlanError::NoSpace);
        }
        // Check that there is enough before allocating anything.
        let (mut found, mut count, mut nodes) = (0_u64, 0_usize, 0_usize);
        for chunk in self.chunks(wanted, align) {
            found = found.saturating_add(chunk.range.size());
            count = count.saturating_add(1);
            nodes = nodes.saturating_add(chunk.nodes);
        }
        if found != wanted {
            return Err(PlanError::NoSpace);
        }
        plan.allocate(count, nodes)?;
        for chunk in self.chunks(wanted, align) {
            match layout.last().and_then(|last| last.joined(&chunk.range)) {
                Some(joined) if plan.added.is_empty() => {
                    plan.extension = Some(chunk.range);
                    plan.last = Some(joined);
                }
                _ => plan.added.push(chunk.range, GFP_KERNEL)?,
            }
        }
        Ok(plan)
    }

    /// Plans to append exactly `range`, as a new range even if it follows the last one. May
    /// sleep. C: `alloc_dev_dax_range()`.
    ///
    /// # Errors
    ///
    /// `Misaligned` if the range or the current size is, `OutOfRegion`, `Overlap`,
    /// `NoMemory`; `NoSpace` if the new size is too large for page offsets.
    pub(crate) fn plan_at(
        &self,
        layout: &Layout,
        range: PhysRange,
        align: Align,
    ) -> Result<Plan, PlanError> {
        let align = align.max(Align::PAGE);
        if !range.is_aligned(align) {
            return Err(PlanError::Misaligned);
        }
        if !self.span.contains(&range) {
            return Err(PlanError::OutOfRegion);
        }
        let hole = self.hole_around(&range).ok_or(PlanError::Overlap)?;
        let new_size = layout.size().checked_add(range.size());
        let mut plan = Plan::new(layout, new_size.ok_or(PlanError::NoSpace)?, align)?;
        plan.allocate(1, Chunk::of(&hole, range).nodes)?;
        plan.added.push(range, GFP_KERNEL)?;
        Ok(plan)
    }

    /// Plans to shrink a device to `new_size` bytes. The plan is empty if the device is not
    /// larger. May sleep.
    ///
    /// Shrinking removes whole ranges from the end of the device, then cuts the last one
    /// that is kept. C: `dev_dax_shrink()`.
    ///
    /// # Errors
    ///
    /// `Misaligned` if the new or the current size is, `NoMemory` if a range is cut.
    pub(crate) fn plan_shrink(
        &self,
        layout: &Layout,
        new_size: u64,
        align: Align,
    ) -> Result<Plan, PlanError> {
        let mut plan = Plan::new(layout, new_size, align.max(Align::PAGE))?;
        let mut excess = layout.size().saturating_sub(new_size);
        for range in layout.ranges().rev() {
            if excess == 0 {
                break;
            }
            let Some(kept) = range.size().checked_sub(excess).filter(|kept| *kept > 0) else {
                plan.removed = plan.removed.saturating_add(1);
                excess = excess.saturating_sub(range.size());
                continue;
            };
            plan.allocate(0, 1)?;
            plan.last = range.first_bytes(kept);
            break;
        }
        Ok(plan)
    }

    /// Takes the memory that `plan` adds out of the holes, before the plan is applied. If
    /// that memory is not free any more, which is a bug, warns and makes the plan empty.
    pub(crate) fn reserve(&mut self, plan: &mut Plan) {
        if plan.reserved {
            return;
        }
        plan.reserved = true;
        let mut taken = 0_usize;
        for range in plan.extension.iter().chain(plan.added.iter()) {
            if !self.take(range, &mut plan.reservations, taken) {
                break;
            }
            taken = taken.saturating_add(1);
        }
        let planned = plan.added.len();
        if warn_on!(taken < planned.saturating_add(usize::from(plan.extension.is_some()))) {
            plan.forget_from(taken);
            self.give_back(plan);
        }
    }

    /// Drops a plan and frees the memory that was reserved for it. The holes around that
    /// memory may have changed since.
    pub(crate) fn cancel(&mut self, mut plan: Plan) {
        self.give_back(&mut plan);
    }

    /// Frees the memory that was reserved for `plan`, and makes the plan empty.
    fn give_back(&mut self, plan: &mut Plan) {
        if plan.reserved {
            for range in plan.extension.iter().chain(plan.added.iter()) {
                self.give(*range, plan.reservations.pop());
            }
        }
        plan.clear();
    }

    /// Frees all ranges of a device that is gone.
    pub(crate) fn release_all(&mut self, layout: &mut Layout) {
        while let Some((range, reservation)) = layout.pop() {
            self.give(range, reservation);
        }
    }

    /// Plans, reserves and applies in one step: appends exactly `range` to `layout`. May
    /// sleep.
    ///
    /// # Errors
    ///
    /// Those of [`RangeAllocator::plan_at`].
    pub(crate) fn take_exact(
        &mut self,
        layout: &mut Layout,
        range: PhysRange,
        align: Align,
    ) -> Result<(), PlanError> {
        let plan = self.plan_at(layout, range, align)?;
        plan.prepare(layout)?;
        plan.apply(self, layout);
        Ok(())
    }

    /// Takes `range` out of the hole that contains it. `nodes` has one node for each of the
    /// `owed` ranges that were taken before. On success, it has one more, for `range`.
    ///
    /// Returns false and changes nothing if `range` is not free, or if the hole needs more
    /// nodes than were allocated.
    fn take(&mut self, range: &PhysRange, nodes: &mut KVVec<NodeReservation>, owed: usize) -> bool {
        let Some(hole) = self.hole_around(range) else {
            return false;
        };
        let needed = Chunk::of(&hole, *range).nodes;
        if nodes.len() < owed.saturating_add(needed) {
            return false;
        }
        if let Some(above) = hole.part_above(range) {
            if let Some(first) = self.holes.get_mut(&hole.last()) {
                *first = above.start();
            }
        } else if let Some(node) = self.holes.remove_node(&hole.last()) {
            // `Plan::allocate` made room for this node, so the push does not fail.
            let _ = nodes.push_within_capacity(node.into_reservation());
        }
        if let Some(below) = hole.part_below(range) {
            if let Some(node) = nodes.pop() {
                self.holes
                    .insert(node.into_node(below.last(), below.start()));
            }
        }
        // INVARIANT: The rests of the hole are holes of their own, and `range` is between
        // them.
        self.free = self.free.saturating_sub(range.size());
        true
    }

    /// Makes `range` a hole, merged with the holes beside it. Uses `reservation` only if
    /// there is no hole beside it.
    ///
    /// If `range` is already free or not within the region, or if there is no node for it,
    /// that is a bug. Warn, and leak the range: handing it out twice would be worse.
    fn give(&mut self, range: PhysRange, reservation: Option<NodeReservation>) {
        let above = self.hole_from(range.start());
        if warn_on!(above.is_some_and(|hole| hole.overlaps(&range)) || !self.span.contains(&range))
        {
            return;
        }
        let below = range.start().checked_sub(1);
        let below = below.and_then(|addr| Some((addr, *self.holes.get(&addr)?)));
        let first = below.map_or(range.start(), |(_, first)| first);

        // INVARIANT: The range and the holes beside it become one hole.
        match above.filter(|hole| hole.follows(&range)) {
            Some(above) => {
                if let Some((addr, _)) = below {
                    self.holes.remove_node(&addr);
                }
                if let Some(value) = self.holes.get_mut(&above.last()) {
                    *value = first;
                }
            }
            None => {
                let node = below.and_then(|(addr, _)| self.holes.remove_node(&addr));
                let Some(node) = node.map(|node| node.into_reservation()).or(reservation) else {
                    warn_on!(true);
                    return;
                };
                self.holes.insert(node.into_node(range.last(), first));
            }
        }
        self.free = self.free.saturating_add(range.size());
    }
}

/// A change of one device's ranges, ready to be applied.
///
/// A plan may be dropped until memory is reserved for it. After that the caller passes it
/// to [`RangeAllocator::cancel`] or [`Plan::apply`].
///
/// # Invariants
///
/// If `reserved`, then `extension` and `added` are taken out of the holes, and
/// `reservations` has a node for each of them.
#[must_use]
pub(crate) struct Plan {
    /// The shape of the layout that the plan was made for.
    shape: Shape,
    /// New ranges, in page-offset order.
    added: KVVec<PhysRange>,
    /// The memory after the last range by which that range is extended.
    extension: Option<PhysRange>,
    /// The new value of the last range that is kept, if it is extended or cut.
    last: Option<PhysRange>,
    /// Number of ranges that are removed from the end.
    removed: usize,
    /// Nodes for new holes and for new ranges.
    reservations: KVVec<NodeReservation>,
    /// Whether `extension` and `added` are taken out of the holes.
    reserved: bool,
}

impl Plan {
    /// A plan without changes, for a device whose new size will be `new_size` bytes.
    fn new(layout: &Layout, new_size: u64, align: Align) -> Result<Self, PlanError> {
        if !align.is_aligned(new_size) || !align.is_aligned(layout.size()) {
            return Err(PlanError::Misaligned);
        }
        // The page offset of every page must fit into a `usize`.
        usize::try_from(PgOff::of_byte(new_size).pages()).map_err(|_| PlanError::NoSpace)?;
        Ok(Self {
            shape: layout.shape(),
            added: KVVec::new(),
            extension: None,
            last: None,
            removed: 0,
            reservations: KVVec::new(),
            reserved: false,
        })
    }

    /// Allocates `nodes` nodes, and memory for `ranges` new ranges. May sleep.
    fn allocate(&mut self, ranges: usize, nodes: usize) -> Result<(), PlanError> {
        self.added.reserve(ranges, GFP_KERNEL)?;
        // Taking a range may add the node of the hole that contained it.
        let room = nodes.saturating_add(ranges);
        self.reservations.reserve(room, GFP_KERNEL)?;
        for _ in 0..nodes {
            let node = NodeReservation::new(GFP_KERNEL).map_err(|_| PlanError::NoMemory)?;
            self.reservations.push(node, GFP_KERNEL)?;
        }
        Ok(())
    }

    /// Makes the plan empty.
    fn clear(&mut self) {
        self.added.clear();
        self.extension = None;
        self.last = None;
        self.removed = 0;
    }

    /// Keeps only the first `count` of `extension` and `added`.
    fn forget_from(&mut self, count: usize) {
        let extensions = usize::from(self.extension.is_some());
        if count < extensions {
            self.extension = None;
        }
        self.added.truncate(count.saturating_sub(extensions));
    }

    /// Whether the plan changes nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.added.is_empty() && self.last.is_none() && self.removed == 0
    }

    /// The ranges that are appended, in page-offset order. Does not include the memory by
    /// which the last range is extended.
    pub(crate) fn added(&self) -> &[PhysRange] {
        &self.added
    }

    /// Number of ranges that are removed from the end of the device.
    pub(crate) fn removed_ranges(&self) -> usize {
        self.removed
    }

    /// The new value of the last range that is kept, if it is extended or cut.
    pub(crate) fn last_range(&self) -> Option<PhysRange> {
        self.last
    }

    /// The page offset of the first range in [`Plan::added`]. `layout` is the one that the
    /// plan was made for.
    pub(crate) fn first_added_pgoff(&self, layout: &Layout) -> PgOff {
        let extension = self.extension.map_or(0, |range| range.size());
        PgOff::of_byte(layout.size().saturating_add(extension))
    }

    /// Makes room in `layout` for the new ranges. The entries may move. May sleep.
    ///
    /// # Errors
    ///
    /// `NoMemory`.
    pub(crate) fn prepare(&self, layout: &mut Layout) -> Result<(), PlanError> {
        Ok(layout.reserve(self.added.len())?)
    }

    /// Applies the plan, and reserves its memory first if that was not done.
    ///
    /// If `layout` was changed since, warns, frees the reserved memory and changes nothing.
    /// If `layout` has no room for a new range, warns and frees that range. Both are bugs
    /// of the caller.
    pub(crate) fn apply(mut self, space: &mut RangeAllocator, layout: &mut Layout) {
        if warn_on!(layout.shape() != self.shape) {
            space.give_back(&mut self);
            return;
        }
        space.reserve(&mut self);
        for _ in 0..self.removed {
            if let Some((range, reservation)) = layout.pop() {
                space.give(range, reservation);
            }
        }
        if let (Some(old), Some(new)) = (layout.last(), self.last) {
            layout.set_last(new);
            if let Some(cut) = old.part_above(&new) {
                space.give(cut, self.reservations.pop());
            }
        }
        for range in self.added.iter() {
            let Some(reservation) = self.reservations.pop() else {
                warn_on!(true);
                return;
            };
            if let Err(reservation) = layout.push_reserved(*range, reservation) {
                warn_on!(true);
                space.give(*range, Some(reservation));
            }
        }
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
        space: &mut RangeAllocator,
        layout: &mut Layout,
        count: u64,
        unit: u64,
    ) -> Result<(), PlanError> {
        let plan = space.plan_resize(layout, count * PAGE, align(unit))?;
        plan.prepare(layout)?;
        plan.apply(space, layout);
        Ok(())
    }

    fn is(ranges: impl Iterator<Item = PhysRange>, expected: &[(u64, u64)]) -> bool {
        ranges
            .map(|range| (range.start() / PAGE, range.last() / PAGE))
            .eq(expected.iter().copied())
    }

    #[test]
    fn growth_extends_the_last_range() -> Result<(), Error> {
        let (mut space, mut a, _) = region()?;
        resize(&mut space, &mut a, 2, 1)?;
        resize(&mut space, &mut a, 5, 1)?;
        assert!(is(a.ranges(), &[(16, 20)]));
        assert!(is(space.holes(), &[(21, 31)]));
        assert_eq!(space.available(), 11 * PAGE);
        Ok(())
    }

    #[test]
    fn growth_fills_the_lowest_gaps_first() -> Result<(), Error> {
        let (mut space, mut a, mut b) = region()?;
        space.take_exact(&mut b, pages(18, 19)?, align(1))?;
        space.take_exact(&mut b, pages(22, 22)?, align(1))?;
        resize(&mut space, &mut a, 6, 1)?;
        assert!(is(a.ranges(), &[(16, 17), (20, 21), (23, 24)]));
        // The first hole does not follow the last range of `b`, so that is not extended.
        resize(&mut space, &mut b, 4, 1)?;
        assert!(is(b.ranges(), &[(18, 19), (22, 22), (25, 25)]));
        Ok(())
    }

    #[test]
    fn growth_takes_aligned_pieces_or_nothing() -> Result<(), Error> {
        let (mut space, mut a, mut b) = region()?;
        space.take_exact(&mut b, pages(17, 17)?, align(1))?;
        space.take_exact(&mut b, pages(22, 22)?, align(1))?;
        assert!(resize(&mut space, &mut a, 6, 4) == Err(PlanError::Misaligned));
        assert!(resize(&mut space, &mut a, 12, 4) == Err(PlanError::NoSpace));
        assert_eq!(a.len(), 0);
        resize(&mut space, &mut a, 8, 4)?;
        assert!(is(a.ranges(), &[(24, 31)]));
        Ok(())
    }

    #[test]
    fn shrinking_frees_the_end() -> Result<(), Error> {
        let (mut space, mut a, mut b) = region()?;
        space.take_exact(&mut b, pages(20, 20)?, align(1))?;
        resize(&mut space, &mut a, 9, 1)?;
        assert!(is(a.ranges(), &[(16, 19), (21, 25)]));
        resize(&mut space, &mut a, 3, 1)?;
        assert!(is(a.ranges(), &[(16, 18)]));
        assert!(is(space.holes(), &[(19, 19), (21, 31)]));
        resize(&mut space, &mut a, 0, 1)?;
        space.release_all(&mut b);
        assert!(is(space.holes(), &[(16, 31)]));
        Ok(())
    }

    #[test]
    fn exact_ranges_are_checked_and_never_merged() -> Result<(), Error> {
        let (mut space, mut a, _) = region()?;
        space.take_exact(&mut a, pages(20, 21)?, align(2))?;
        space.take_exact(&mut a, pages(22, 23)?, align(2))?;
        assert!(is(a.ranges(), &[(20, 21), (22, 23)]));
        let mut fail = |first, last| match pages(first, last) {
            Ok(range) => space.take_exact(&mut a, range, align(2)).err(),
            Err(_) => None,
        };
        assert_eq!(fail(25, 26), Some(PlanError::Misaligned));
        assert_eq!(fail(24, 24), Some(PlanError::Misaligned));
        assert_eq!(fail(14, 17), Some(PlanError::OutOfRegion));
        assert_eq!(fail(30, 33), Some(PlanError::OutOfRegion));
        assert_eq!(fail(18, 21), Some(PlanError::Overlap));
        assert_eq!(fail(18, 25), Some(PlanError::Overlap));
        assert_eq!(fail(18, 19), None);
        Ok(())
    }

    #[test]
    fn cancel_gives_back_among_changed_neighbours() -> Result<(), Error> {
        let (mut space, mut a, mut b) = region()?;
        resize(&mut space, &mut a, 2, 1)?;
        let mut plan = space.plan_grow(&a, 4 * PAGE, align(1))?;
        space.reserve(&mut plan);
        resize(&mut space, &mut b, 12, 1)?;
        assert_eq!(space.available(), 0);
        space.cancel(plan);
        assert!(is(a.ranges(), &[(16, 17)]));
        assert!(is(space.holes(), &[(18, 19)]));
        Ok(())
    }
}
