// SPDX-License-Identifier: GPL-2.0

//! An object in the driver data of a device that belongs to somebody else, and attributes
//! of the object on that device.

use core::ops::Deref;

use kernel::{
    bindings,
    device::Device,
    error::to_result,
    prelude::*,
    sync::{
        aref::ARef,
        Arc,
        ArcBorrow, //
    }, //
};

use super::{
    object::{
        as_raw,
        FromDevice, //
    },
    sysfs::{
        Attribute,
        Groups, //
    }, //
};

/// A `T` in the driver data of a device.
///
/// # Invariants
///
/// The object is inside an `Arc`.
#[repr(transparent)]
pub(crate) struct Stored<T>(T);

impl<T> Stored<T> {
    /// A counted reference to the object.
    pub(crate) fn arc(&self) -> Arc<T> {
        // SAFETY: By the type invariants `self.0` is inside an `Arc`, which is alive while
        // `self` is borrowed.
        unsafe { ArcBorrow::from_raw(&self.0) }.into()
    }
}

impl<T> Deref for Stored<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

// SAFETY: Attributes for a `Stored` reach a device only through `DriverData`. That stores
// the object before it adds them, and clears the driver data after it has removed them.
unsafe impl<T: Send + Sync + 'static> FromDevice for Stored<T> {
    unsafe fn from_device<'a>(dev: *mut bindings::device) -> &'a Self {
        // SAFETY: By the contract `DriverData` stored a `T` in the driver data of `dev`,
        // which lives for `'a`. `Self` is a transparent wrapper of `T`.
        // INVARIANT: `DriverData` stores only what is inside an `Arc`.
        unsafe { &*bindings::dev_get_drvdata(dev).cast_const().cast::<Self>() }
    }
}

/// The driver data of a device, and attribute groups on the device. Dropping this removes
/// both, and waits for readers and writers of the attributes.
///
/// # Invariants
///
/// - The driver data of `dev` points to the object inside `data`.
/// - If `groups` is `Some`, those groups are on `dev`.
pub(crate) struct DriverData<T: Send + Sync + 'static> {
    dev: ARef<Device>,
    data: Arc<T>,
    groups: Option<&'static Groups<Attribute<Stored<T>>>>,
}

impl<T: Send + Sync + 'static> DriverData<T> {
    /// Stores `data` in the driver data of `dev`.
    ///
    /// # Safety
    ///
    /// `dev` is being probed, and its driver leaves the driver data to the caller. The
    /// result is dropped before the driver core clears the driver data, that is, at the
    /// latest with the managed resources of `dev`.
    ///
    /// # Errors
    ///
    /// `EBUSY` if there is driver data already.
    pub(crate) unsafe fn set(dev: &Device, data: Arc<T>) -> Result<Self> {
        let raw = as_raw(dev);
        // SAFETY: `dev` is valid. By the contract nobody else uses the driver data.
        if !unsafe { bindings::dev_get_drvdata(raw) }.is_null() {
            return Err(EBUSY);
        }
        // SAFETY: `dev` is valid. By the contract nobody else uses the driver data.
        unsafe { bindings::dev_set_drvdata(raw, Arc::as_ptr(&data).cast_mut().cast()) };
        // INVARIANT: The driver data was stored just now, and there are no groups.
        Ok(Self {
            dev: dev.into(),
            data,
            groups: None,
        })
    }

    /// The driver data that was set.
    pub(crate) fn data(&self) -> &Arc<T> {
        &self.data
    }

    /// Adds the attributes of `groups` to the device. Works only once. May sleep. If this
    /// fails, users may have used some of the files before it returns.
    ///
    /// # Errors
    ///
    /// `EEXIST` if there are groups already, and the errors of `sysfs_create_groups()`.
    pub(crate) fn add_groups(&mut self, groups: &'static Groups<Attribute<Stored<T>>>) -> Result {
        if self.groups.is_some() {
            return Err(EEXIST);
        }
        // SAFETY: We own a reference to the device, and the groups are static.
        to_result(unsafe {
            bindings::sysfs_create_groups(
                &raw mut (*as_raw(&self.dev)).kobj,
                groups.as_ptr().cast_mut(),
            )
        })?;
        // INVARIANT: The groups were added just now.
        self.groups = Some(groups);
        Ok(())
    }

    /// Removes the attributes, and waits for their readers and writers. Sleeps.
    pub(crate) fn remove_groups(&mut self) {
        // INVARIANT: `groups` is `None` from here on.
        let Some(groups) = self.groups.take() else {
            return;
        };
        // SAFETY: By the type invariants the groups are on the device.
        unsafe {
            bindings::sysfs_remove_groups(
                &raw mut (*as_raw(&self.dev)).kobj,
                groups.as_ptr().cast_mut(),
            )
        };
    }
}

impl<T: Send + Sync + 'static> Drop for DriverData<T> {
    fn drop(&mut self) {
        self.remove_groups();
        // SAFETY: By the contract of `set` the driver is not unbound yet, and the driver
        // data is ours.
        unsafe { bindings::dev_set_drvdata(as_raw(&self.dev), core::ptr::null_mut()) };
    }
}
