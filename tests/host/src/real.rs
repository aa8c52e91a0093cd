// SPDX-License-Identifier: GPL-2.0

//! The driver's own allocator and layouts, and the laws that they obey.

use crate::oracle::{Dense, Device, Op};
use crate::prelude::{fail_after, nodes};
use crate::ranges::allocator::{Change, RangeAllocator, RangeError, Reservation};
use crate::ranges::layout::{pgoff_to_phys, Layout};
use crate::ranges::range::{Align, PhysRange, PAGE_SIZE};

pub(crate) struct Real {
    pub(crate) allocator: RangeAllocator,
    pub(crate) layouts: Vec<Layout>,
    pub(crate) aligns: Vec<Align>,
}

pub(crate) fn align(pages: u64) -> Align {
    Align::new(pages * PAGE_SIZE).unwrap()
}

pub(crate) fn range(first: u64, pages: u64) -> PhysRange {
    PhysRange::with_size(first * PAGE_SIZE, pages * PAGE_SIZE).unwrap()
}

/// First page and number of pages.
fn in_pages(range: PhysRange) -> (u64, u64) {
    assert!(range.is_aligned(Align::PAGE));
    (range.start() / PAGE_SIZE, range.size() / PAGE_SIZE)
}

impl Real {
    /// The allocator and layouts that `dense` describes.
    pub(crate) fn of(dense: &Dense) -> Self {
        let mut allocator =
            RangeAllocator::new(range(dense.base, dense.taken.len() as u64)).unwrap();
        let mut layouts = Vec::new();
        for device in &dense.devices {
            let mut layout = Layout::new();
            for (first, pages) in &device.ranges {
                let range = range(*first, *pages);
                let reservation = allocator
                    .append(&mut layout, &[range], Align::PAGE)
                    .unwrap();
                reservation.commit(&mut allocator, &mut layout);
            }
            layouts.push(layout);
        }
        let aligns = dense.devices.iter().map(|device| align(device.align));
        Self {
            allocator,
            layouts,
            aligns: aligns.collect(),
        }
    }

    /// Reserves what `op` needs; `None` if it gives memory up or needs none.
    pub(crate) fn reserve(
        &mut self,
        device: usize,
        op: Op,
    ) -> Option<Result<Reservation, RangeError>> {
        let ranges = match op {
            Op::Resize(_) => vec![],
            Op::MapAt(first, pages) => vec![range(first, pages)],
            Op::MapTwo(one, two) => vec![range(one.0, one.1), range(two.0, two.1)],
            Op::Align(_) | Op::Delete => return None,
        };
        let change = match op {
            Op::Resize(pages) => Change::Resize(pages * PAGE_SIZE),
            _ => Change::Append(&ranges),
        };
        let (layout, align) = (&mut self.layouts[device], self.aligns[device]);
        let outcome = match change {
            Change::Resize(size) if size < layout.size() => return None,
            Change::Resize(size) => self.allocator.grow(layout, size, align),
            Change::Append(ranges) => self.allocator.append(layout, ranges, align),
        };
        // The driver looks at this first. The allocator may find another error of a range before.
        use RangeError::{Misaligned, MisalignedRange};
        match (change.check_aligned(align), &outcome) {
            (Err(_), outcome) => assert!(outcome.is_err(), "{op:?}"),
            (Ok(()), Err(Misaligned | MisalignedRange(_))) => panic!("{op:?}"),
            (Ok(()), _) => {}
        }
        Some(outcome)
    }

    /// Does `op`, as the driver would.
    pub(crate) fn apply(&mut self, device: usize, op: Op) -> Result<(), RangeError> {
        if let Some(reservation) = self.reserve(device, op) {
            self.commit(device, reservation?);
            return Ok(());
        }
        match op {
            Op::Resize(pages) => self.shrink(device, pages)?,
            Op::Align(pages) => {
                if !self.layouts[device].is_aligned(align(pages)) {
                    return Err(RangeError::Misaligned);
                }
                self.aligns[device] = align(pages);
            }
            _ => {
                let before: Vec<_> = self.layouts[device].ranges().enumerate().collect();
                let mut removed = Vec::new();
                let layout = &mut self.layouts[device];
                self.allocator
                    .release_all(layout, |index, range| removed.push((index, range)));
                removed.reverse();
                assert_eq!(removed, before);
                self.aligns[device] = Align::PAGE;
            }
        }
        Ok(())
    }

    /// Shrinks, which must announce what it does.
    fn shrink(&mut self, device: usize, pages: u64) -> Result<(), RangeError> {
        let layout = &mut self.layouts[device];
        let before: Vec<_> = layout.ranges().enumerate().collect();
        let mut removed = Vec::new();
        let size = pages * PAGE_SIZE;
        let cut = self
            .allocator
            .shrink(layout, size, self.aligns[device], |index, range| {
                removed.push((index, range));
            })?;
        removed.reverse();
        assert_eq!(removed, before[layout.len()..]);
        let same = layout.len() - usize::from(cut.is_some());
        assert!(layout
            .ranges()
            .enumerate()
            .take(same)
            .eq(before[..same].iter().copied()));
        assert!(cut.is_none() || cut == layout.last() && cut != before.get(same).map(|b| b.1));
        Ok(())
    }

