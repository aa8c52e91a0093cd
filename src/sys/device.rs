// SPDX-License-Identifier: GPL-2.0

//! `struct device` inside a Rust object, whose memory the device's reference count keeps.

use core::{
    marker::PhantomData,
    ops::Deref,
    ptr::NonNull, //
};

use kernel::{
    bindings,
    device::Device,
    error::to_result,
    prelude::*,
    sync::aref::{
        ARef,
        AlwaysRefCounted, //
    },
    types::Opaque, //
};

use super::{
    module::User,
    object::{
        as_raw,
        get,
        put,
        raw,
        Object, //
    },
    sysfs::{
        Attribute,
        Groups, //
    }, //
};

use crate::ranges::parse::DeviceName;

/// A zeroed `struct device`, until [`Unregistered::new`] initialises it.
#[repr(transparent)]
struct Dev(Opaque<bindings::device>);

// SAFETY: The driver core synchronises all access to a `struct device`.
unsafe impl Send for Dev {}
// SAFETY: As above.
unsafe impl Sync for Dev {}
// SAFETY: `Opaque` may hold any bit pattern.
unsafe impl Zeroable for Dev {}

/// A `T` and a `struct device`, in one allocation.
#[pin_data]
#[repr(C)]
pub(crate) struct WithDevice<T> {
    #[pin]
    dev: Dev,
    #[pin]
    data: T,
}

impl<T> WithDevice<T>
where
    Self: Typed,
{
    /// Makes an object of `data` and a device. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, and the errors of `data`.
    pub(crate) fn make<E>(data: impl PinInit<T, E>) -> Result<Unregistered<Self>>
    where
        Error: From<E>,
    {
        Unregistered::new(try_pin_init!(Self {
            dev <- pin_init::init_zeroed::<Dev>(),
            data <- data,
        }? Error))
    }
}

impl<T> Deref for WithDevice<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.data
    }
}

// SAFETY: The first field is a zeroed `struct device`. Only `make` makes a `Self`, by
// `Unregistered::new`.
unsafe impl<T: 'static> Object for WithDevice<T> {
    const OFFSET: usize = 0;
}

// SAFETY: `get` and `put` count the references to the device, and only [`release`], which the
// driver core calls after the last one was put, frees the object.
unsafe impl<T: 'static> AlwaysRefCounted for WithDevice<T> {
    fn inc_ref(&self) {
        get(self);
    }

    unsafe fn dec_ref(object: NonNull<Self>) {
        // SAFETY: By the contract the object is valid, and the reference is the caller's.
        unsafe { put(object) };
    }
}

/// Objects whose device has a `struct device_type`.
pub(crate) trait Typed: Object + Send + Sync {
    /// The device type: the attributes, and the function that frees the object.
    fn device_type() -> &'static DeviceType<Self>;
}

/// `struct device_type` for objects of type `T`.
#[repr(transparent)]
pub(crate) struct DeviceType<T>(Opaque<bindings::device_type>, PhantomData<fn(T)>);

// SAFETY: Never written after construction.
unsafe impl<T> Sync for DeviceType<T> {}

impl<T: Object + Sync> DeviceType<T> {
    /// A type whose devices have the attributes of `groups`.
    pub(crate) const fn new(groups: &'static Groups<Attribute<T>>) -> Self {
        // SAFETY: All zeroes is a valid `struct device_type`.
        let mut raw: bindings::device_type = unsafe { core::mem::zeroed() };
        raw.release = Some(release::<T>);
        raw.groups = groups.as_ptr().cast_mut();
        Self(Opaque::new(raw), PhantomData)
    }

    /// A type without attributes, for devices that are never registered.
    pub(super) const fn bare() -> Self {
        // SAFETY: All zeroes is a valid `struct device_type`.
        let mut raw: bindings::device_type = unsafe { core::mem::zeroed() };
        raw.release = Some(release::<T>);
        Self(Opaque::new(raw), PhantomData)
    }
}

/// Frees an object after its last reference was put.
///
/// # Safety
///
/// The driver core calls this for a device whose object [`Unregistered::new`] made of a
/// `T`.
unsafe extern "C" fn release<T: Object>(dev: *mut bindings::device) {
    // CAST: By the contract of `Object` the device is at that offset in a `T`.
    let object = dev.wrapping_byte_sub(T::OFFSET).cast::<T>();
    // SAFETY: `Unregistered::new` took `object` out of a `KBox`. Its last reference is
    // gone, so nobody else uses it.
    drop(unsafe { KBox::from_raw(object) });
    // SAFETY: `Unregistered::new` forgot one user for this object.
    unsafe { User::end() };
}

/// A device that was made, but is not registered and not known to anybody else. Each device
/// has at most one `Unregistered`, and [`Unregistered::register`] consumes it, so a device
/// is registered only once, and nothing is set after that.
pub(crate) struct Unregistered<T: Object>(ARef<T>);

