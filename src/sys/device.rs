// SPDX-License-Identifier: GPL-2.0

//! `struct device`, embedded in a Rust object whose memory it owns.

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
    types::Opaque, //
};

use super::{
    module::User,
    object::{
        as_raw,
        raw,
        Object,
        Ref, //
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

/// A `T` with a `struct device` of its own.
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
    /// `data` with a device. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, or what `data` fails with.
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

// SAFETY: It begins with its zeroed device, and is made where `Unregistered::new` says.
unsafe impl<T: 'static> Object for WithDevice<T> {
    const OFFSET: usize = 0;
}

/// Objects that have a device type.
pub(crate) trait Typed: Object + Send + Sync {
    /// The device type: attributes, and how the memory is freed.
    fn device_type() -> &'static DeviceType<Self>;
}

/// `struct device_type` for objects of type `T`.
#[repr(transparent)]
pub(crate) struct DeviceType<T>(Opaque<bindings::device_type>, PhantomData<fn(T)>);

// SAFETY: Never written after construction.
unsafe impl<T> Sync for DeviceType<T> {}

impl<T: Object + Sync> DeviceType<T> {
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
/// Called by the driver core, with a device that [`Unregistered::new`] made of a `T`.
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
    /// The object itself.
    pub(crate) fn object(&self) -> &Ref<T> {
        &self.0
    }
}

impl<T: Typed> Unregistered<T> {
    /// Allocates an object and hands its memory to its `struct device`
    /// (`device_initialize()`). May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, or what `init` fails with.
    pub(super) fn new(init: impl PinInit<T, Error>) -> Result<Self> {
        let object = KBox::pin_init(init, GFP_KERNEL)?;
        // SAFETY: The object is never moved again: its address is handed to
        // the driver core, and only `release` turns it back into a box.
        let object = KBox::into_raw(unsafe { Pin::into_inner_unchecked(object) });
        // SAFETY: `KBox::into_raw` returns no null pointer.
        let object = unsafe { NonNull::new_unchecked(object) };
        // SAFETY: The object is valid, and nobody else's.
        let dev = raw::<T>(unsafe { object.as_ref() });
        // SAFETY: `dev` is zeroed, by the contract of `Object`, and unused so far.
        unsafe { bindings::device_initialize(dev) };
        // SAFETY: Just initialised.
        let this = unsafe { Ref::first(object) };
        // SAFETY: As above; nobody else knows the device yet.
        unsafe { (*dev).type_ = T::device_type().0.get() };
        // `release` ends it.
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

    /// Names the device mappingN. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn set_mapping_name(&mut self, index: usize) -> Result {
        // SAFETY: As above.
        to_result(unsafe { bindings::dax_glue_set_mapping_name(raw::<T>(&self.0), index) })
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
    pub(crate) fn register(self, parent: &Device) -> Result<Registration<T>> {
        let dev = raw::<T>(&self.0);
        // SAFETY: The device is not registered yet, so nobody else reads this.
        // The core takes its own reference of the parent.
        unsafe { (*dev).parent = as_raw(parent) };
        // SAFETY: Initialised, typed and named.
        to_result(unsafe { bindings::device_add(dev) })?;
        Ok(Registration(self.0))
    }
}

/// A device that is registered; dropping it unregisters (`device_del()`).
///
/// That unbinds the driver and waits for every reader and writer of the
/// device's attributes: do not drop it under a lock that any of them takes.
pub(crate) struct Registration<T: Object>(Ref<T>);

impl<T: Object> Registration<T> {
    /// The object itself.
    pub(crate) fn object(&self) -> &Ref<T> {
        &self.0
    }
}

impl<T: Object> Drop for Registration<T> {
    fn drop(&mut self) {
        // SAFETY: The device was added, and only here is it deleted.
        unsafe { bindings::device_del(raw::<T>(&self.0)) };
    }
}
