// SPDX-License-Identifier: GPL-2.0

//! An object in the driver data of someone else's device, and attributes of the object
//! on that device.

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

/// A `T` that is in the driver data of a device.
///
/// # Invariants
///
/// Lives in an `Arc`.
#[repr(transparent)]
pub(crate) struct Stored<T>(T);

impl<T> Stored<T> {
    /// A counted reference to the object.
    pub(crate) fn arc(&self) -> Arc<T> {
        // SAFETY: By the type invariant.
        unsafe { ArcBorrow::from_raw(&self.0) }.into()
    }
}

impl<T> Deref for Stored<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

// SAFETY: Attributes for a `Stored` reach a device only through `DriverData`, which
// stores the object before, and clears the driver data after they are gone.
unsafe impl<T: Send + Sync + 'static> FromDevice for Stored<T> {
    unsafe fn from_device<'a>(dev: *mut bindings::device) -> &'a Self {
        // SAFETY: By the contract, and see above.
        // INVARIANT: `DriverData` stores what an `Arc` points to.
        unsafe { &*bindings::dev_get_drvdata(dev).cast_const().cast::<Self>() }
    }
}

/// The driver data of a device that is being probed, and groups of attributes there.
/// Dropping it takes both away; that waits for readers and writers of the attributes.
///
/// # Invariants
///
/// The driver data is `data`. `groups` are on `dev`.
pub(crate) struct DriverData<T: Send + Sync + 'static> {
    dev: ARef<Device>,
    data: Arc<T>,
    groups: Option<&'static Groups<Attribute<Stored<T>>>>,
}

impl<T: Send + Sync + 'static> DriverData<T> {
    /// Stores `data`.
    ///
    /// # Safety
    ///
    /// `dev` is being probed, and its driver leaves the driver data to the caller. The
    /// result is dropped before the driver is unbound.
    ///
    /// # Errors
    ///
    /// `EBUSY` if there is driver data.
    pub(crate) unsafe fn set(dev: &Device, data: Arc<T>) -> Result<Self> {
        let raw = as_raw(dev);
        // SAFETY: By the contract.
        if !unsafe { bindings::dev_get_drvdata(raw) }.is_null() {
            return Err(EBUSY);
        }
        // SAFETY: By the contract.
        unsafe { bindings::dev_set_drvdata(raw, Arc::as_ptr(&data).cast_mut().cast()) };
        // INVARIANT: Just stored.
        Ok(Self {
            dev: dev.into(),
            data,
            groups: None,
        })
    }

    /// The object.
    pub(crate) fn data(&self) -> &Arc<T> {
        &self.data
    }

    /// Adds groups of attributes, if there are none. May sleep. Some of their files may
    /// be used for a while even if this fails.
    ///
    /// # Errors
    ///
    /// `EEXIST`; what `sysfs_create_groups()` fails with.
    pub(crate) fn add_groups(&mut self, groups: &'static Groups<Attribute<Stored<T>>>) -> Result {
        if self.groups.is_some() {
            return Err(EEXIST);
        }
        // SAFETY: The device is alive, the groups are static.
        to_result(unsafe {
            bindings::sysfs_create_groups(
                &raw mut (*as_raw(&self.dev)).kobj,
                groups.as_ptr().cast_mut(),
            )
        })?;
        // INVARIANT: Just added.
        self.groups = Some(groups);
        Ok(())
    }

    /// Removes the groups. Waits for their readers and writers.
    pub(crate) fn remove_groups(&mut self) {
        let Some(groups) = self.groups.take() else {
            return;
        };
        // SAFETY: By the type invariant they are there.
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
