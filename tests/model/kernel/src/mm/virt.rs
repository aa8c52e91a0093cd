// SPDX-License-Identifier: GPL-2.0

//! Areas of a process.

use crate::bindings;
use crate::memory;
use crate::types::Opaque;

/// `struct vm_area_struct`
#[repr(transparent)]
pub struct VmaRef(Opaque<bindings::vm_area_struct>);

impl VmaRef {
    /// The area behind a pointer.
    ///
    /// # Safety
    ///
    /// It is valid, and locked, for that long.
    pub unsafe fn from_raw<'a>(area: *const bindings::vm_area_struct) -> &'a Self {
        memory::check(area, "an area");
        // SAFETY: By the contract.
        unsafe { &*area.cast() }
    }

    /// The pointer.
    pub fn as_ptr(&self) -> *mut bindings::vm_area_struct {
        self.0.get()
    }

    /// First address.
    pub fn start(&self) -> usize {
        // SAFETY: It is valid.
        unsafe { (*self.as_ptr()).vm_start }
    }

    /// First address behind it.
    pub fn end(&self) -> usize {
        // SAFETY: It is valid.
        unsafe { (*self.as_ptr()).vm_end }
    }

    /// Its flags.
    pub fn flags(&self) -> usize {
        // SAFETY: It is valid.
        unsafe { (*self.as_ptr()).vm_flags }
    }
}
