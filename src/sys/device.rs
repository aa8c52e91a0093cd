// SPDX-License-Identifier: GPL-2.0

//! `struct device`, embedded in a Rust object whose memory it owns.

use core::marker::PhantomData;
use core::ops::Deref;
use core::ptr::NonNull;
use kernel::bindings;
use kernel::device::{Bound, Device};
use kernel::error::to_result;
use kernel::fmt;
use kernel::prelude::*;
use kernel::str::CString;
use kernel::types::Opaque;

use super::bus::{BusOps, BusType};
use super::module::User;
use super::sysfs::{Attribute, Groups};

/// A type with a `struct device` inside, reference counted by it.
///
/// # Safety
///
/// - At [`Object::OFFSET`] bytes from its start, `Self` has a `struct device`
///   that is zeroed when the object is made and that only this module changes.
/// - [`Object::device_type`] is used for `Self` alone.
pub(crate) unsafe trait Object: Sized + Send + Sync + 'static {
    /// Where in `Self` the `struct device` is, in bytes.
    const OFFSET: usize;
    /// The device type: attributes, and how the memory is freed.
    fn device_type() -> &'static DeviceType<Self>;
}

/// The `struct device` inside `object`.
fn raw<T: Object>(object: &T) -> *mut bindings::device {
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

/// A `struct device` at the start of an [`Object`], zeroed until then.
#[repr(transparent)]
pub(crate) struct Dev(Opaque<bindings::device>);

// SAFETY: The driver core synchronises all access to a `struct device`.
unsafe impl Send for Dev {}
// SAFETY: As above.
unsafe impl Sync for Dev {}

impl Dev {
    /// A zeroed `struct device`, for [`Unregistered::new`] to initialise.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init::init_zeroed::<Self>()
    }
}

// SAFETY: `Opaque` may hold any bit pattern.
unsafe impl Zeroable for Dev {}

/// How a C callback's `struct device` becomes the Rust object it belongs to.
///
/// # Safety
///
/// [`FromDevice::from_device`] returns the object that `dev` belongs to for any
/// device that carries an attribute made for `Self`.
pub(crate) unsafe trait FromDevice: 'static {
    /// The object of `dev`.
    ///
    /// # Safety
    ///
    /// `dev` is a device that attributes of `Self` were registered on, and the
    /// object outlives `'a`.
    unsafe fn from_device<'a>(dev: *mut bindings::device) -> &'a Self;
}

// SAFETY: Attributes for an `Object` reach a device only through its device
// type, which is used for that object alone.
unsafe impl<T: Object> FromDevice for T {
    unsafe fn from_device<'a>(dev: *mut bindings::device) -> &'a Self {
        // SAFETY: By the contract `dev` is the device inside a `Self`, whose
        // offset is `OFFSET`; the caller keeps it alive.
        unsafe { &*dev.wrapping_byte_sub(T::OFFSET).cast::<Self>() }
    }
}

/// `struct device_type` for objects of type `T`.
#[repr(transparent)]
pub(crate) struct DeviceType<T>(Opaque<bindings::device_type>, PhantomData<fn(T)>);

// SAFETY: Never written after construction.
unsafe impl<T> Sync for DeviceType<T> {}

impl<T: Object> DeviceType<T> {
    /// A type whose devices carry `groups`.
    pub(crate) const fn new(groups: &'static Groups<Attribute<T>>) -> Self {
        // SAFETY: All zeroes is a valid `struct device_type`.
        let mut raw: bindings::device_type = unsafe { core::mem::zeroed() };
        raw.release = Some(release::<T>);
        raw.groups = groups.as_ptr().cast_mut();
        Self(Opaque::new(raw), PhantomData)
    }

    /// A type whose devices carry nothing: they are never registered.
    pub(super) const fn bare() -> Self {
        // SAFETY: All zeroes is a valid `struct device_type`.
        let mut raw: bindings::device_type = unsafe { core::mem::zeroed() };
        raw.release = Some(release::<T>);
        Self(Opaque::new(raw), PhantomData)
    }
}

/// Frees an object whose last reference is gone.
///
/// # Safety
///
/// Called by the driver core, with a device of type `T::device_type()`.
unsafe extern "C" fn release<T: Object>(dev: *mut bindings::device) {
    let object = dev.wrapping_byte_sub(T::OFFSET).cast::<T>();
    // SAFETY: `Unregistered::new` took the object out of a `KBox` and this is the
    // end of its last reference.
    drop(unsafe { KBox::from_raw(object) });
    // SAFETY: `Unregistered::new` forgot the user.
    unsafe { User::end() };
}

