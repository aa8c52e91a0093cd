// SPDX-License-Identifier: GPL-2.0

//! The kernel crate's view of devices.

use core::marker::PhantomData;
use core::ops::Deref;
use core::ptr::NonNull;

use crate::bindings;
use crate::ffi::c_char;
use crate::sched;
use crate::str::{CStr, CStrExt};
use crate::sync::aref::AlwaysRefCounted;
use crate::types::Opaque;

/// The driver core's state of a device, as a type.
pub trait DeviceContext {}
/// Nothing.
pub struct Normal;
/// A driver is bound.
pub struct Bound;
impl DeviceContext for Normal {}
impl DeviceContext for Bound {}

/// `struct device`
#[repr(transparent)]
pub struct Device<C = Normal>(Opaque<bindings::device>, PhantomData<C>);

// SAFETY: All tasks of the model are on one thread of the host.
unsafe impl<C> Send for Device<C> {}
// SAFETY: As above.
unsafe impl<C> Sync for Device<C> {}

impl Device {
    /// The device behind a pointer.
    ///
    /// # Safety
    ///
    /// It lives for that long.
    pub unsafe fn from_raw<'a>(dev: *mut bindings::device) -> &'a Self {
        // SAFETY: By the contract.
        unsafe { &*dev.cast() }
    }

    /// A device of which is known that a driver is bound.
    ///
    /// # Safety
    ///
    /// One is, for as long as the result is used.
    pub unsafe fn as_bound(&self) -> &Device<Bound> {
        // SAFETY: It is the same.
        unsafe { &*core::ptr::from_ref(self).cast() }
    }
}

impl<C> Device<C> {
    pub(crate) fn raw(&self) -> *mut bindings::device {
        self.0.get()
    }

    /// Its name.
    pub fn name(&self) -> &CStr {
        // SAFETY: The device lives, and so does its name.
        unsafe { CStr::from_char_ptr(bindings::dev_name(self.raw()).cast::<c_char>()) }
    }

    pub(crate) fn message(&self, level: &str, text: core::fmt::Arguments<'_>) {
        if sched::inert() {
            return;
        }
        let core = bindings::core(self.raw(), "a message");
        core.used("a message");
        sched::trace(|| format!("{level}: {}: {}", core.name(), text.to_string().trim_end()));
    }
}

impl Deref for Device<Bound> {
    type Target = Device;
    fn deref(&self) -> &Device {
        // SAFETY: It is the same.
        unsafe { &*core::ptr::from_ref(self).cast() }
    }
}

// SAFETY: `get_device()` counts.
unsafe impl AlwaysRefCounted for Device {
    fn inc_ref(&self) {
        // SAFETY: The device lives.
        unsafe { bindings::get_device(self.raw()) };
    }

    unsafe fn dec_ref(this: NonNull<Self>) {
        // SAFETY: By the contract.
        unsafe { bindings::put_device(this.as_ptr().cast()) };
    }
}
