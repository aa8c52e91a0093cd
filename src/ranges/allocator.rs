// SPDX-License-Identifier: GPL-2.0

//! What of a region is free, and plans that change what a device has of it.
//!
//! C: the children of `dax_region.res`, `dev_dax_resize()`, `dev_dax_shrink()`,
//! `alloc_dev_dax_range()` and `adjust_dev_dax_range()`.
//!
//! A change is planned on a space and a layout that it does not touch, and
//! allocates all it needs while it is planned. Then it cannot fail any more:
//!
//! ```text
//! plan_*() -> Plan::prepare() -> RangeAllocator::reserve() -> Plan::apply()
//!                                                 \> RangeAllocator::cancel()
//! ```
//!
//! The caller excludes other changes of the layout from planning to the end, and
//! other users of the space from planning to reserving. In between it may let
//! go of the space, to make what belongs to the new ranges. A plan that was held
//! back against these rules is noticed, and changes nothing.
//!
//! What differs from C: a new range starts and ends at a multiple of the
//! device's alignment, and a change is made in full or not at all.

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

/// Why a change cannot be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PlanError {
    /// Size, range or what the device has is not a multiple of the alignment.
    Misaligned,
    /// The range is not within the region.
    OutOfRegion,
    /// A part of the range is taken.
    Overlap,
    /// Not enough of the region is free, or not in aligned pieces.
    NoSpace,
    /// No memory to carry it out.
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

/// What of a region is free.
///
/// # Invariants
///
/// - `holes` maps the last address of each free range to its first. They are
///   within `span`, and there is something taken between any two of them.
/// - `free` is the sum of their sizes.
pub(crate) struct RangeAllocator {
    /// The region.
    span: PhysRange,
    /// By the last address, so that the hole at an address is a lower bound, and
    /// taking from the front of a hole, as growth does, leaves its node in place.
    holes: RBTree<u64, u64>,
    /// Bytes.
    free: u64,
}

/// A part of a hole that a plan takes.
struct Chunk {
    /// What is taken.
    range: PhysRange,
    /// How many nodes it takes: one for what is left of the hole below, one for
    /// what is left above, one for the range itself, less the hole's own.
    nodes: usize,
}

impl Chunk {
    /// `range`, which is within `hole`.
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
    /// All of `span` is free.
    ///
    /// # Errors
    ///
    /// `AllocError`.
    pub(crate) fn new(span: PhysRange) -> Result<Self, AllocError> {
        let node = NodeReservation::new(GFP_KERNEL).map_err(|_| AllocError)?;
        let mut holes = RBTree::new();
        holes.insert(node.into_node(span.last(), span.start()));
        // INVARIANT: One hole that is all of `span`.
        Ok(Self {
            span,
            holes,
            free: span.size(),
        })
    }

    /// The region.
    #[cfg(test)]
    pub(crate) fn span(&self) -> PhysRange {
        self.span
    }

    /// Free bytes. C: `dax_region_avail_size()`.
    pub(crate) fn available(&self) -> u64 {
        self.free
    }

