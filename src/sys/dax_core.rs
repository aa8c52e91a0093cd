// SPDX-License-Identifier: GPL-2.0

//! `struct dax_device` of super.c: whether a device is alive, and the inode that all its
//! VMAs share.

use core::ptr::NonNull;

use kernel::{
    bindings,
    error::from_err_ptr,
    prelude::*,
    types::{
        NotThreadSafe,
        Opaque, //
    }, //
};

/// A `struct dax_device` and a reference to it.
///
/// # Invariants
///
/// The pointer is valid, and this owns a reference to the inode.
pub(crate) struct DaxDevice(NonNull<bindings::dax_device>);

// SAFETY: The functions of super.c that we call may be called from any task.
unsafe impl Send for DaxDevice {}
// SAFETY: The functions of super.c that we call synchronise.
unsafe impl Sync for DaxDevice {}

/// The operations of the address space that all VMAs of a device share.
static ADDRESS_SPACE_OPS: AddressSpaceOps = {
    // SAFETY: All zeroes is a valid `struct address_space_operations`.
    let mut ops: bindings::address_space_operations = unsafe { core::mem::zeroed() };
    ops.dirty_folio = Some(bindings::noop_dirty_folio);
    AddressSpaceOps(Opaque::new(ops))
};

struct AddressSpaceOps(Opaque<bindings::address_space_operations>);

// SAFETY: Never written after construction.
unsafe impl Sync for AddressSpaceOps {}

impl DaxDevice {
    /// Allocates the dax device of `owner`. It is dead until a driver is bound. Sleeps for
    /// an SRCU grace period.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn new(owner: NonNull<bindings::dev_dax>) -> Result<Self> {
        // CAST: In C this is a `void *`.
        let owner = owner.as_ptr().cast();
        // SAFETY: alloc_dax() only stores `owner`, for fsdev, which asks for it while the
        // dax device is alive. `owner` owns the dax device, so it is valid then.
        let raw = from_err_ptr(unsafe { bindings::alloc_dax(owner, core::ptr::null()) })?;
        // INVARIANT: `alloc_dax()` returned a reference.
        let this = Self(NonNull::new(raw).ok_or(ENOMEM)?);
        // SAFETY: `raw` is valid by the type invariants.
        unsafe { bindings::set_dax_synchronous(raw) };
        // SAFETY: As above.
        unsafe { bindings::set_dax_nocache(raw) };
        // SAFETY: As above.
        unsafe { bindings::set_dax_nomc(raw) };
        this.kill();
        // SAFETY: The address space is valid, and no VMA has it yet, so nobody calls its
        // operations.
        unsafe { (*this.address_space()).a_ops = ADDRESS_SPACE_OPS.0.get().cast_const() };
        Ok(this)
    }

    /// The C pointer.
    pub(super) fn as_ptr(&self) -> *mut bindings::dax_device {
        self.0.as_ptr()
    }

    fn inode(&self) -> *mut bindings::inode {
        // SAFETY: The dax device is valid by the type invariants.
        unsafe { bindings::dax_inode(self.as_ptr()) }
    }

    /// The address space that all VMAs of the device share. Valid as long as `self`.
    pub(super) fn address_space(&self) -> *mut bindings::address_space {
        // SAFETY: The inode is valid, and the field does not change.
        unsafe { (*self.inode()).i_mapping }
    }

    /// The device number.
    pub(crate) fn devt(&self) -> bindings::dev_t {
        // SAFETY: The inode is valid, and the field does not change.
        unsafe { (*self.inode()).i_rdev }
    }

    /// Marks the device alive for super.c (`run_dax()`).
    pub(super) fn run(&self) {
        // SAFETY: The dax device is valid by the type invariants.
        unsafe { bindings::run_dax(self.as_ptr()) };
    }

    /// Marks the device dead for super.c, and waits for all [`ReadGuard`]s that may have
    /// seen it alive (`kill_dax()`). Sleeps for an SRCU grace period; the caller must not
    /// have a [`ReadGuard`].
    pub(crate) fn kill(&self) {
        // SAFETY: The dax device is valid by the type invariants.
        unsafe { bindings::kill_dax(self.as_ptr()) };
    }

    /// Removes every page of the device from every page table. Sleeps.
    pub(crate) fn unmap_all(&self) {
        // SAFETY: The address space is valid. A length of 0 means up to the end.
        unsafe { bindings::unmap_mapping_range(self.address_space(), 0, 0, 1) };
    }
}

impl Drop for DaxDevice {
    fn drop(&mut self) {
        // SAFETY: By the type invariants we own a reference. The device is dead: unbinding
        // a driver kills it.
        unsafe { bindings::put_dax(self.as_ptr()) };
    }
}

/// A read section of super.c (`dax_read_lock()`): a device that is alive in it stays usable
/// until its end. The section may sleep.
pub(crate) struct ReadGuard(i32, NotThreadSafe);

impl ReadGuard {
    /// Enters the section.
    pub(crate) fn new() -> Self {
        // SAFETY: `dax_read_lock()` has no precondition; `drop` ends the section.
        Self(unsafe { bindings::dax_read_lock() }, NotThreadSafe)
    }
}

impl Drop for ReadGuard {
    fn drop(&mut self) {
        // SAFETY: The index is the one that the matching dax_read_lock() returned.
        unsafe { bindings::dax_read_unlock(self.0) };
    }
}
