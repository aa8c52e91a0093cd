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
use crate::sys::dax_core::{Alive, DaxDevice, ReadGuard};
use crate::sys::dev_dax::Page;
use crate::sys::vma::{
    reject, reject_unaligned, Answer, Area, Fault, VmaDesc, PMD_ORDER, PUD_ORDER,
};

/// The name that messages give the handler of faults of 2^`order` pages: what C
/// calls it.
fn handler(order: u32) -> &'static CStr {
    match order {
        0 => c"__dev_dax_pte_fault",
        PMD_ORDER => c"__dev_dax_pmd_fault",
        _ => c"__dev_dax_pud_fault",
    }
}

/// How many pages of 2^`order` pages a fault maps; `None` for the one.
///
/// Of the largest there is one a table, as good as.
pub(crate) fn window(order: u32) -> Option<Window> {
    let window = crate::fault_around();
    (order < PUD_ORDER && window.has_neighbours()).then_some(window)
}

impl Binding {
    /// Whether an area may map the device. C: `__check_vma()`.
    ///
    /// # Errors
    ///
    /// `ENXIO` if the device was unbound since the file was opened, `EINVAL` if
    /// the area is private or not aligned.
    fn check<'a>(
        &'a self,
        area: &impl Area,
        func: impl Fn() -> &'static CStr,
        guard: &'a ReadGuard,
    ) -> Result<Alive<'a>> {
        let alive = self.life().alive(guard).ok_or(ENXIO)?;
        if !area.is_shared() {
            reject(self.device(), func(), c"attempted private mapping");
            return Err(EINVAL);
        }
        let mask = self.mask();
        if (area.start() | area.end()) & mask != 0 {
            reject_unaligned(self.device(), func(), area, mask);
            return Err(EINVAL);
        }
        Ok(alive)
    }

    /// The bits of an address within a page of the device.
    fn mask(&self) -> usize {
        self.page_size().wrapping_sub(1)
    }

    /// Maps the neighbours of `page`, which was mapped at `start`. That one of them
    /// cannot be mapped is the end of it and nobody's error.
    fn map_around(&self, window: Window, fault: &Fault, start: usize, page: Page<'_>) {
        if fault.is_watched() {
            return;
        }
        let table = match self.order() {
            0 => 1 << PAGE_SHIFT << PMD_ORDER,
            _ => 1 << PAGE_SHIFT << PUD_ORDER,
        };
        let bytes = self.align().bytes();
        // CAST: No machine that Linux runs on has a `usize` wider than `u64`.
        let (at, first, end) = (start as u64, fault.start() as u64, fault.end() as u64);
        let around = window
            .around(at, bytes, table)
            .min(Around::within(at, bytes, first, end.saturating_sub(1)))
            .min(page.around());
        let mut faults = fault.around(start, self.order());
        for offset in around.offsets(bytes) {
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

    fn dax(&self) -> &DaxDevice {
        self.device().dax()
    }

    /// C: `dax_mmap_prepare()`.
    fn mmap(&self, desc: &mut VmaDesc) -> Result {
        let guard = ReadGuard::new();
        let func = || c"dax_mmap_prepare";
        self.check(desc, func, &guard)?;
        // What a file is does not change, so no fault asks again.
        if !desc.is_dax() {
            reject(self.device(), func(), c"vma is not DAX capable");
            return Err(EINVAL);
        }
        // No page of the device could ever be put into such a mapping.
        let in_page = self.mask() >> PAGE_SHIFT;
        if desc.pgoff() & in_page != 0 {
            reject(self.device(), func(), c"unaligned offset");
            return Err(EINVAL);
        }
        desc.set_huge();
        Ok(())
    }

    /// Room at an address which is as far from a multiple of the alignment as
    /// the offset in the device is, so that huge pages fit. C:
    /// `dax_get_unmapped_area()`.
    fn unmapped_area(
        &self,
        addr: usize,
        len: usize,
        pgoff: usize,
        find: &dyn Fn(usize) -> usize,
    ) -> usize {
        let room = || {
            let align = self.page_size();
            let offset = pgoff.checked_mul(1 << PAGE_SHIFT)?;
            let end = offset.checked_add(len)?;
            let first = offset.checked_next_multiple_of(align)?;
            if addr != 0 || end.checked_sub(first)? < align {
                return None;
            }
            let padded = len.checked_add(align)?;
            offset.checked_add(padded)?;
            let found = find(padded);
            // What is not page aligned is an errno.
            if found & ((1 << PAGE_SHIFT) - 1) != 0 {
                return None;
            }
            found.checked_add(offset.wrapping_sub(found) & self.mask())
        };
        room().unwrap_or_else(|| find(len))
    }

    /// C: `dev_dax_huge_fault()`.
    fn fault(&self, fault: &mut Fault, order: u32) -> Answer {
        let guard = ReadGuard::new();
        let Ok(alive) = self.check(fault, || handler(order), &guard) else {
            return Answer::SIGBUS;
        };
        if order != self.order() {
            return if order < self.order() {
                Answer::SIGBUS
            } else {
                Answer::FALLBACK
            };
        }
        // All of the page is in the area, whose ends are multiples of its size.
        let start = fault.address() & !self.mask();
        let device = self.device().c();
        let Some(page) = device.page_at(&alive, fault.pgoff(start), self.align()) else {
            return Answer::SIGBUS;
        };
        let answer = fault.insert(&page, order);
        if let Some(window) = self.window() {
            // Of what has no neighbours this is all, and soon known.
            let alone = fault.end().wrapping_sub(fault.start()) == self.page_size()
                || page.around() == Around::NONE;
            if answer.is_mapped() && !alone && !fault.is_random() {
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