    /// What is free, in order of address.
    pub(crate) fn holes(&self) -> impl Iterator<Item = PhysRange> + '_ {
        let holes = self.holes.iter();
        holes.filter_map(|(last, first)| PhysRange::new(*first, *last))
    }

    /// The lowest hole that has an address at or above `addr`.
    fn hole_from(&self, addr: u64) -> Option<PhysRange> {
        let cursor = self.holes.cursor_lower_bound(&addr)?;
        let (last, first) = cursor.current();
        PhysRange::new(*first, *last)
    }

    /// The hole that all of `range` is in.
    fn hole_around(&self, range: &PhysRange) -> Option<PhysRange> {
        self.hole_from(range.last())
            .filter(|hole| hole.contains(range))
    }

    /// Aligned parts of holes that make up `wanted` bytes, lowest first; fewer if
    /// there are not as many.
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

    /// Plans to make a device `new_size` bytes large. C: `dev_dax_resize()`.
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

    /// Plans to grow a device to `new_size` bytes; nothing if it has them.
    ///
    /// The lowest holes are filled first. If the first of them is right behind
    /// the device's last range, that range is extended.
    ///
    /// # Errors
    ///
    /// `Misaligned` if the new or the old size is, `NoSpace`, `NoMemory`.
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
        // What is wanted must be there in full before anything is allocated.
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

    /// Plans to append exactly `range`, even if it follows the last range. C:
    /// `alloc_dev_dax_range()`.
    ///
    /// # Errors
    ///
    /// `Misaligned` if the range or the device's size is, `OutOfRegion`,
    /// `Overlap`, `NoMemory`.
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

    /// Plans to shrink a device to `new_size` bytes; nothing if it has no more.
    ///
    /// Its end goes first: whole ranges, then a part of the last one that is
    /// kept. C: `dev_dax_shrink()`.
    ///
    /// # Errors
    ///
    /// `Misaligned` if the new or the old size is, `NoMemory` if a range is cut.
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

    /// Takes what `plan` adds, before it is applied. If that is not free any more
    /// the plan becomes empty.
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

    /// Gives back what was reserved for `plan`, whatever became of the space
    /// around it since.
    pub(crate) fn cancel(&mut self, mut plan: Plan) {
        self.give_back(&mut plan);
    }

    /// Gives back what `plan` took, which is an empty plan then.
    fn give_back(&mut self, plan: &mut Plan) {
        if plan.reserved {
            for range in plan.extension.iter().chain(plan.added.iter()) {
                self.give(*range, plan.reservations.pop());
            }
        }
        plan.clear();
    }

    /// Gives a device's ranges back: it is gone.
    pub(crate) fn release_all(&mut self, layout: &mut Layout) {
        while let Some((range, reservation)) = layout.pop() {
            self.give(range, reservation);
        }
    }

    /// Appends exactly `range` to `layout`, in one step.
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

    /// Takes `range` out of the hole that it is in. Of `nodes`, `owed` belong to
    /// ranges that were taken before; after it, one more does.
    ///
    /// Returns false, having changed nothing, if the range is not free, or the
    /// hole is not what the nodes were allocated for.
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
            // Room for all nodes was allocated with them.
            let _ = nodes.push_within_capacity(node.into_reservation());
        }
        if let Some(below) = hole.part_below(range) {
            if let Some(node) = nodes.pop() {
                self.holes
                    .insert(node.into_node(below.last(), below.start()));
            }
        }
        // INVARIANT: What is left of the hole has its own holes, with the range
        // between them.
        self.free = self.free.saturating_sub(range.size());
        true
    }

    /// Adds `range` to the holes. `reservation` is used if there is none beside it.
    ///
    /// A range that is free already, or has no place in the region, or none in
    /// the tree, stays taken: that must not happen, and loses the least.
    fn give(&mut self, range: PhysRange, reservation: Option<NodeReservation>) {
        let above = self.hole_from(range.start());
        if warn_on!(above.is_some_and(|hole| hole.overlaps(&range)) || !self.span.contains(&range))
        {
            return;
        }
        let below = range.start().checked_sub(1);
        let below = below.and_then(|addr| Some((addr, *self.holes.get(&addr)?)));
        let first = below.map_or(range.start(), |(_, first)| first);

        // INVARIANT: Gaps beside the range and the range become one.
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

/// A change of one device's ranges, ready to be carried out.
///
/// Dropping a plan is fine as long as nothing was reserved for it; then
/// [`RangeAllocator::cancel`] or [`Plan::apply`] must have it.
///
/// # Invariants
///
/// If reserved, `extension` and `added` are taken, and `reservations` has a node for
/// each of them.
#[must_use]
pub(crate) struct Plan {
    /// What the layout was when this was planned.
    shape: Shape,
    /// New ranges, in page-offset order.
    added: KVVec<PhysRange>,
    /// What is added to the end of the last range.
    extension: Option<PhysRange>,
    /// What becomes of the last range that is kept, if it is changed.
    last: Option<PhysRange>,
    /// How many ranges are removed from the end.
    removed: usize,
    /// Nodes for holes.
    reservations: KVVec<NodeReservation>,
    /// Whether the new ranges are taken.
    reserved: bool,
}

impl Plan {
    /// A plan that changes nothing yet, for a device that will have `new_size`.
    fn new(layout: &Layout, new_size: u64, align: Align) -> Result<Self, PlanError> {
        if !align.is_aligned(new_size) || !align.is_aligned(layout.size()) {
            return Err(PlanError::Misaligned);
        }
        // Every page must have an offset.
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

    /// Allocates `nodes` nodes and what `ranges` new ranges need.
    fn allocate(&mut self, ranges: usize, nodes: usize) -> Result<(), PlanError> {
        self.added.reserve(ranges, GFP_KERNEL)?;
        // A range that is all of a hole brings one more.
        let room = nodes.saturating_add(ranges);
        self.reservations.reserve(room, GFP_KERNEL)?;
        for _ in 0..nodes {
            let node = NodeReservation::new(GFP_KERNEL).map_err(|_| PlanError::NoMemory)?;
            self.reservations.push(node, GFP_KERNEL)?;
        }
        Ok(())
    }

    /// Makes it change nothing.
    fn clear(&mut self) {
        self.added.clear();
        self.extension = None;
        self.last = None;
        self.removed = 0;
    }

    /// Drops all but the first `count` of what is to be taken.
    fn forget_from(&mut self, count: usize) {
        let extensions = usize::from(self.extension.is_some());
        if count < extensions {
            self.extension = None;
        }
        self.added.truncate(count.saturating_sub(extensions));
    }

    /// Whether there is nothing to change.
    pub(crate) fn is_empty(&self) -> bool {
        self.added.is_empty() && self.last.is_none() && self.removed == 0
    }

    /// The ranges that are appended, in page-offset order; not what the last
    /// range is extended by.
    pub(crate) fn added(&self) -> &[PhysRange] {
        &self.added
    }

    /// How many ranges, at the end of the device, go away as a whole.
    pub(crate) fn removed_ranges(&self) -> usize {
        self.removed
    }

    /// What the last range that is kept becomes, if it is extended or cut.
    pub(crate) fn last_range(&self) -> Option<PhysRange> {
        self.last
    }

    /// The page offset of the first of [`Plan::added`] in `layout`, which the
    /// plan was made for.
    pub(crate) fn first_added_pgoff(&self, layout: &Layout) -> PgOff {
        let extension = self.extension.map_or(0, |range| range.size());
        PgOff::of_byte(layout.size().saturating_add(extension))
    }

    /// Makes room in `layout` for the new ranges, which may move its entries.
    /// May sleep.
    ///
    /// # Errors
    ///
    /// `NoMemory`.
    pub(crate) fn prepare(&self, layout: &mut Layout) -> Result<(), PlanError> {
        Ok(layout.reserve(self.added.len())?)
    }

    /// Carries the plan out, and reserves what is not reserved yet.
    ///
    /// If `layout` was changed since, or has no room, the space goes back where
    /// it came from.
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
#[cfg_attr(not(test), crate::prelude::kunit_tests(dax_space))]
mod tests {
    use super::*;

    const PAGE: u64 = Align::PAGE.bytes();

    /// Pages `first` to `last`.
    fn pages(first: u64, last: u64) -> Result<PhysRange, Error> {
        PhysRange::new(first * PAGE, last * PAGE + (PAGE - 1)).ok_or(EINVAL)
    }

    fn align(pages: u64) -> Align {
        Align::new(pages * PAGE).unwrap_or(Align::PAGE)
    }

    /// A region of pages 16 to 31, two devices in it.
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
        // The last range of `b` is not the one that the first hole is behind.
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
