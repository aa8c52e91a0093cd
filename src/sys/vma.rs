// SPDX-License-Identifier: GPL-2.0

//! Requests of the memory manager: a VMA that is about to be made, and a page fault.

use kernel::{
    bindings,
    mm::virt::VmaRef,
    prelude::*,
    warn_on, //
};

use super::{
    liveness::Page,
    object::{
        raw,
        Object, //
    }, //
};

use crate::ranges::range::{
    usize_as_u64,
    PAGE_SHIFT,
    PAGE_SIZE, //
};

/// The properties of a VMA that both `mmap(2)` and the fault path check.
pub(crate) trait VmaArea {
    /// First address.
    fn start(&self) -> usize;
    /// First address after the VMA.
    fn end(&self) -> usize;
    /// Whether the VMA is shared: stores reach the file (`VM_MAYSHARE`).
    fn is_shared(&self) -> bool;
}

/// A VMA that is about to be made: `struct vm_area_desc`.
#[repr(transparent)]
pub(crate) struct VmaDesc(bindings::vm_area_desc);

impl VmaDesc {
    /// Asks for huge pages (`VM_HUGEPAGE`).
    pub(crate) fn set_huge(&mut self) {
        // SAFETY: `self` is valid, and nobody else uses it while it is borrowed.
        unsafe { bindings::dax_glue_desc_set_huge(&raw mut self.0) };
    }

    /// Forbids growing the VMA and guard regions in it (`VM_DONTEXPAND`).
    pub(crate) fn forbid_expansion(&mut self) {
        // SAFETY: `self` is valid, and nobody else uses it while it is borrowed.
        unsafe { bindings::dax_glue_desc_set_dontexpand(&raw mut self.0) };
    }

    /// Page offset in the file at which the VMA begins.
    pub(crate) fn pgoff(&self) -> usize {
        self.0.pgoff
    }

    /// Whether the file is a DAX file, whose pages are mapped without a page cache.
    pub(crate) fn is_dax(&self) -> bool {
        // SAFETY: The file stays open for the call of mmap_prepare.
        unsafe { bindings::dax_glue_file_is_dax(self.0.file) }
    }

    /// Sets the VMA operations.
    pub(super) fn set_ops(&mut self, ops: *const bindings::vm_operations_struct) {
        self.0.vm_ops = ops;
    }

    /// The C pointer of the open file.
    pub(super) fn file(&self) -> *mut bindings::file {
        self.0.file
    }
}

impl VmaArea for VmaDesc {
    fn start(&self) -> usize {
        self.0.start
    }

    fn end(&self) -> usize {
        self.0.end
    }

    fn is_shared(&self) -> bool {
        // SAFETY: `self` is valid.
        unsafe { bindings::dax_glue_desc_shared(&raw const self.0) }
    }
}

/// A page fault: `struct vm_fault`. The mmap lock or the lock of the VMA is held.
#[repr(transparent)]
pub(crate) struct Fault(bindings::vm_fault);

/// The result of a fault handler: `vm_fault_t`.
#[derive(Clone, Copy)]
pub(crate) struct VmFault(pub(super) bindings::vm_fault_t);

impl VmFault {
    /// The access fails, and the task gets SIGBUS.
    pub(crate) const SIGBUS: Self = Self(bindings::vm_fault_reason_VM_FAULT_SIGBUS);
    /// The memory manager retries with smaller pages.
    pub(crate) const FALLBACK: Self = Self(bindings::vm_fault_reason_VM_FAULT_FALLBACK);

    /// Whether the page is mapped now.
    pub(crate) fn is_mapped(self) -> bool {
        self.0 == bindings::vm_fault_reason_VM_FAULT_NOPAGE
    }
}

impl Fault {
    fn vma(&self) -> &VmaRef {
        // SAFETY: The mmap lock or the lock of the VMA is held while the fault is handled,
        // so the VMA is valid.
        unsafe { VmaRef::from_raw(self.0.__bindgen_anon_1.vma) }
    }

    /// The C pointer of the open file.
    pub(super) fn file(&self) -> *mut bindings::file {
        // SAFETY: The VMA is locked, so it is valid.
        unsafe { (*self.vma().as_ptr()).vm_file }
    }

    /// The address that was accessed, rounded down to a page.
    pub(crate) fn address(&self) -> usize {
        self.0.__bindgen_anon_1.address
    }

    /// Page offset in the file for the address `start`, which is in the VMA and not above
    /// [`Fault::address`].
    #[inline]
    pub(crate) fn pgoff(&self, start: usize) -> u64 {
        let behind = self.address().wrapping_sub(start) >> PAGE_SHIFT;
        usize_as_u64(self.0.__bindgen_anon_1.pgoff.wrapping_sub(behind))
    }

    /// Maps `page` where the fault occurred. `page` is of the device whose file the VMA
    /// maps, and all of it is in the VMA.
    ///
    /// The memory manager checks that the struct pages are compound pages of that order.
    #[inline(always)]
    pub(crate) fn insert(&mut self, page: &Page<'_>) -> VmFault {
        // SAFETY: The VMA is locked, so its file is valid.
        let address_space = unsafe { (*self.file()).f_mapping };
        // Unbinding removes the pages from the VMAs of the address space in `page` only.
        if warn_on!(address_space != page.address_space()) {
            return VmFault::SIGBUS;
        }
        // The memory manager does not check that a huge page ends within the VMA.
        if page.order() != 0 && warn_on!(!self.has_room(page.order())) {
            return VmFault::SIGBUS;
        }
        insert(&mut self.0, page)
    }