/// A device that is made and not known to anybody yet. Of each device there is one
/// of these at most, and [`Unregistered::register`] takes it, so that no device is
/// registered twice, and none is changed after that.
pub(crate) struct Unregistered<T: Object>(Ref<T>);

impl<T: Object> Unregistered<T> {
    /// Allocates an object and hands its memory to its `struct device`
    /// (`device_initialize()`). May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, or what `init` fails with.
    pub(crate) fn new(init: impl PinInit<T, Error>) -> Result<Self> {
        let object = KBox::pin_init(init, GFP_KERNEL)?;
        // SAFETY: The object is never moved again: its address is handed to
        // the driver core, and only `release` turns it back into a box.
        let object = KBox::into_raw(unsafe { Pin::into_inner_unchecked(object) });
        // SAFETY: `KBox::into_raw` returns no null pointer.
        let this = Ref(unsafe { NonNull::new_unchecked(object) });
        let dev = raw::<T>(&this);
        // SAFETY: `dev` is zeroed, by the contract of `Object`, and unused so far.
        unsafe { bindings::device_initialize(dev) };
        // SAFETY: As above; nobody else knows the device yet.
        unsafe { (*dev).type_ = T::device_type().0.get() };
        // `release` ends it.
        core::mem::forget(User::new());
        Ok(Self(this))
    }

    /// The object itself.
    pub(crate) fn object(&self) -> &Ref<T> {
        &self.0
    }

    /// Names the device.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn set_name(&mut self, name: fmt::Arguments<'_>) -> Result {
        let name = CString::try_from_fmt(name)?;
        // SAFETY: The format takes one string, and both are terminated.
        to_result(unsafe {
            bindings::dev_set_name(
                raw::<T>(&self.0),
                c"%s".as_char_ptr(),
                name.as_char_ptr().cast::<u8>(),
            )
        })
    }

    /// Puts the device on a bus, under number `devt`.
    pub(crate) fn set_bus<B: BusOps<Device = T>>(
        &mut self,
        bus: &'static BusType<B>,
        devt: bindings::dev_t,
    ) {
        let dev = raw::<T>(&self.0);
        // SAFETY: The device is not registered yet, so nobody else reads this.
        unsafe { (*dev).bus = bus.as_ptr() };
        // SAFETY: As above.
        unsafe { (*dev).devt = devt };
    }

    /// Puts the device on the NUMA node of `other`.
    pub(super) fn set_node_of<O: Object>(&mut self, other: &O) {
        // SAFETY: Both devices are initialised, and this one is nobody else's.
        unsafe { bindings::dax_glue_copy_node(raw::<T>(&self.0), raw(other)) };
    }

    /// The C pointer.
    pub(super) fn as_raw(&self) -> *mut bindings::device {
        raw::<T>(&self.0)
    }

    /// Makes the device known (`device_add()`): sysfs, uevent, driver probe.
    ///
    /// May sleep, and may probe a driver: the caller holds no lock that an
    /// attribute handler or a probe takes. Attributes can be read and written,
    /// and a driver can be bound, before this returns, and even if it fails; then
    /// all that is over when it returns.
    ///
    /// # Errors
    ///
    /// What `device_add()` fails with.
    pub(crate) fn register(self, parent: &Device) -> Result<Registered<T>> {
        let dev = raw::<T>(&self.0);
        // SAFETY: The device is not registered yet, so nobody else reads this.
        // The core takes its own reference of the parent.
        unsafe { (*dev).parent = as_raw(parent) };
        // SAFETY: Initialised, typed and named.
        to_result(unsafe { bindings::device_add(dev) })?;
        Ok(Registered(self.0))
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
unsafe impl<T: Object> Send for Ref<T> {}
// SAFETY: As above.
unsafe impl<T: Object> Sync for Ref<T> {}

impl<T: Object> Ref<T> {
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

/// A device that is registered; dropping it unregisters (`device_del()`).
///
/// That unbinds the driver and waits for every reader and writer of the
/// device's attributes: do not drop it under a lock that any of them takes.
pub(crate) struct Registered<T: Object>(Ref<T>);

impl<T: Object> Registered<T> {
    /// The object itself.
    pub(crate) fn object(&self) -> &Ref<T> {
        &self.0
    }
}

impl<T: Object> Drop for Registered<T> {
    fn drop(&mut self) {
        // SAFETY: The device was added, and only here is it deleted.
        unsafe { bindings::device_del(raw::<T>(&self.0)) };
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
