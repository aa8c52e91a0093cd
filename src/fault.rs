// SPDX-License-Identifier: GPL-2.0

//! Files of the device: open, mmap, page faults.
//!
//! C: `dax_open()`, `dax_mmap_prepare()`, `dax_get_unmapped_area()` and
//! `dax_vm_ops` of device.c.

#![forbid(unsafe_code)]

use kernel::prelude::*;
use kernel::sync::Arc;

use crate::around::{Around, Window};
use crate::chardev::Binding;
use crate::device::DevDax;
use crate::range::PAGE_SHIFT;
use crate::sys::cdev::CharDev;
use crate::sys::dax_core::ReadGuard;
use crate::sys::life::{Life, Page};
use crate::sys::log;
use crate::sys::vma::{
    page_table_bytes, reject, reject_unaligned, Answer, Area, Fault, Func, VmaDesc,
};

/// What a fault maps around a page of 2^`order` pages; `None` for the page alone.
pub(crate) fn window(order: u32) -> Option<Window> {
    if order != 0 {
        return None;
    }
    // CAST: No machine that Linux runs on has a `usize` wider than `u64`.
    let window = Window::new(crate::fault_around_bytes(), page_table_bytes() as u64);
    window.has_neighbours().then_some(window)
}

impl Binding {
    /// Whether an area may map the device. C: `__check_vma()`.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the area is private.
    fn check(&self, area: &impl Area, func: Func) -> Result {
        if !area.is_shared() {
            reject(self.device(), func, c"attempted private mapping");
            return Err(EINVAL);
        }
        Ok(())
    }

    /// The bits of an address within a page of the device.
    fn mask(&self) -> usize {
        self.page_size().wrapping_sub(1)
    }

    /// Maps the neighbours of `page`, which was mapped at `start`. That one of them
    /// cannot be mapped is the end of it and nobody's error.
    #[cold]
    fn map_around(&self, window: Window, fault: &Fault, start: usize, page: Page<'_>) {
        // CAST: No machine that Linux runs on has a `usize` wider than `u64`.
        let (at, first, end) = (start as u64, fault.start() as u64, fault.end() as u64);
        let around = window
            .around(at)
            .min(Around::within(at, first, end.saturating_sub(1)))
            .min(page.around());
        if around == Around::NONE || fault.is_random() || fault.is_watched() {
            return;
        }
        let mut faults = fault.around(start);
        for offset in around.offsets() {
            let mapped = page
                .neighbour(offset)
                .is_some_and(|page| faults.insert(&page, offset));
            if !mapped {
                break;
            }
        }
    }
}

impl CharDev for Binding {
    type Device = DevDax;

    /// C: `dax_open()`, which lets a device without driver be opened.
    fn open(device: &DevDax) -> Result<Arc<Self>> {
        device
            .binding()
            .filter(|binding| binding.life().lasts())
            .ok_or(ENXIO)
    }

    fn life(&self) -> &Arc<Life> {
        Self::life(self)
    }

    /// C: `dax_mmap_prepare()`.
    fn mmap(&self, desc: &mut VmaDesc) -> Result {
        if !Self::life(self).lasts() {
            return Err(ENXIO);
        }
        self.check(desc, Func::Mmap)?;
        if (desc.start() | desc.end()) & self.mask() != 0 {
            reject_unaligned(self.device(), Func::Mmap, desc, self.mask());
            return Err(EINVAL);
        }
        // What a file is does not change, so no fault asks again.
        if !desc.is_dax() {
            reject(self.device(), Func::Mmap, c"vma is not DAX capable");
            return Err(EINVAL);
        }
        // No page of the device could ever be put into such a mapping.
        let in_page = self.mask() >> PAGE_SHIFT;
        if desc.pgoff() & in_page != 0 {
            reject(self.device(), Func::Mmap, c"unaligned offset");
            return Err(EINVAL);
        }
        desc.set_huge();
        if self.order() != 0 {
            // As for hugetlbfs: a guard would split a page of the device, and a
            // mapping that grew may end inside of one.
            desc.forbid_expansion();
        }
        Ok(())
    }

    /// Room at an address which is as far from a multiple of the alignment as
    /// the offset in the device is, so that huge pages fit. An address that the user
    /// wishes for is taken if it is free and fits. C: `dax_get_unmapped_area()`.
    fn unmapped_area(
        &self,
        hint: usize,
        len: usize,
        pgoff: usize,
        is_fixed: bool,
        find: &dyn Fn(usize, usize) -> usize,
    ) -> usize {
        let offset = pgoff.wrapping_mul(1 << PAGE_SHIFT);
        let misfit = |addr: usize| offset.wrapping_sub(addr) & self.mask();
        if hint != 0 {
            let found = find(hint, len);
            if is_fixed || self.order() == 0 || (is_address(found) && misfit(found) == 0) {
                return found;
            }
            // The next address that fits, if that is free.
            let fitting = hint.saturating_add(misfit(hint));
            let found = find(fitting, len);
            if found == fitting {
                return found;
            }
        }
        let room = || {
            let offset = pgoff.checked_mul(1 << PAGE_SHIFT)?;
            let end = offset.checked_add(len)?;
            let first = offset.checked_next_multiple_of(self.page_size())?;
            if end.checked_sub(first)? < self.page_size() {
                return None;
            }
            let padded = len.checked_add(self.page_size())?;
            offset.checked_add(padded)?;
            let found = find(0, padded);
            is_address(found).then(|| found.checked_add(misfit(found)))?
        };
        room().unwrap_or_else(|| find(0, len))
    }

    /// C: `dev_dax_huge_fault()`.
    fn fault(&self, fault: &mut Fault, order: u32) -> Answer {
        let guard = ReadGuard::new();
        let Some(alive) = Self::life(self).alive(&guard) else {
            return Answer::SIGBUS;
        };
        if self.check(fault, Func::Fault(order)).is_err() {
            return Answer::SIGBUS;
        }
        if order != self.order() {
            if order > self.order() {
                return Answer::FALLBACK;
            }
            log::refused_fault(self.device(), order, self.order(), 0);
            return Answer::SIGBUS;
        }
        let mut start = fault.address();
        if order != 0 {
            // A mapping may begin or end inside a page of the device, if it was moved.
            start &= !self.mask();
            if start < fault.start() || fault.end().wrapping_sub(start) < self.page_size() {
                reject_unaligned(self.device(), Func::Fault(order), fault, self.mask());
                return Answer::SIGBUS;
            }
        }
        let pgoff = fault.pgoff(start);
        let Some(page) = alive.page_at(pgoff) else {
            log::refused_fault(self.device(), order, order, pgoff);
            return Answer::SIGBUS;
        };
        let answer = fault.insert(&page);
        if let Some(window) = self.window() {
            // A mapping of one page has no neighbours.
            let size = fault.end().wrapping_sub(fault.start());
            if answer.is_mapped() && size > self.page_size() {
                self.map_around(window, fault, start, page);
            }
        }
        answer
    }

    /// C: `dev_dax_may_split()`.
    fn may_split(&self, addr: usize) -> Result {
        if addr & self.mask() != 0 {
            return Err(EINVAL);
        }
        Ok(())
    }

    /// C: `dev_dax_pagesize()`.
    fn page_size(&self) -> usize {
        self.bytes()
    }
}

/// Whether what `find` found is no errno.
fn is_address(found: usize) -> bool {
    found & ((1 << PAGE_SHIFT) - 1) == 0
}
