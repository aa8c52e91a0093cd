// SPDX-License-Identifier: GPL-2.0

//! What the memory manager hands to a driver: a mapping to be made, a fault.

use kernel::bindings;
use kernel::prelude::*;

use super::dev_dax::Page;
use super::device::{device, Object};

/// The largest page sizes of the machine, as orders.
pub(crate) const PMD_ORDER: u32 = bindings::PMD_SHIFT - bindings::PAGE_SHIFT;
/// See [`PMD_ORDER`].
pub(crate) const PUD_ORDER: u32 = bindings::PUD_SHIFT - bindings::PAGE_SHIFT;

/// The part of a mapping that `mmap(2)` and the fault path check alike.
pub(crate) trait Area {
    /// First address.
    fn start(&self) -> usize;
    /// First address behind it.
    fn end(&self) -> usize;
    /// Whether stores reach the file (`VM_MAYSHARE`).
    fn is_shared(&self) -> bool;
    /// Whether the file's pages are mapped without a page cache.
    fn is_dax(&self) -> bool;
}

/// `struct vm_area_desc`: a mapping that is about to be made.
#[repr(transparent)]
pub(crate) struct VmaDesc(bindings::vm_area_desc);

impl VmaDesc {
    /// Asks for huge pages.
    pub(crate) fn set_huge(&mut self) {
        // SAFETY: `self` is valid and ours for the call of mmap_prepare.
        unsafe { bindings::dax_glue_desc_set_huge(&raw mut self.0) };
    }

    /// The page of the file that the mapping begins with.
    pub(crate) fn pgoff(&self) -> usize {
        self.0.pgoff
    }

    /// The operations of the mapping.
    pub(super) fn set_ops(&mut self, ops: *const bindings::vm_operations_struct) {
        self.0.vm_ops = ops;
    }

    /// The file that is mapped.
    pub(super) fn file(&self) -> *mut bindings::file {
        self.0.file
    }
}

impl Area for VmaDesc {
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

    fn is_dax(&self) -> bool {
        // SAFETY: The file is valid for the call of mmap_prepare.
        unsafe { bindings::dax_glue_file_is_dax(self.0.file) }
    }
}

/// `struct vm_fault`: a page that is missing. The mmap or VMA lock is held.
#[repr(transparent)]
pub(crate) struct Fault(bindings::vm_fault);

/// What a fault handler answers, `vm_fault_t`.
#[derive(Clone, Copy)]
pub(crate) struct Answer(pub(super) bindings::vm_fault_t);

impl Answer {
    /// There is no page: the task gets SIGBUS.
    pub(crate) const SIGBUS: Self = Self(bindings::vm_fault_reason_VM_FAULT_SIGBUS);
    /// Try again with smaller pages.
    pub(crate) const FALLBACK: Self = Self(bindings::vm_fault_reason_VM_FAULT_FALLBACK);
}

impl Fault {
    fn vma(&self) -> *mut bindings::vm_area_struct {
        self.0.__bindgen_anon_1.vma
    }

    /// The file that is mapped.
    pub(super) fn file(&self) -> *mut bindings::file {
        // SAFETY: The VMA is locked, so it and its file are valid.
        unsafe { (*self.vma()).vm_file }
    }

    /// The address that was accessed, a page's first.
    pub(crate) fn address(&self) -> usize {
        self.0.__bindgen_anon_1.address
    }

    /// Which page of the file `address`, inside the VMA, shows.
    pub(crate) fn pgoff(&self, address: usize) -> u64 {
        // SAFETY: The VMA is locked.
        unsafe { bindings::dax_glue_vma_pgoff(self.vma(), address) as u64 }
    }

    /// Puts `page`, of 2^`order` pages, where the fault was.
    ///
    /// The memory manager checks that its compound pages have that order.
    pub(crate) fn insert(&mut self, page: &Page<'_>, order: u32) -> Answer {
        // SAFETY: The struct page exists, because the device is alive; the
        // address space lives as long as the device.
        unsafe { bindings::dax_glue_pfn_set_mapping(page.pfn(), page.mapping(), page.pgoff()) };
        // SAFETY: As above, and the fault is being handled.
        Answer(unsafe { bindings::dax_glue_insert_pfn(&raw mut self.0, page.pfn(), order) })
    }
}

impl Area for Fault {
    fn start(&self) -> usize {
        // SAFETY: The VMA is locked.
        unsafe { (*self.vma()).__bindgen_anon_1.__bindgen_anon_1.vm_start }
    }

    fn end(&self) -> usize {
        // SAFETY: The VMA is locked.
        unsafe { (*self.vma()).__bindgen_anon_1.__bindgen_anon_1.vm_end }
    }

    fn is_shared(&self) -> bool {
        // SAFETY: The VMA is locked.
        unsafe { bindings::dax_glue_vma_shared(self.vma()) }
    }

    fn is_dax(&self) -> bool {
        // SAFETY: The VMA is locked, so its file is valid.
        unsafe { bindings::dax_glue_file_is_dax(self.file()) }
    }
}

/// Logs, at a limited rate, why task `current` may not map the device.
pub(crate) fn reject<T: Object>(object: &T, func: &CStr, why: &CStr) {
    // SAFETY: The device is alive, the strings are terminated.
    unsafe {
        bindings::dax_glue_reject_vma(
            super::device::as_raw(device(object)),
            func.as_char_ptr(),
            why.as_char_ptr(),
        )
    };
}

/// The same for a mapping whose ends are not aligned to `mask` + 1.
pub(crate) fn reject_unaligned<T: Object>(object: &T, func: &CStr, area: &impl Area, mask: usize) {
    // SAFETY: The device is alive, the string is terminated.
    unsafe {
        bindings::dax_glue_reject_unaligned(
            super::device::as_raw(device(object)),
            func.as_char_ptr(),
            area.start(),
            area.end(),
            mask,
        )
    };
}
