// SPDX-License-Identifier: GPL-2.0

//! Rust objects around a `struct device`, and the way from the one to the other.

use core::{
    ops::Deref,
    ptr::NonNull, //
};

use kernel::{
    bindings,
    device::{
        Bound,
        Device, //
    },
    prelude::*, //
};

/// A type with a `struct device` inside, reference counted by it.
///
/// # Safety
///
/// At [`Object::OFFSET`] bytes from its start, `Self` has a `struct device` that is zeroed
/// when the object is made and that only `sys/` changes. Nobody makes a `Self` but
/// [`Unregistered::new`](super::device::Unregistered::new).
pub(crate) unsafe trait Object: Sized + 'static {
    /// Where in `Self` the `struct device` is, in bytes.
    const OFFSET: usize;
}

/// The `struct device` inside `object`.
pub(super) fn raw<T: Object>(object: &T) -> *mut bindings::device {
    core::ptr::from_ref(object)
        .wrapping_byte_add(T::OFFSET)
        .cast_mut()
        .cast()
}

/// The C pointer behind the kernel crate's device.
pub(super) fn as_raw<C: kernel::device::DeviceContext>(dev: &Device<C>) -> *mut bindings::device {
    // CAST: `Device` is a transparent wrapper of `struct device`.
    core::ptr::from_ref(dev).cast_mut().cast()
}

/// How a C callback's `struct device` becomes the Rust object it belongs to.
///
/// # Safety
///
/// [`FromDevice::from_device`] returns the object that `dev` belongs to for any
/// device that carries an attribute made for `Self`.
pub(crate) unsafe trait FromDevice: Sync + 'static {
    /// The object of `dev`.
    ///
    /// # Safety
    ///
    /// `dev` is a device that attributes of `Self` were registered on, and the
    /// object outlives `'a`.
    unsafe fn from_device<'a>(dev: *mut bindings::device) -> &'a Self;
}

// SAFETY: Attributes for an `Object` reach a device only through the type that
// `Unregistered::new` gave it, which is one for `T`.
unsafe impl<T: Object + Sync> FromDevice for T {
    unsafe fn from_device<'a>(dev: *mut bindings::device) -> &'a Self {
        // SAFETY: By the contract `dev` is the device inside a `Self`, whose
        // offset is `OFFSET`; the caller keeps it alive.
        unsafe { &*dev.wrapping_byte_sub(T::OFFSET).cast::<Self>() }
    }
}

/// A counted reference to an object (`get_device()`/`put_device()`).
///
/// Dropping the last one runs the object's destructor, which may sleep: do not
/// drop a `Ref` under a lock that the destructor takes.
///
/// # Invariants
///
/// Points to an object that `device_initialize()` was called for; the `Ref`
/// owns one reference of it.
pub(crate) struct Ref<T: Object>(NonNull<T>);

// SAFETY: `T` is `Send` and `Sync`, and the count is atomic.
unsafe impl<T: Object + Send + Sync> Send for Ref<T> {}
// SAFETY: As above.
unsafe impl<T: Object + Send + Sync> Sync for Ref<T> {}

impl<T: Object> Ref<T> {
    /// The first reference to an object.
    ///
    /// # Safety
    ///
    /// `device_initialize()` was called for the object, and nobody else has that
    /// reference.
    pub(super) unsafe fn first(object: NonNull<T>) -> Self {
        // INVARIANT: By the contract.
        Self(object)
    }

    /// Another reference to `object`.
    pub(crate) fn of(object: &T) -> Self {
        // SAFETY: `object` is initialised and alive, so its count is not zero.
        unsafe { bindings::get_device(raw(object)) };
        Self(NonNull::from(object))
    }

    /// Whether this is a reference to `object`.
    pub(crate) fn is(&self, object: &T) -> bool {
        core::ptr::eq(self.0.as_ptr(), object)
    }
}

impl<T: Object> Deref for Ref<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: By the type invariant the object is alive.
        unsafe { self.0.as_ref() }
    }
}

impl<T: Object> Clone for Ref<T> {
    fn clone(&self) -> Self {
        Self::of(self)
    }
}

impl<T: Object> Drop for Ref<T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant we own one reference.
        unsafe { bindings::put_device(raw::<T>(self)) };
    }
}

/// The kernel crate's view of an object's device, for `dev_warn!` and parents.
pub(crate) fn device<T: Object>(object: &T) -> &Device {
    // SAFETY: The device is initialised and lives as long as the object.
    unsafe { Device::from_raw(raw(object)) }
}

/// The same, for a driver's probe function: the device is bound while it runs.
///
/// # Safety
///
/// Only between the call of a driver's probe for `object` and its return.
pub(crate) unsafe fn bound_device<T: Object>(object: &T) -> &Device<Bound> {
    // SAFETY: The driver core regards the device as bound from before the
    // probe, and the caller does not keep the reference.
    unsafe { device(object).as_bound() }
}

/// Whether a driver is bound, is being bound, or is not fully unbound yet.
///
/// A caller that holds the lock which `bus::probe()` takes first may rely on
/// `false` until it lets go: the core sets `dev->driver` before the probe and
/// clears it after the last managed resource of the driver is released.
pub(crate) fn has_driver<T: Object>(object: &T) -> bool {
    let dev = raw(object);
    // SAFETY: The device is alive. The pointer is only compared; a race with
    // its writer, the driver core, is one of two valid answers.
    !unsafe { core::ptr::read_volatile(&raw const (*dev).driver) }.is_null()
}

/// The device's NUMA node, -1 if it has none.
pub(crate) fn numa_node<T: Object>(object: &T) -> i32 {
    // SAFETY: The device is alive; its node is set before it is registered.
    unsafe { bindings::dax_glue_dev_to_node(raw(object)) }
}

/// The device's name, NUL-terminated, alive as long as the object.
pub(super) fn name_ptr<T: Object>(object: &T) -> *const kernel::ffi::c_char {
    device(object).name().as_char_ptr()
}