    /// Gives a device what is reserved, which must have been announced.
    pub(crate) fn commit(&mut self, device: usize, reservation: Reservation) {
        let layout = &mut self.layouts[device];
        let added: Vec<_> = reservation.added().collect();
        let extended = reservation.extended();
        let empty = reservation.is_empty();
        let before = layout.entries().to_vec();
        reservation.commit(&mut self.allocator, layout);

        let old = before.len();
        assert_eq!(layout.len(), old + added.len());
        assert_eq!(empty, before == layout.entries());
        let new = layout.entries()[old..].iter();
        assert!(new.map(|new| (new.pgoff(), new.range().unwrap())).eq(added));
        if let Some(extended) = extended {
            assert_eq!(layout.ranges().nth(old - 1), Some(extended));
        }
        let unchanged = old - usize::from(extended.is_some());
        assert_eq!(before[..unchanged], layout.entries()[..unchanged]);
    }

    /// All laws at once.
    pub(crate) fn check(&self, dense: &Dense) {
        self.agrees_with(dense);
        self.ranges_and_holes_tile_the_region();
        self.page_offsets_are_sums_of_sizes();
        self.ranges_have_the_alignment();
        self.every_range_has_one_node();
    }

    /// Whether device number `index` has the ranges of `device`.
    pub(crate) fn has_ranges(&self, index: usize, device: &Device) -> bool {
        let ranges = self.layouts[index].ranges().map(in_pages);
        ranges.eq(device.ranges.iter().copied())
    }

    fn agrees_with(&self, dense: &Dense) {
        for (index, (layout, device)) in self.layouts.iter().zip(&dense.devices).enumerate() {
            assert!(
                self.has_ranges(index, device),
                "device {index} is {:?}, not {device:?}",
                layout.ranges().map(in_pages).collect::<Vec<_>>()
            );
            assert_eq!(layout.size(), device.size() * PAGE_SIZE);
        }
        let holes: Vec<_> = self.allocator.holes().map(in_pages).collect();
        assert_eq!(holes, dense.holes());
    }

    fn ranges_and_holes_tile_the_region(&self) {
        let mut tiles: Vec<PhysRange> = self.allocator.holes().collect();
        let free: u64 = tiles.iter().map(PhysRange::size).sum();
        assert_eq!(free, self.allocator.available());
        for hole in &tiles {
            assert!(!tiles.iter().any(|other| other.follows(hole)), "not merged");
        }
        tiles.extend(self.layouts.iter().flat_map(|layout| layout.ranges()));
        tiles.sort_by_key(PhysRange::start);
        let span = tiles
            .into_iter()
            .reduce(|all, next| all.joined(&next).expect("a hole or an overlap"));
        assert_eq!(span, Some(self.allocator.span()));
    }

    fn page_offsets_are_sums_of_sizes(&self) {
        for layout in &self.layouts {
            let mut sum = 0;
            for (entry, range) in layout.entries().iter().zip(layout.ranges()) {
                assert_eq!(entry.pgoff().bytes(), Some(sum));
                sum += range.size();
            }
            assert_eq!(layout.size(), sum);
        }
    }

    fn ranges_have_the_alignment(&self) {
        for (layout, align) in self.layouts.iter().zip(&self.aligns) {
            assert!(layout.is_aligned(*align));
            for entry in layout.entries() {
                let bytes = [entry.start, entry.last + 1, entry.pgoff as u64 * PAGE_SIZE];
                assert!(bytes.iter().all(|bytes| bytes % align.bytes() == 0));
            }
        }
    }

    fn every_range_has_one_node(&self) {
        let ranges: usize = self.layouts.iter().map(Layout::len).sum();
        assert_eq!(nodes(), self.allocator.holes().count() + ranges);
    }

    /// Checks that `pgoff_to_phys()` finds the addresses of the array, and no others.
    pub(crate) fn check_pgoff_to_phys(&self, dense: &Dense) {
        for (layout, device) in self.layouts.iter().zip(&dense.devices) {
            let pages = device.pages();
            for pgoff in 0..=pages.len() {
                for count in 1..=pages.len() + 1 {
                    let wanted = pages.get(pgoff..pgoff + count).and_then(|pages| {
                        let (first, range) = pages[0];
                        let same = pages.iter().all(|(_, other)| *other == range);
                        same.then_some(first * PAGE_SIZE)
                    });
                    for missing in [0, 1, PAGE_SIZE - 1] {
                        let bytes = count as u64 * PAGE_SIZE - missing;
                        let phys = pgoff_to_phys(layout.entries(), pgoff as u64, bytes);
                        assert_eq!(phys, wanted, "pgoff {pgoff}, {bytes} bytes");
                    }
                }
            }
        }
    }

    /// However many allocations succeed before one fails, nothing changes.
    pub(crate) fn check_allocation_failures(
        &mut self,
        dense: &Dense,
        device: usize,
        op: Op,
    ) -> usize {
        for count in 0.. {
            fail_after(Some(count));
            let reserved = self.reserve(device, op);
            let outcome = reserved.map(|reserved| reserved.map(|r| r.cancel(&mut self.allocator)));
            let outcome = outcome.unwrap_or_else(|| self.apply(device, op));
            fail_after(None);
            match outcome {
                Err(e) => assert_eq!(e, RangeError::NoMemory),
                Ok(()) => {
                    // What gives memory up has done so.
                    *self = Self::of(dense);
                    return count;
                }
            }
            self.check(dense);
        }
        0
    }
}
