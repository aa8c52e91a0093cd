// SPDX-License-Identifier: GPL-2.0

//! `struct dax_device` of super.c: liveness, the inode behind all mappings.

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

/// A dax device that is ours.
///
/// # Invariants
///
/// Valid, and we own a reference of its inode.
pub(crate) struct DaxDevice(NonNull<bindings::dax_device>);

// SAFETY: super.c synchronises what it does with a dax device.
unsafe impl Send for DaxDevice {}
// SAFETY: As above.
unsafe impl Sync for DaxDevice {}

/// The operations of the address space that all mappings of a device share.
static MAPPING_OPS: MappingOps = {
    // SAFETY: All zeroes is a valid `struct address_space_operations`.
    let mut ops: bindings::address_space_operations = unsafe { core::mem::zeroed() };
    ops.dirty_folio = Some(bindings::noop_dirty_folio);
    MappingOps(Opaque::new(ops))
};

struct MappingOps(Opaque<bindings::address_space_operations>);

// SAFETY: Never written after construction.
unsafe impl Sync for MappingOps {}

impl DaxDevice {
    /// Allocates the dax device of `owner`, dead until a driver is bound. Sleeps
    /// for an SRCU grace period.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn new(owner: NonNull<bindings::dev_dax>) -> Result<Self> {
        let owner = owner.as_ptr().cast();
        // SAFETY: `owner` is only stored. fsdev gets it back while the device
        // is alive, which is within its owner's life.
        let raw = from_err_ptr(unsafe { bindings::alloc_dax(owner, core::ptr::null()) })?;
        // INVARIANT: `alloc_dax()` gave us a reference.
        let this = Self(NonNull::new(raw).ok_or(ENOMEM)?);
        // SAFETY: By the type invariant; likewise below.
        unsafe { bindings::set_dax_synchronous(raw) };
        // SAFETY: As above.
        unsafe { bindings::set_dax_nocache(raw) };
        // SAFETY: As above.
        unsafe { bindings::set_dax_nomc(raw) };
        this.kill();
        // SAFETY: The mapping is valid, and with no mapping alive nobody
        // calls its operations.
        unsafe { (*this.mapping()).a_ops = MAPPING_OPS.0.get().cast_const() };
        Ok(this)
    }

    /// The C pointer.
    pub(super) fn as_ptr(&self) -> *mut bindings::dax_device {
        self.0.as_ptr()
    }

    fn inode(&self) -> *mut bindings::inode {
        // SAFETY: By the type invariant.
        unsafe { bindings::dax_inode(self.as_ptr()) }
    }

    /// The address space of all mappings of the device.
    pub(super) fn mapping(&self) -> *mut bindings::address_space {
        // SAFETY: The inode is valid; the field is constant.
        unsafe { (*self.inode()).i_mapping }
    }

    /// The device number.
    pub(crate) fn devt(&self) -> bindings::dev_t {
        // SAFETY: The inode is valid; the field is constant.
        unsafe { (*self.inode()).i_rdev }
    }

    /// From now on the device is alive, for everyone who asks super.c.
    pub(crate) fn run(&self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::run_dax(self.as_ptr()) };
    }

    /// From now on the device is dead; waits until nobody is in a section that
    /// saw it alive. Sleeps; not within a [`ReadGuard`].
    pub(crate) fn kill(&self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::kill_dax(self.as_ptr()) };
    }

    /// Removes every page of the device from every page table. Sleeps.
    pub(crate) fn unmap_all(&self) {
        // SAFETY: The mapping is valid; length 0 means to the end.
        unsafe { bindings::unmap_mapping_range(self.mapping(), 0, 0, 1) };
    }
}

impl Drop for DaxDevice {
    fn drop(&mut self) {
        // SAFETY: By the type invariant we own a reference. The device is dead:
        // unbinding a driver kills it.
        unsafe { bindings::put_dax(self.as_ptr()) };
    }
}

/// A section in which a device that was alive stays usable (`dax_read_lock()`).
/// May sleep.
pub(crate) struct ReadGuard(i32, NotThreadSafe);

impl ReadGuard {
    /// Enters the section.
    pub(crate) fn new() -> Self {
        // SAFETY: Has no precondition; `drop` leaves it.
        Self(unsafe { bindings::dax_read_lock() }, NotThreadSafe)
    }
}

impl Drop for ReadGuard {
    fn drop(&mut self) {
        // SAFETY: The number is what the matching lock returned.
        unsafe { bindings::dax_read_unlock(self.0) };
    }
}