    /// Whether the aligned area of 2^`order` pages around the address is in the VMA.
    #[inline]
    pub(crate) fn has_room(&self, order: u32) -> bool {
        let size = 1_usize.wrapping_shl(order.saturating_add(PAGE_SIZE.trailing_zeros()));
        let start = self.address() & !size.wrapping_sub(1);
        start >= self.start() && self.end().wrapping_sub(start) >= size
    }

    /// Whether the user advised that accesses are random (`MADV_RANDOM`), so neighbours are
    /// not worth mapping.
    #[inline]
    pub(crate) fn is_random(&self) -> bool {
        self.vma().flags() & bindings::DAX_VM_RAND_READ != 0
    }

    /// Whether userfaultfd wants to see the fault of each page.
    pub(crate) fn is_watched(&self) -> bool {
        // SAFETY: The VMA is locked, so it is valid.
        unsafe { bindings::dax_glue_vma_has_uffd(self.vma().as_ptr()) }
    }

    /// Prepares to map pages of `PAGE_SIZE` around the page that faulted, which begins at
    /// address `start`.
    pub(crate) fn around(&self, start: usize) -> NeighbourFaults<'_> {
        let mut fault = self.0;
        // A neighbour was not written to, so it is mapped as for a read, which leaves it
        // clean. `orig_pte` is not the entry of a neighbour.
        fault.flags &= !(bindings::fault_flag_FAULT_FLAG_WRITE
            | bindings::fault_flag_FAULT_FLAG_ORIG_PTE_VALID);
        NeighbourFaults {
            of: self,
            fault,
            start,
            table: page_table_bytes(),
        }
    }
}

/// The size of the area that one page table of the lowest level maps, in bytes.
pub(crate) fn page_table_bytes() -> usize {
    // SAFETY: The function has no precondition.
    unsafe { bindings::dax_glue_page_table_bytes() }
}

/// A copy of a fault, with which the neighbours of the page that faulted are mapped.
pub(crate) struct NeighbourFaults<'a> {
    of: &'a Fault,
    fault: bindings::vm_fault,
    /// Address of the page that faulted.
    start: usize,
    /// Size of the area that the page table maps, in bytes.
    table: usize,
}

impl NeighbourFaults<'_> {
    /// Maps `page` at `bytes`, modulo 2^64, after the page that faulted, unless something
    /// is mapped there. Skips poisoned pages, so that only a real access fails.
    ///
    /// Returns whether to try more neighbours. Returns false if `page` is not of this
    /// address space or not of order 0, if the address is outside the VMA or the page
    /// table, or if the page could not be mapped.
    pub(crate) fn insert(&mut self, page: &Page<'_>, bytes: u64) -> bool {
        // CAST: The address is computed modulo the size of the address space.
        let address = self.start.wrapping_add(bytes as usize);
        let table = self.table.wrapping_sub(1);
        // SAFETY: The VMA is locked, so its file is valid.
        let address_space = unsafe { (*self.of.file()).f_mapping };
        if address_space != page.address_space()
            || page.order() != 0
            || (address ^ self.start) & !table != 0
            || !(self.of.start()..self.of.end()).contains(&address)
        {
            return false;
        }
        // SAFETY: A `Page` belongs to a device that is alive, so it has a struct page.
        if unsafe { bindings::dax_glue_pfn_poisoned(page.pfn()) } {
            return true;
        }
        let at = &mut self.fault.__bindgen_anon_1;
        at.address = address;
        at.real_address = address;
        at.pgoff = page.pgoff();
        insert(&mut self.fault, page).is_mapped()
    }
}

/// Maps `page` where `fault` occurred. An existing entry stays.
#[inline(always)]
fn insert(fault: &mut bindings::vm_fault, page: &Page<'_>) -> VmFault {
    // SAFETY: The fault is being handled, so its VMA is locked and valid. A `Page` belongs
    // to a device that is alive, so it has a struct page. Its bit is in the bitmap that
    // `touched` returns, if any.
    VmFault(unsafe {
        bindings::dax_glue_insert_pfn(
            &raw mut *fault,
            page.pfn(),
            page.pgoff(),
            page.order(),
            page.touched(),
        )
    })
}

impl VmaArea for Fault {
    fn start(&self) -> usize {
        self.vma().start()
    }

    fn end(&self) -> usize {
        self.vma().end()
    }

    fn is_shared(&self) -> bool {
        self.vma().flags() & bindings::DAX_VM_MAYSHARE != 0
    }
}

/// The function that rejects a VMA. Messages give its name in the C driver.
#[derive(Clone, Copy)]
pub(crate) enum Func {
    /// `mmap(2)`.
    Mmap,
    /// A page fault of the given order.
    Fault(u32),
}

impl Func {
    /// The order of the fault; -1 for `mmap(2)`.
    fn order(self) -> i32 {
        match self {
            Self::Mmap => -1,
            Self::Fault(order) => i32::try_from(order).unwrap_or(i32::MAX),
        }
    }
}

/// Logs, at a limited rate, why the current task may not map the device.
pub(crate) fn reject<T: Object>(object: &T, func: Func, why: &CStr) {
    // SAFETY: The device is valid while `object` is borrowed, and `why` is NUL-terminated.
    unsafe { bindings::dax_glue_reject_vma(raw(object), func.order(), why.as_char_ptr()) };
}

/// Logs, at a limited rate, that the ends of a VMA are not multiples of `mask` + 1.
pub(crate) fn reject_unaligned<T: Object>(
    object: &T,
    func: Func,
    area: &impl VmaArea,
    mask: usize,
) {
    // SAFETY: The device is valid while `object` is borrowed.
    unsafe {
        bindings::dax_glue_reject_unaligned(
            raw(object),
            func.order(),
            area.start(),
            area.end(),
            mask,
        )
    };
}
