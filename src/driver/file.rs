// SPDX-License-Identifier: GPL-2.0

//! Open files of a device: open, mmap, and the calls of the memory manager.
//!
//! C: `dax_open()`, `dax_mmap_prepare()` and `dax_get_unmapped_area()` of device.c.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::{
    driver::device::{
        Binding,
        DevDax, //
    },
    ranges::range::PAGE_SHIFT,
    sys::{
        cdev::CharDev,
        liveness::Liveness,
        vma::{
            reject,
            reject_unaligned,
            Fault,
            Func,
            VmFault,
            VmaArea,
            VmaDesc, //
        }, //
    }, //
};

impl CharDev for Binding {
    type Device = DevDax;

    /// C: `dax_open()`, which also opens a device that has no driver.
    fn open(device: &DevDax) -> Result<Arc<Self>> {
        device
            .binding()
            .filter(|binding| binding.liveness().is_alive())
            .ok_or(ENXIO)
    }

    fn liveness(&self) -> &Arc<Liveness> {
        Self::liveness(self)
    }

    /// C: `dax_mmap_prepare()`.
    fn mmap(&self, desc: &mut VmaDesc) -> Result {
        if !Self::liveness(self).is_alive() {
            return Err(ENXIO);
        }
        self.check(desc, Func::Mmap)?;
        if (desc.start() | desc.end()) & self.mask() != 0 {
            reject_unaligned(self.device(), Func::Mmap, desc, self.mask());
            return Err(EINVAL);
        }
        // A file stays a DAX file, so page faults need not check this again.
        if !desc.is_dax() {
            reject(self.device(), Func::Mmap, c"vma is not DAX capable");
            return Err(EINVAL);
        }
        // No page of the device would fit into such a VMA.
        let in_page = self.mask() >> PAGE_SHIFT;
        if desc.pgoff() & in_page != 0 {
            reject(self.device(), Func::Mmap, c"unaligned offset");
            return Err(EINVAL);
        }
        desc.set_huge();
        if self.order() != 0 {
            // As hugetlbfs does: a guard region would split a page of the device, and a VMA
            // that grew may end inside one.
            desc.forbid_expansion();
        }
        Ok(())
    }

    /// Finds an address whose distance from a multiple of the alignment equals that of the
    /// file offset, so that huge pages fit. Uses the address that the user hints at if that
    /// is free and fits. C: `dax_get_unmapped_area()`.
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
            // Try the next address that fits.
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

    /// C has no counterpart: there every `lseek()` succeeds and does nothing.
    fn size(&self) -> Result<u64> {
        if !Self::liveness(self).is_alive() {
            return Err(ENXIO);
        }
        Ok(Self::size(self))
    }

    #[inline]
    fn fault(&self, fault: &mut Fault, order: u32) -> VmFault {
        self.handle_fault(fault, order)
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
        self.page_bytes()
    }
}

/// Whether the result of `find` is an address and not an errno.
fn is_address(found: usize) -> bool {
    found & ((1 << PAGE_SHIFT) - 1) == 0
}
