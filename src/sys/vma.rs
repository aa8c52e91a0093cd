// SPDX-License-Identifier: GPL-2.0

//! What the memory manager hands to a driver: a mapping to be made, a fault.

use kernel::{
    bindings,
    mm::virt::VmaRef,
    prelude::*,
    warn_on, //
};

use super::{
    liveness::Page,
    object::{
        device,
        Object, //
    }, //
};

/// The part of a mapping that `mmap(2)` and the fault path check alike.
pub(crate) trait VmaArea {
    /// First address.
    fn start(&self) -> usize;
    /// First address behind it.
    fn end(&self) -> usize;
    /// Whether stores reach the file (`VM_MAYSHARE`).
    fn is_shared(&self) -> bool;
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

    /// Forbids to grow the mapping, and to install guards in it.
    pub(crate) fn forbid_expansion(&mut self) {
        // SAFETY: As above.
        unsafe { bindings::dax_glue_desc_set_dontexpand(&raw mut self.0) };
    }

    /// The page of the file that the mapping begins with.
    pub(crate) fn pgoff(&self) -> usize {
        self.0.pgoff
    }

    /// Whether the file's pages are mapped without a page cache.
    pub(crate) fn is_dax(&self) -> bool {
        // SAFETY: The file is valid for the call of mmap_prepare.
        unsafe { bindings::dax_glue_file_is_dax(self.0.file) }
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

/// `struct vm_fault`: a page that is missing. The mmap or VMA lock is held.
#[repr(transparent)]
pub(crate) struct Fault(bindings::vm_fault);

/// What a fault handler answers, `vm_fault_t`.
#[derive(Clone, Copy)]
pub(crate) struct VmFault(pub(super) bindings::vm_fault_t);

impl VmFault {
    /// There is no page: the task gets SIGBUS.
    pub(crate) const SIGBUS: Self = Self(bindings::vm_fault_reason_VM_FAULT_SIGBUS);
    /// Try again with smaller pages.
    pub(crate) const FALLBACK: Self = Self(bindings::vm_fault_reason_VM_FAULT_FALLBACK);

    /// Whether the page is there now.
    pub(crate) fn is_mapped(self) -> bool {
        self.0 == bindings::vm_fault_reason_VM_FAULT_NOPAGE
    }
}

impl Fault {
    fn vma(&self) -> &VmaRef {
        // SAFETY: The VMA is locked while the fault is handled.
        unsafe { VmaRef::from_raw(self.0.__bindgen_anon_1.vma) }
    }

    /// The file that is mapped.
    pub(super) fn file(&self) -> *mut bindings::file {
        // SAFETY: The VMA is locked, so it and its file are valid.
        unsafe { (*self.vma().as_ptr()).vm_file }
    }

    /// The address that was accessed, a page's first.
    pub(crate) fn address(&self) -> usize {
        self.0.__bindgen_anon_1.address
    }

    /// Which page of the file `start`, inside the VMA and not above
    /// [`Fault::address`], shows.
    #[inline]
    pub(crate) fn pgoff(&self, start: usize) -> u64 {
        let behind = self.address().wrapping_sub(start) >> bindings::PAGE_SHIFT;
        self.0.__bindgen_anon_1.pgoff.wrapping_sub(behind) as u64
    }

    /// Puts `page` where the fault was. It is a page of the file that is mapped.
    ///
    /// The memory manager checks that its compound pages have that order.
    #[inline(always)]
    pub(crate) fn insert(&mut self, page: &Page<'_>) -> VmFault {
        // SAFETY: The VMA is locked, so its file is valid.
        let mapping = unsafe { (*self.file()).f_mapping };
        // Whoever takes the struct pages away looks for mappings of them there.
        if warn_on!(mapping != page.mapping()) {
            return VmFault::SIGBUS;
        }
        insert(&mut self.0, page)
    }

    /// Whether the user wants a fault for each page.
    #[inline]
    pub(crate) fn is_random(&self) -> bool {
        self.vma().flags() & bindings::DAX_VM_RAND_READ != 0
    }

    /// Whether userfaultfd wants that.
    pub(crate) fn is_watched(&self) -> bool {
        // SAFETY: The VMA is locked.
        unsafe { bindings::dax_glue_vma_has_uffd(self.vma().as_ptr()) }
    }

    /// To put pages of the machine's size around the one that faulted, which begins
    /// at `start`.
    pub(crate) fn around(&self, start: usize) -> NeighbourFaults<'_> {
        let mut fault = self.0;
        // A page that nobody wrote to is clean, so it is mapped as if read; and
        // nobody looked for what is there.
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

/// What a table of the lowest level maps, in bytes.
pub(crate) fn page_table_bytes() -> usize {
    // SAFETY: Has no precondition.
    unsafe { bindings::dax_glue_page_table_bytes() }
}

/// A fault, moved to pages that did not fault. It is handled at the same time.
pub(crate) struct NeighbourFaults<'a> {
    of: &'a Fault,
    fault: bindings::vm_fault,
    /// The first address of the page that faulted.
    start: usize,
    /// What its page table maps, in bytes.
    table: usize,
}

impl NeighbourFaults<'_> {
    /// Puts `page`, of the machine's size, into the page table `bytes`, modulo 2^64,
    /// behind the page that faulted, unless something is there. Whether there is a
    /// point in going on: not if that is outside of the mapping or of the page table.
    ///
    /// Poisoned pages are left to those who touch them.
    pub(crate) fn insert(&mut self, page: &Page<'_>, bytes: u64) -> bool {
        // CAST: Modulo the size of the address space.
        let address = self.start.wrapping_add(bytes as usize);
        let table = self.table.wrapping_sub(1);
        // SAFETY: The VMA is locked, so its file is valid.
        let mapping = unsafe { (*self.of.file()).f_mapping };
        if mapping != page.mapping()
            || page.order() != 0
            || (address ^ self.start) & !table != 0
            || !(self.of.start()..self.of.end()).contains(&address)
        {
            return false;
        }
        // SAFETY: The struct page exists, because the device is alive.
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

/// Puts `page` where `fault` was; what is there already stays.
#[inline(always)]
fn insert(fault: &mut bindings::vm_fault, page: &Page<'_>) -> VmFault {
    // SAFETY: The struct page exists, because the device is alive, and the fault is
    // being handled, so its VMA is locked. The page's offset has a bit in `touched`.
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

/// Who rejects a mapping, as messages name it: what C calls the function.
#[derive(Clone, Copy)]
pub(crate) enum Func {
    /// `mmap(2)`.
    Mmap,
    /// A page fault of that order.
    Fault(u32),
}

impl Func {
    /// The order of a fault, or what is none.
    fn order(self) -> i32 {
        match self {
            Self::Mmap => -1,
            Self::Fault(order) => i32::try_from(order).unwrap_or(i32::MAX),
        }
    }
}

/// Logs, at a limited rate, why task `current` may not map the device.
pub(crate) fn reject<T: Object>(object: &T, func: Func, why: &CStr) {
    // SAFETY: The device is alive, the string is terminated.
    unsafe {
        bindings::dax_glue_reject_vma(
            super::object::as_raw(device(object)),
            func.order(),
            why.as_char_ptr(),
        )
    };
}

/// The same for a mapping whose ends are not aligned to `mask` + 1.
pub(crate) fn reject_unaligned<T: Object>(
    object: &T,
    func: Func,
    area: &impl VmaArea,
    mask: usize,
) {
    // SAFETY: The device is alive.
    unsafe {
        bindings::dax_glue_reject_unaligned(
            super::object::as_raw(device(object)),
            func.order(),
            area.start(),
            area.end(),
            mask,
        )
    };
}
