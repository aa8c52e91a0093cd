// SPDX-License-Identifier: GPL-2.0

//! Files of the device: open, mmap, page faults.
//!
//! C: `dax_open()`, `dax_mmap_prepare()`, `dax_get_unmapped_area()` and
//! `dax_vm_ops` of device.c.

#![forbid(unsafe_code)]

use kernel::prelude::*;
use kernel::sync::Arc;

use crate::chardev::Binding;
use crate::device::DevDax;
use crate::range::PAGE_SHIFT;
use crate::sys::cdev::CharDev;
use crate::sys::dax_core::{Alive, DaxDevice, ReadGuard};
use crate::sys::vma::{
    reject, reject_unaligned, Answer, Area, Fault, VmaDesc, PMD_ORDER, PUD_ORDER,
};

/// The page sizes of the machine.
#[derive(Clone, Copy)]
enum FaultSize {
    /// 4 KiB on x86.
    Pte,
    /// 2 MiB on x86.
    Pmd,
    /// 1 GiB on x86.
    Pud,
}

impl FaultSize {
    fn from_order(order: u32) -> Option<Self> {
        match order {
            0 => Some(Self::Pte),
            PMD_ORDER => Some(Self::Pmd),
            PUD_ORDER => Some(Self::Pud),
            _ => None,
        }
    }

    fn order(self) -> u32 {
        match self {
            Self::Pte => 0,
            Self::Pmd => PMD_ORDER,
            Self::Pud => PUD_ORDER,
        }
    }

    fn bytes(self) -> usize {
        1 << (self.order().saturating_add(PAGE_SHIFT as u32))
    }

    /// The name that messages give the handler: what C calls it.
    fn handler(self) -> &'static CStr {
        match self {
            Self::Pte => c"__dev_dax_pte_fault",
            Self::Pmd => c"__dev_dax_pmd_fault",
            Self::Pud => c"__dev_dax_pud_fault",
        }
    }
}

impl Binding {
    /// Whether an area may map the device. C: `__check_vma()`.
    ///
    /// # Errors
    ///
    /// `ENXIO` if the device was unbound since the file was opened, `EINVAL` if
    /// the area is private, not aligned, or of a file that is not the device's.
    fn check<'a>(
        &'a self,
        area: &impl Area,
        func: &CStr,
        guard: &'a ReadGuard,
    ) -> Result<Alive<'a>> {
        if !self.is_alive() {
            return Err(ENXIO);
        }
        let alive = self.device().dax().alive(guard).ok_or(ENXIO)?;
        if !area.is_shared() {
            reject(self.device(), func, c"attempted private mapping");
            return Err(EINVAL);
        }
        let mask = self.mask();
        if (area.start() | area.end()) & mask != 0 {
            reject_unaligned(self.device(), func, area, mask);
            return Err(EINVAL);
        }
        if !area.is_dax() {
            reject(self.device(), func, c"vma is not DAX capable");
            return Err(EINVAL);
        }
        Ok(alive)
    }

    /// The bits of an address within a page of the device.
    fn mask(&self) -> usize {
        self.page_size().saturating_sub(1)
    }

    /// C: `__dev_dax_pte_fault()`, `__dev_dax_pmd_fault()`, `__dev_dax_pud_fault()`.
    fn fault_of_size(&self, fault: &mut Fault, size: FaultSize) -> Answer {
        let guard = ReadGuard::new();
        let Ok(alive) = self.check(fault, size.handler(), &guard) else {
            return Answer::SIGBUS;
        };
        let bytes = size.bytes();
        if bytes < self.page_size() {
            return Answer::SIGBUS;
        }
        if bytes > self.page_size() {
            return Answer::FALLBACK;
        }
        let start = fault.address() & !self.mask();
        match start.checked_add(bytes) {
            Some(end) if start >= fault.start() && end <= fault.end() => {}
            _ => return Answer::SIGBUS,
        }
        let pgoff = fault.pgoff(start);
        match self.device().c().page_at(&alive, pgoff, self.align()) {
            Some(page) => fault.insert(&page, size.order()),
            None => Answer::SIGBUS,
        }
    }
}

impl CharDev for Binding {
    type Device = DevDax;

    /// C: `dax_open()`, which lets a device without driver be opened.
    fn open(device: &DevDax) -> Result<Arc<Self>> {
        device
            .binding()
            .filter(|binding| binding.is_alive())
            .ok_or(ENXIO)
    }

    fn dax(&self) -> &DaxDevice {
        self.device().dax()
    }

    /// C: `dax_mmap_prepare()`.
    fn mmap(&self, desc: &mut VmaDesc) -> Result {
        let guard = ReadGuard::new();
        self.check(desc, c"dax_mmap_prepare", &guard)?;
        // No page of the device could ever be put into such a mapping.
        let in_page = self.mask() >> PAGE_SHIFT;
        if desc.pgoff() & in_page != 0 {
            reject(self.device(), c"dax_mmap_prepare", c"unaligned offset");
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
        match FaultSize::from_order(order) {
            Some(size) => self.fault_of_size(fault, size),
            None => Answer::SIGBUS,
        }
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
        usize::try_from(self.align().bytes()).unwrap_or(usize::MAX)
    }
}
