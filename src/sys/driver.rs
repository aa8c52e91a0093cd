// SPDX-License-Identifier: GPL-2.0

//! `struct dax_device_driver`: kmem, fsdev, and the driver of this crate.

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

/// `enum dax_driver_type`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum DriverType {
    /// Gives the memory to the page allocator.
    Kmem,
    /// `/dev/daxX.Y`, this crate.
    Device,
    /// For file systems; bound by id only.
    Fsdev,
}

/// A driver that is on the dax bus, ours or one of a C module: `struct
/// dax_device_driver`.
#[repr(transparent)]
pub(crate) struct Driver(Opaque<bindings::dax_device_driver>);

// SAFETY: Our code only reads it; the driver core guards the rest.
unsafe impl Sync for Driver {}

impl Driver {
    /// The driver around `drv`.
    ///
    /// # Safety
    ///
    /// `drv` is a driver of the dax bus and is registered throughout `'a`.
    pub(super) unsafe fn from_device_driver<'a>(drv: *const bindings::device_driver) -> &'a Self {
        let driver = drv.wrapping_byte_sub(core::mem::offset_of!(bindings::dax_device_driver, drv));
        // SAFETY: By the contract of the bus, `drv` is inside such a struct.
        unsafe { &*driver.cast::<Self>() }
    }

    /// The driver behind a C pointer.
    ///
    /// # Safety
    ///
    /// `driver` is a driver of the dax bus and is registered throughout `'a`.
    pub(crate) unsafe fn from_raw<'a>(driver: *mut bindings::dax_device_driver) -> &'a Self {
        // SAFETY: By the contract.
        unsafe { &*driver.cast_const().cast::<Self>() }
    }

    /// What kind it is.
    pub(crate) fn kind(&self) -> DriverType {
        // SAFETY: The type is set before the driver is registered and constant.
        match unsafe { (*self.0.get()).type_ } {
            bindings::dax_driver_type_DAXDRV_KMEM_TYPE => DriverType::Kmem,
            bindings::dax_driver_type_DAXDRV_DEVICE_TYPE => DriverType::Device,
            _ => DriverType::Fsdev,
        }
    }

    /// Tells drivers apart for as long as they are registered.
    pub(crate) fn key(&self) -> usize {
        self.0.get().addr()
    }

    /// Calls the driver's own probe.
    ///
    /// # Safety
    ///
    /// The core probes `dev` with this driver.
    ///
    /// # Errors
    ///
    /// What it fails with.
    pub(super) unsafe fn call_probe(&self, dev: &RawDevDax) -> Result {
        // SAFETY: Set before registration, which refuses a driver without it.
        let Some(probe) = (unsafe { (*self.0.get()).probe }) else {
            return Err(EINVAL);
        };
        // SAFETY: By the contract.
        to_result(unsafe { probe(dev.as_ptr()) })
    }

    /// Calls the driver's own remove, if it has one.
    ///
    /// # Safety
    ///
    /// The core unbinds `dev` from this driver.
    pub(super) unsafe fn call_remove(&self, dev: &RawDevDax) {
        // SAFETY: Set before registration and constant.
        if let Some(remove) = unsafe { (*self.0.get()).remove } {
            // SAFETY: By the contract.
            unsafe { remove(dev.as_ptr()) };
        }
    }

    /// Tries to bind the driver to all devices that it now matches.
    ///
    /// # Errors
    ///
    /// What `driver_attach()` fails with.
    pub(crate) fn attach(&self) -> Result {
        // SAFETY: The driver is registered while its attributes are used.
        to_result(unsafe { bindings::driver_attach(&raw mut (*self.0.get()).drv) })
    }

    /// Unbinds the driver from all its devices and takes it off the bus.
    ///
    /// # Safety
    ///
    /// This is the end of its registration.
    pub(crate) unsafe fn unregister(&self) {
        // SAFETY: By the type it is registered.
        unsafe { bindings::driver_unregister(&raw mut (*self.0.get()).drv) };
    }
}

/// A driver of this crate, which may be registered.
pub(crate) struct OwnDriver {
    raw: Opaque<bindings::dax_device_driver>,
    /// Whether it was registered, or is about to be.
    taken: Atomic<bool>,
}

// SAFETY: The driver core guards what changes in it.
unsafe impl Sync for OwnDriver {}

impl OwnDriver {
    /// A driver, to be registered.
    pub(crate) const fn new<P: Probe>() -> Self {
        // SAFETY: All zeroes is a valid `struct dax_device_driver`.
        let mut raw: bindings::dax_device_driver = unsafe { core::mem::zeroed() };
        raw.type_ = bindings::dax_driver_type_DAXDRV_DEVICE_TYPE;
        raw.probe = Some(driver_probe_callback::<P>);
        Self {
            raw: Opaque::new(raw),
            taken: Atomic::new(false),
        }
    }

    /// The C pointer, for whoever registers the driver.
    ///
    /// # Errors
    ///
    /// `EBUSY` if somebody has it.
    pub(super) fn take(&'static self) -> Result<*mut bindings::dax_device_driver> {
        if self.taken.xchg(true, Full) {
            return Err(EBUSY);
        }
        Ok(self.raw.get())
    }
}

/// The probe function of a driver in this crate.
pub(crate) trait Probe: 'static {
    /// The device, which starts with its `struct dev_dax`.
    type Device: Object + Sync;

    /// Binds to `device`, whose managed resources hang off `bound`.
    ///
    /// # Errors
    ///
    /// Leaves the device unbound.
    fn probe(
        device: &Self::Device,
        bound: &kernel::device::Device<kernel::device::Bound>,
    ) -> Result;
}

/// # Safety
///
/// Called by [`Driver::call_probe`] for a device of the bus.
unsafe extern "C" fn driver_probe_callback<P: Probe>(
    dev: *mut bindings::dev_dax,
) -> kernel::ffi::c_int {
    // SAFETY: By the contract of the bus the device inside is a `P::Device`'s.
    let device = unsafe { P::Device::from_device(&raw mut (*dev).dev) };
    // SAFETY: This is the device's probe.
    let bound = unsafe { bound_device(device) };
    from_result(|| {
        P::probe(device, bound)?;
        Ok(0)
    })
}

/// A write-only attribute of a dax driver, in `/sys/bus/dax/drivers/*/`.
#[repr(C)]
pub(crate) struct DriverAttribute {
    raw: Opaque<bindings::driver_attribute>,
}

// SAFETY: Never written after construction.
unsafe impl Sync for DriverAttribute {}

/// What a driver attribute does with what is written to it.
pub(crate) trait DriverStore {
    /// # Errors
    ///
    /// The errno that the writer gets.
    fn store(driver: &Driver, text: &CStr) -> Result;
}

impl DriverAttribute {
    /// An attribute that can be written.
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
/// Called by sysfs for a driver of the dax bus.
unsafe extern "C" fn driver_store_callback<S: DriverStore>(
    drv: *mut bindings::device_driver,
    buf: *const kernel::ffi::c_char,
    count: usize,
) -> isize {
    // SAFETY: Every driver of the bus is inside a `struct dax_device_driver`,
    // and is not unregistered while its attribute is used.
    let driver = unsafe { Driver::from_device_driver(drv) };
    store_text(buf, count, |text| S::store(driver, text))
}

// SAFETY: `raw.attr` is the first field of the first field; nothing is called.
unsafe impl GroupMember for DriverAttribute {
    const VISIBLE: Option<Visible> = None;
}
