// SPDX-License-Identifier: GPL-2.0

//! `struct dax_device_driver`: kmem, fsdev, and the driver of this crate.

use core::marker::PhantomData;

use kernel::{
    bindings,
    error::{
        from_result,
        to_result, //
    },
    prelude::*,
    str::as_char_ptr_in_const_context,
    sync::atomic::{
        ordering::Full,
        Atomic, //
    },
    types::Opaque, //
};

use super::{
    dev_dax::RawDevDax,
    object::{
        bound_device,
        FromDevice,
        Object, //
    },
    sysfs::{
        store_text,
        GroupMember,
        Visible, //
    }, //
};

/// The kinds of drivers. C: `enum dax_driver_type`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum DriverType {
    /// kmem, which gives the memory to the page allocator.
    Kmem,
    /// device_dax of this crate: `/dev/daxX.Y`.
    Device,
    /// fsdev_dax, for file systems. Binds only to devices that `new_id` names.
    Fsdev,
}

/// A driver on the dax bus, of this crate or of a C module: `struct dax_device_driver`.
#[repr(transparent)]
pub(crate) struct Driver(Opaque<bindings::dax_device_driver>);

// SAFETY: This crate only reads the driver; the driver core synchronises the rest.
unsafe impl Sync for Driver {}

impl Driver {
    /// The dax driver for a `struct device_driver`.
    ///
    /// # Safety
    ///
    /// `drv` is a driver on the dax bus and stays registered for `'a`.
    pub(super) unsafe fn from_device_driver<'a>(drv: *const bindings::device_driver) -> &'a Self {
        let driver = drv.wrapping_byte_sub(core::mem::offset_of!(bindings::dax_device_driver, drv));
        // SAFETY: By the contract `drv` is on the dax bus, so it is inside a valid `struct
        // dax_device_driver`, of which `Self` is a transparent wrapper.
        unsafe { &*driver.cast::<Self>() }
    }

    /// The driver for a C pointer.
    ///
    /// # Safety
    ///
    /// `driver` is on the dax bus and stays registered for `'a`, or until
    /// [`Driver::unregister`].
    pub(crate) unsafe fn from_raw<'a>(driver: *mut bindings::dax_device_driver) -> &'a Self {
        // SAFETY: By the contract `driver` is valid. `Self` is a transparent wrapper of it.
        unsafe { &*driver.cast_const().cast::<Self>() }
    }

    /// The kind that the driver registered with.
    pub(crate) fn kind(&self) -> DriverType {
        // SAFETY: The driver is valid. The type is set before registration and does not
        // change.
        match unsafe { (*self.0.get()).type_ } {
            bindings::dax_driver_type_DAXDRV_KMEM_TYPE => DriverType::Kmem,
            bindings::dax_driver_type_DAXDRV_DEVICE_TYPE => DriverType::Device,
            _ => DriverType::Fsdev,
        }
    }

    /// A number that no other registered driver has.
    pub(crate) fn key(&self) -> usize {
        self.0.get().addr()
    }

    /// Calls the driver's own probe. Sleeps.
    ///
    /// # Safety
    ///
    /// The driver core is probing `dev` with this driver.
    ///
    /// # Errors
    ///
    /// The errors of the probe.
    pub(super) unsafe fn call_probe(&self, dev: &RawDevDax) -> Result {
        // SAFETY: The driver is valid. The field is set before registration and does not
        // change.
        let Some(probe) = (unsafe { (*self.0.get()).probe }) else {
            return Err(EINVAL);
        };
        // SAFETY: By the contract the core is probing `dev` with this driver.
        to_result(unsafe { probe(dev.as_ptr()) })
    }

    /// Calls the driver's own remove, if it has one. Sleeps.
    ///
    /// # Safety
    ///
    /// The driver core is unbinding `dev` from this driver.
    pub(super) unsafe fn call_remove(&self, dev: &RawDevDax) {
        // SAFETY: The driver is valid. The field is set before registration and does not
        // change.
        if let Some(remove) = unsafe { (*self.0.get()).remove } {
            // SAFETY: By the contract the core is unbinding `dev` from this driver.
            unsafe { remove(dev.as_ptr()) };
        }
    }

    /// Probes all devices that match the driver and have none. May sleep; no device lock is
    /// held.
    ///
    /// # Errors
    ///
    /// The errors of `driver_attach()`.
    pub(crate) fn attach(&self) -> Result {
        // SAFETY: The driver is registered for as long as there is a reference to it.
        to_result(unsafe { bindings::driver_attach(&raw mut (*self.0.get()).drv) })
    }

    /// Unbinds the driver from all its devices and takes it off the bus. Sleeps.
    ///
    /// # Safety
    ///
    /// The driver is registered, and this is called only once for it. Nobody uses `self`
    /// after this, except for [`Driver::key`].
    pub(crate) unsafe fn unregister(&self) {
        // SAFETY: By the contract the driver is registered.
        unsafe { bindings::driver_unregister(&raw mut (*self.0.get()).drv) };
    }
}