impl<T: Object> Unregistered<T> {
    /// The object that contains the device.
    pub(crate) fn object(&self) -> &ARef<T> {
        &self.0
    }
}

impl<T: Typed> Unregistered<T> {
    /// Allocates an object and initialises its `struct device` (`device_initialize()`),
    /// which owns the memory from then on. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, and the errors of `init`.
    pub(super) fn new(init: impl PinInit<T, Error>) -> Result<Self> {
        let object = KBox::pin_init(init, GFP_KERNEL)?;
        // SAFETY: The object is never moved again: the driver core gets its address, and
        // only `release` turns that back into a box, to drop it.
        let object = KBox::into_raw(unsafe { Pin::into_inner_unchecked(object) });
        // SAFETY: `KBox::into_raw` never returns null.
        let object = unsafe { NonNull::new_unchecked(object) };
        // SAFETY: The object is valid, and nobody else uses it yet.
        let dev = raw::<T>(unsafe { object.as_ref() });
        // SAFETY: `dev` is valid, zeroed by the contract of `Object`, and not initialised.
        unsafe { bindings::device_initialize(dev) };
        // SAFETY: The object is valid, and the reference that device_initialize() created is
        // nobody else's.
        let this = unsafe { ARef::from_raw(object) };
        // SAFETY: `dev` is valid, and nobody else knows the device yet.
        unsafe { (*dev).type_ = T::device_type().0.get() };
        // `release` ends this user.
        core::mem::forget(User::new());
        Ok(Self(this))
    }

    /// Names the device daxX.Y. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn set_dax_name(&mut self, name: &DeviceName) -> Result {
        // SAFETY: The device is initialised, and nobody else knows it.
        to_result(unsafe {
            bindings::dax_glue_set_dax_name(raw::<T>(&self.0), name.region, name.id)
        })
    }

    /// Names the device `mapping<index>`. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn set_mapping_name(&mut self, index: usize) -> Result {
        // SAFETY: The device is initialised, and nobody else knows it.
        to_result(unsafe { bindings::dax_glue_set_mapping_name(raw::<T>(&self.0), index) })
    }

    /// Keeps the device out of power management: it gets no `power` directory in sysfs, and
    /// suspend and resume pass it by (`device_set_pm_not_required()`).
    pub(crate) fn set_pm_not_required(&mut self) {
        // SAFETY: The device is initialised, and nobody else knows it.
        unsafe { bindings::dax_glue_set_pm_not_required(raw::<T>(&self.0)) };
    }

    /// Sets the NUMA node of the device to that of `other`.
    pub(super) fn set_node_of<O: Object>(&mut self, other: &O) {
        // SAFETY: Both devices are initialised, and nobody else knows this one.
        unsafe { bindings::dax_glue_copy_node(raw::<T>(&self.0), raw(other)) };
    }

    /// The C pointer.
    pub(super) fn as_raw(&self) -> *mut bindings::device {
        raw::<T>(&self.0)
    }

    /// Registers the device below `parent` (`device_add()`): sysfs files, uevent, driver
    /// probe.
    ///
    /// May sleep and probe a driver. The caller holds no lock that a sysfs handler of the
    /// device or a probe takes. Attributes can be used, and a driver can be bound, before
    /// this returns. That holds for a failure too: when this returns an error, all handlers
    /// have left and the driver is unbound.
    ///
    /// # Errors
    ///
    /// The errors of `device_add()`.
    pub(crate) fn register(self, parent: &Device) -> Result<Registration<T>> {
        let dev = raw::<T>(&self.0);
        // SAFETY: `dev` is valid. It is not registered yet, so nobody else accesses the
        // field. device_add() takes a reference to the parent.
        unsafe { (*dev).parent = as_raw(parent) };
        // SAFETY: The device is initialised, has a type, and is not registered. Without a
        // name device_add() fails.
        to_result(unsafe { bindings::device_add(dev) })?;
        Ok(Registration(self.0))
    }
}

/// A registered device. Dropping it unregisters the device (`device_del()`).
///
/// That unbinds the driver, and waits for all readers and writers of the device's
/// attributes. So it sleeps, and the caller holds no lock that a remove or a sysfs handler
/// takes.
pub(crate) struct Registration<T: Object>(ARef<T>);

impl<T: Object> Registration<T> {
    /// The object that contains the device.
    pub(crate) fn object(&self) -> &ARef<T> {
        &self.0
    }
}

impl<T: Object> Drop for Registration<T> {
    fn drop(&mut self) {
        // SAFETY: `register` added the device, and only this deletes it.
        unsafe { bindings::device_del(raw::<T>(&self.0)) };
    }
}
