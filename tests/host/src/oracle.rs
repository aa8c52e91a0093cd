// SPDX-License-Identifier: GPL-2.0

//! The oracle: the driver's rules on an array that has the owner of each page.
//!
//! This is slow and plain on purpose: growth looks for one aligned free piece at a time, shrinking
//! takes one page at a time. It was written from what the C driver does, not from `allocator.rs`.

use crate::ranges::allocator::RangeError;
use crate::real::range;

/// A device: its ranges, as first page and number of pages, and its alignment in
/// pages.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Device {
    pub(crate) ranges: Vec<(u64, u64)>,
    pub(crate) align: u64,
}

impl Device {
    fn new() -> Self {
        Self {
            ranges: Vec::new(),
            align: 1,
        }
    }

    pub(crate) fn size(&self) -> u64 {
        self.ranges.iter().map(|(_, pages)| pages).sum()
    }

    /// The physical page of each page of the device, and the number of its range.
    pub(crate) fn pages(&self) -> Vec<(u64, usize)> {
        let mut all = Vec::new();
        for (index, (first, pages)) in self.ranges.iter().enumerate() {
            all.extend((*first..first + pages).map(|page| (page, index)));
        }
        all
    }

    /// Whether every range could be mapped with pages of `align`.
    pub(crate) fn fits(&self, align: u64) -> bool {
        let mut offset = 0;
        self.ranges.iter().all(|(first, pages)| {
            let fits = [*first, *pages, offset].iter().all(|x| x % align == 0);
            offset += pages;
            fits
        })
    }
}

/// An operation on a device. Sizes and alignments are in pages.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Op {
    Resize(u64),
    MapAt(u64, u64),
    /// Two ranges at once.
    MapTwo((u64, u64), (u64, u64)),
    Align(u64),
    Delete,
}

/// A region and its devices.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Dense {
    /// The region's first page.
    pub(crate) base: u64,
    /// Whether each page of the region is taken.
    pub(crate) taken: Vec<bool>,
    pub(crate) devices: Vec<Device>,
}

impl Dense {
    pub(crate) fn new(base: u64, pages: usize, devices: usize) -> Self {
        Self {
            base,
            taken: vec![false; pages],
            devices: vec![Device::new(); devices],
        }
    }

    fn index(&self, page: u64) -> Option<usize> {
        let index = usize::try_from(page.checked_sub(self.base)?).unwrap();
        (index < self.taken.len()).then_some(index)
    }

    fn is_free(&self, page: u64) -> bool {
        self.index(page).is_some_and(|index| !self.taken[index])
    }

    fn set(&mut self, page: u64, taken: bool) {
        let index = self.index(page).unwrap();
        assert_ne!(self.taken[index], taken);
        self.taken[index] = taken;
    }

    /// Puts another device in the place of `device`, whatever its rules are.
    pub(crate) fn replace(&mut self, device: usize, new: Device) {
        while self.pop_page(device) {}
        for (first, pages) in &new.ranges {
            (*first..first + pages).for_each(|page| self.set(page, true));
        }
        self.devices[device] = new;
    }

    /// Longest runs of pages that are not taken: first page and number.
    pub(crate) fn holes(&self) -> Vec<(u64, u64)> {
        let mut holes: Vec<(u64, u64)> = Vec::new();
        for page in (self.base..).take(self.taken.len()) {
            match holes.last_mut() {
                _ if !self.is_free(page) => {}
                Some((first, pages)) if *first + *pages == page => *pages += 1,
                _ => holes.push((page, 1)),
            }
        }
        holes
    }

    /// The state after `op` on device number `device`.
    pub(crate) fn after(&self, device: usize, op: Op) -> Result<Self, RangeError> {
        let mut next = self.clone();
        match op {
            Op::Resize(pages) => next.resize(device, pages)?,
            Op::MapAt(first, pages) => next.map_at(device, first, pages)?,
            Op::MapTwo(one, two) => next.map_two(device, one, two)?,
            Op::Align(align) => {
                if !next.devices[device].fits(align) {
                    return Err(RangeError::Misaligned);
                }
                next.devices[device].align = align;
            }
            Op::Delete => next.replace(device, Device::new()),
        }
        Ok(next)
    }

    fn resize(&mut self, device: usize, pages: u64) -> Result<(), RangeError> {
        let align = self.devices[device].align;
        if pages % align != 0 {
            return Err(RangeError::Misaligned);
        }
        while self.devices[device].size() > pages {
            self.pop_page(device);
        }
        let end = self.base + self.taken.len() as u64;
        let mut page = self.base;
        let mut missing = pages - self.devices[device].size();
        while missing > 0 {
            if page >= end {
                return Err(RangeError::NoSpace);
            }
            let mut unit = page..page + align;
            if page % align == 0 && unit.all(|page| self.is_free(page)) {
                for page in page..page + align {
                    self.push_page(device, page);
                }
                missing -= align;
                page += align;
            } else {
                page += 1;
            }
        }
        Ok(())
    }

    /// Appends `page`, to the last range if it is right behind that.
    fn push_page(&mut self, device: usize, page: u64) {
        self.set(page, true);
        let ranges = &mut self.devices[device].ranges;
        match ranges.last_mut() {
            Some((first, pages)) if *first + *pages == page => *pages += 1,
            _ => ranges.push((page, 1)),
        }
    }

    /// Takes the last page away, and says whether there was one.
    fn pop_page(&mut self, device: usize) -> bool {
        let ranges = &mut self.devices[device].ranges;
        let Some((first, pages)) = ranges.last_mut() else {
            return false;
        };
        *pages -= 1;
        let page = *first + *pages;
        if *pages == 0 {
            ranges.pop();
        }
        self.set(page, false);
        true
    }

    /// The checks of a new range that need no look at who has its pages.
    fn check_place(&self, device: usize, first: u64, pages: u64) -> Result<(), RangeError> {
        let align = self.devices[device].align;
        if first % align != 0 || pages % align != 0 {
            return Err(RangeError::MisalignedRange(range(first, pages)));
        }
        if (first..first + pages).any(|page| self.index(page).is_none()) {
            return Err(RangeError::OutOfRegion(range(first, pages)));
        }
        Ok(())
    }

    fn map_at(&mut self, device: usize, first: u64, pages: u64) -> Result<(), RangeError> {
        self.check_place(device, first, pages)?;
        let all = first..first + pages;
        if all.clone().any(|page| !self.is_free(page)) {
            return Err(RangeError::Overlap(range(first, pages)));
        }
        all.for_each(|page| self.set(page, true));
        self.devices[device].ranges.push((first, pages));
        Ok(())
    }

    /// The checks that need no look at the pages come first, for both ranges.
    fn map_two(
        &mut self,
        device: usize,
        one: (u64, u64),
        two: (u64, u64),
    ) -> Result<(), RangeError> {
        for (first, pages) in [one, two] {
            self.check_place(device, first, pages)?;
        }
        self.map_at(device, one.0, one.1)?;
        self.map_at(device, two.0, two.1)
    }
}