/// A driver of this crate for devices of type `D`, in a static. It can be registered once.
pub(crate) struct OwnDriver<D> {
    raw: Opaque<bindings::dax_device_driver>,
    /// Whether the driver was registered, or is being registered.
    taken: Atomic<bool>,
    device: PhantomData<fn(D)>,
}

// SAFETY: Only the driver core writes `raw`, and it synchronises. `taken` is atomic.
unsafe impl<D> Sync for OwnDriver<D> {}

impl<D> OwnDriver<D> {
    /// A driver of type [`DriverType::Device`] with the probe function of `P`.
    pub(crate) const fn new<P: Probe<Device = D>>() -> Self {
        // SAFETY: All zeroes is a valid `struct dax_device_driver`.
        let mut raw: bindings::dax_device_driver = unsafe { core::mem::zeroed() };
        raw.type_ = bindings::dax_driver_type_DAXDRV_DEVICE_TYPE;
        raw.probe = Some(driver_probe_callback::<P>);
        Self {
            raw: Opaque::new(raw),
            taken: Atomic::new(false),
            device: PhantomData,
        }
    }

    /// The C pointer, for the one caller that registers the driver.
    ///
    /// # Errors
    ///
    /// `EBUSY` if another caller has got it.
    pub(super) fn take(&'static self) -> Result<*mut bindings::dax_device_driver> {
        if self.taken.xchg(true, Full) {
            return Err(EBUSY);
        }
        Ok(self.raw.get())
    }
}

/// The probe function of a driver of this crate.
pub(crate) trait Probe: 'static {
    /// The object of each device of the bus, inside a `struct dev_dax`.
    type Device: Object + Sync;

    /// Binds the driver to `device`. `bound` is its `struct device`, for devres. Sleeps;
    /// the device lock is held.
    ///
    /// # Errors
    ///
    /// The errno with which binding fails. devres then releases what was registered for
    /// `bound`.
    fn probe(
        device: &Self::Device,
        bound: &kernel::device::Device<kernel::device::Bound>,
    ) -> Result;
}

/// # Safety
///
/// [`Driver::call_probe`] calls this for a device that the driver core is probing.
unsafe extern "C" fn driver_probe_callback<P: Probe>(
    dev: *mut bindings::dev_dax,
) -> kernel::ffi::c_int {
    // SAFETY: This crate has one bus, and all devices on it are `DevDax`, which is
    // `P::Device`. The core keeps the device alive for this call.
    let device = unsafe { P::Device::from_device(&raw mut (*dev).dev) };
    // SAFETY: The core is probing the device, and `bound` is not used after this call.
    let bound = unsafe { bound_device(device) };
    from_result(|| {
        P::probe(device, bound)?;
        Ok(0)
    })
}

/// A write-only attribute of the drivers on the dax bus, in `/sys/bus/dax/drivers/*/`.
#[repr(C)]
pub(crate) struct DriverAttribute {
    raw: Opaque<bindings::driver_attribute>,
}

// SAFETY: Never written after construction.
unsafe impl Sync for DriverAttribute {}

/// The store function of a driver attribute.
pub(crate) trait DriverStore {
    /// Handles a write of `text`. May sleep.
    ///
    /// # Errors
    ///
    /// The errno of `write(2)`.
    fn store(driver: &Driver, text: &CStr) -> Result;
}

impl DriverAttribute {
    /// A write-only attribute.
    pub(crate) const fn wo<S: DriverStore>(name: &'static CStr, mode: u16) -> Self {
        // SAFETY: All zeroes is a valid `struct driver_attribute`.
        let mut raw: bindings::driver_attribute = unsafe { core::mem::zeroed() };
        raw.attr.name = as_char_ptr_in_const_context(name);
        raw.attr.mode = mode;
        raw.store = Some(driver_store_callback::<S>);
        Self {
            raw: Opaque::new(raw),
        }
    }
}

/// # Safety
///
/// sysfs calls this for a driver on the dax bus.
unsafe extern "C" fn driver_store_callback<S: DriverStore>(
    drv: *mut bindings::device_driver,
    buf: *const kernel::ffi::c_char,
    count: usize,
) -> isize {
    // SAFETY: By the contract `drv` is on the dax bus. Unregistering it removes its
    // attributes, which waits for this call.
    let driver = unsafe { Driver::from_device_driver(drv) };
    let store = |text: &CStr| {
        S::store(driver, text).inspect_err(|e| {
            // SAFETY: As above.
            unsafe { bindings::dax_glue_dbg_driver_store(drv, e.to_errno()) }
        })
    };
    // SAFETY: sysfs appends a NUL to the bytes that were written, and keeps both for this
    // call.
    unsafe { store_text(buf, count, store) }
}

// SAFETY: `raw.attr` is the first field of the first field. There is no `VISIBLE` function.
unsafe impl GroupMember for DriverAttribute {
    const VISIBLE: Option<Visible> = None;
}
