// SPDX-License-Identifier: GPL-2.0

//! Rust objects that contain a `struct device`, and conversions between the two.

use core::ptr::NonNull;

use kernel::{
    bindings,
    device::{
        Bound,
        Device, //
    },
    prelude::*,
    sync::aref::AlwaysRefCounted, //
};

/// A type that contains a `struct device`, whose reference count is that of the object.
///
/// Dropping the last [`ARef`](kernel::sync::aref::ARef) of an object drops the object, which
/// may sleep. So nobody drops an `ARef` under a lock that the destructor of the object takes.
///
/// # Safety
///
/// At [`Object::OFFSET`] bytes from its start, `Self` has a `struct device`. The device is
/// zeroed when the object is made, and only `sys/` changes it. Only
/// [`Unregistered::new`](super::device::Unregistered::new) makes a `Self`.
pub(crate) unsafe trait Object: AlwaysRefCounted + Sized + 'static {
    /// Offset of the `struct device` in `Self`, in bytes.
    const OFFSET: usize;
}

/// The `struct device` inside `object`.
pub(super) fn raw<T: Object>(object: &T) -> *mut bindings::device {
    // CAST: By the contract of `Object` a `struct device` is at that offset.
    core::ptr::from_ref(object)
        .wrapping_byte_add(T::OFFSET)
        .cast_mut()
        .cast()
}

/// The C pointer for a device of the kernel crate.
pub(super) fn as_raw<C: kernel::device::DeviceContext>(dev: &Device<C>) -> *mut bindings::device {
    // CAST: `Device` is a transparent wrapper of `struct device`.
    core::ptr::from_ref(dev).cast_mut().cast()
}

/// A type whose objects can be found from a `struct device`: an [`Object`] from the device
/// inside it, a [`Stored`](super::drvdata::Stored) from the device whose driver data it is.
///
/// # Safety
///
/// - Every device that has an attribute made for `Self` is the device of a `Self`.
/// - [`FromDevice::from_device`] returns that object.
/// - The object lives at least as long as the attribute is on the device.
pub(crate) unsafe trait FromDevice: Sync + 'static {
    /// The object of `dev`.
    ///
    /// # Safety
    ///
    /// `dev` is the device of a `Self`, as described above, which lives for `'a`.
    unsafe fn from_device<'a>(dev: *mut bindings::device) -> &'a Self;
}

// SAFETY: Attributes for an `Object` reach a device only through the type that
// `Unregistered::new` gave the device, which is the one of `T`. The object has the
// reference count of the device.
unsafe impl<T: Object + Sync> FromDevice for T {
    unsafe fn from_device<'a>(dev: *mut bindings::device) -> &'a Self {
        // SAFETY: By the contract `dev` is the device inside a `Self`, `OFFSET` bytes from
        // its start, and the `Self` lives for `'a`.
        unsafe { &*dev.wrapping_byte_sub(T::OFFSET).cast::<Self>() }
    }
}

/// Takes a reference to the device of `object` (`get_device()`), for
/// [`AlwaysRefCounted::inc_ref`].
pub(super) fn get<T: Object>(object: &T) {
    // SAFETY: `object` is valid while it is borrowed, so its reference count is not zero.
    unsafe { bindings::get_device(raw(object)) };
}

/// Puts a reference to the device of `object` (`put_device()`), for
/// [`AlwaysRefCounted::dec_ref`]. Putting the last one drops the object, which may sleep. So
/// the caller holds no lock that the destructor of `T` takes.
///
/// # Safety
///
/// `object` is valid, and the caller owns a reference to it, which it gives up.
pub(super) unsafe fn put<T: Object>(object: NonNull<T>) {
    // SAFETY: By the contract the object is valid.
    let dev = raw(unsafe { object.as_ref() });
    // SAFETY: By the contract the caller owns the reference that this drops.
    unsafe { bindings::put_device(dev) };
}

/// The device of an object, as the kernel crate sees it.
pub(crate) fn device<T: Object>(object: &T) -> &Device {
    // SAFETY: The device is initialised, and valid while `object` is borrowed.
    unsafe { Device::from_raw(raw(object)) }
}

/// The device of an object, as one that is bound.
///
/// # Safety
///
/// A driver's probe for `object` is running, and the result is not used after it returns.
pub(crate) unsafe fn bound_device<T: Object>(object: &T) -> &Device<Bound> {
    // SAFETY: By the contract the probe is running, and to the driver core the device is
    // bound during its probe.
    unsafe { device(object).as_bound() }
}

/// Whether a driver is bound, is being bound, or is not fully unbound yet.
///
/// The driver core may set `dev->driver` at any time, but it does so before it calls the
/// bus's probe. That takes the ranges lock and then the region lock before the driver reads
/// the ranges. So a caller that holds one of these locks and gets `false` may change the
/// ranges until it releases the lock. The core clears `dev->driver` only after it has
/// released the driver's last managed resource.
pub(crate) fn has_driver<T: Object>(object: &T) -> bool {
    let dev = raw(object);
    // SAFETY: The device is valid. The pointer is only compared with null. A race with the
    // driver core yields the old or the new value.
    !unsafe { core::ptr::read_volatile(&raw const (*dev).driver) }.is_null()
}

/// The NUMA node of the device; -1 for none.
pub(crate) fn numa_node<T: Object>(object: &T) -> i32 {
    // SAFETY: The device is valid, and its node is set before it is registered.
    unsafe { bindings::dax_glue_dev_to_node(raw(object)) }
}

/// The name of the device, NUL-terminated. Valid as long as the object.
pub(super) fn name_ptr<T: Object>(object: &T) -> *const kernel::ffi::c_char {
    device(object).name().as_char_ptr()
}
