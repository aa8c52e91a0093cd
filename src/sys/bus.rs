// SPDX-License-Identifier: GPL-2.0

//! `struct bus_type` and `struct dax_device_driver`.

use core::marker::PhantomData;
use kernel::bindings;
use kernel::error::{from_result, to_result};
use kernel::prelude::*;
use kernel::str::as_char_ptr_in_const_context;
use kernel::types::Opaque;
use kernel::warn_on;

use super::dev_dax::CDevDax;
use super::device::{FromDevice, Object};
use super::sysfs::{DriverAttribute, Groups};

/// What a bus does; C: the callbacks of `struct bus_type`.
pub(crate) trait BusOps: Sized + 'static {
    /// The devices of the bus.
    type Device: Object + AsRef<CDevDax>;
    /// Whether `driver` may bind to `device`. Under no lock of this driver.
    fn matches(device: &Self::Device, driver: &Driver) -> bool;
    /// Adds variables to a uevent.
    fn uevent(env: &mut Uevent<'_>) -> Result;
    /// `driver` is about to be bound to `device`, whose lock is held: its ranges
    /// must be pinned, see [`Ranges::pin`](super::dev_dax::Ranges::pin). Then the
    /// driver's own probe is called.
    ///
    /// # Errors
    ///
    /// What binding fails with; the driver's probe is not called.
    fn prepare(device: &Self::Device, driver: &Driver) -> Result;
    /// The driver's own probe ended well; the device lock is held.
    fn bound(device: &Self::Device);
    /// The driver's own probe failed, or its remove was called. What it left to
    /// `devres` goes after this. The device lock is held.
    fn unbound(device: &Self::Device);
}

/// The environment of a uevent.
pub(crate) struct Uevent<'a>(&'a mut bindings::kobj_uevent_env);

impl Uevent<'_> {
    /// Adds `variable`, in the form `NAME=value`.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if the environment is full.
    pub(crate) fn add(&mut self, variable: &CStr) -> Result {
        // SAFETY: The format takes one string, and both are terminated.
        to_result(unsafe {
            bindings::add_uevent_var(
                core::ptr::from_mut(self.0),
                c"%s".as_char_ptr(),
                variable.as_char_ptr(),
            )
        })
    }
}

/// `struct bus_type` with the callbacks of `B`.
#[repr(transparent)]
pub(crate) struct BusType<B>(Opaque<bindings::bus_type>, PhantomData<fn(B)>);

// SAFETY: Never written after construction.
unsafe impl<B> Sync for BusType<B> {}

impl<B: BusOps> BusType<B> {
    /// A bus whose drivers carry the attributes of `groups`.
    pub(crate) const fn new(name: &'static CStr, groups: &'static Groups<DriverAttribute>) -> Self {
        // SAFETY: All zeroes is a valid `struct bus_type`.
        let mut raw: bindings::bus_type = unsafe { core::mem::zeroed() };
        raw.name = as_char_ptr_in_const_context(name);
        raw.drv_groups = groups.as_ptr();
        raw.match_ = Some(match_callback::<B>);
        raw.uevent = Some(uevent_callback::<B>);
        raw.probe = Some(probe_callback::<B>);
        raw.remove = Some(remove_callback::<B>);
        Self(Opaque::new(raw), PhantomData)
    }

    /// What devices and drivers point to.
    pub(super) const fn as_ptr(&'static self) -> *const bindings::bus_type {
        self.0.get().cast_const()
    }

    /// Registers the bus. May sleep.
    ///
    /// # Safety
    ///
    /// Called once, as long as the result was not dropped.
    ///
    /// # Errors
    ///
    /// What `bus_register()` fails with.
    pub(crate) unsafe fn register(&'static self) -> Result<RegisteredBus<B>> {
        // SAFETY: A static bus with valid callbacks, not registered.
        to_result(unsafe { bindings::bus_register(self.as_ptr()) })?;
        Ok(RegisteredBus(self))
    }
}

/// A bus that is registered; dropping it unregisters it. The last driver and
/// device are gone by then.
pub(crate) struct RegisteredBus<B: BusOps>(&'static BusType<B>);

impl<B: BusOps> Drop for RegisteredBus<B> {
    fn drop(&mut self) {
        // SAFETY: It was registered, and only here is that undone.
        unsafe { bindings::bus_unregister(self.0.as_ptr()) };
    }
}

/// # Safety
///
/// As with all callbacks below: called by the driver core for a device and a
/// driver of the bus.
unsafe extern "C" fn match_callback<B: BusOps>(
    dev: *mut bindings::device,
    drv: *const bindings::device_driver,
) -> kernel::ffi::c_int {
    // SAFETY: Only `B::Device`s are on this bus.
    let device = unsafe { B::Device::from_device(dev) };
    // SAFETY: Only dax drivers are on this bus.
    let driver = unsafe { Driver::from_device_driver(drv) };
    B::matches(device, driver).into()
}

/// # Safety
///
/// See [`match_callback`].
unsafe extern "C" fn uevent_callback<B: BusOps>(
    _dev: *const bindings::device,
    env: *mut bindings::kobj_uevent_env,
) -> kernel::ffi::c_int {
    from_result(|| {
        // SAFETY: The core hands us an environment of its own.
        B::uevent(&mut Uevent(unsafe { &mut *env }))?;
        Ok(0)
    })
}

/// # Safety
///
/// See [`match_callback`]; the device's driver is set.
unsafe extern "C" fn probe_callback<B: BusOps>(dev: *mut bindings::device) -> kernel::ffi::c_int {
    // SAFETY: Only `B::Device`s are on this bus.
    let device = unsafe { B::Device::from_device(dev) };
    // SAFETY: The core set the driver and holds the device lock.
    let driver = unsafe { Driver::from_device_driver((*dev).driver) };
    from_result(|| {
        B::prepare(device, driver)?;
        // The driver reads the ranges without a lock.
        if warn_on!(!device.as_ref().is_pinned()) {
            return Err(EINVAL);
        }
        // SAFETY: The core probes this device with this driver.
        unsafe { driver.call_probe(device.as_ref()) }.inspect_err(|_| B::unbound(device))?;
        B::bound(device);
        Ok(0)
    })
}

/// # Safety
///
/// See [`probe_callback`].
unsafe extern "C" fn remove_callback<B: BusOps>(dev: *mut bindings::device) {
    // SAFETY: Only `B::Device`s are on this bus.
    let device = unsafe { B::Device::from_device(dev) };
    // SAFETY: As in `probe_callback`; the core clears it later.
    let driver = unsafe { Driver::from_device_driver((*dev).driver) };
    // SAFETY: The core unbinds this device from this driver.
    unsafe { driver.call_remove(device.as_ref()) };
    B::unbound(device);
}

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
    unsafe fn call_probe(&self, dev: &CDevDax) -> Result {
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
    unsafe fn call_remove(&self, dev: &CDevDax) {
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

/// Puts `driver` on `bus` (C: `__dax_driver_register()`). May sleep, and may probe.
///
/// # Safety
///
/// The driver is valid and not registered, and stays valid until
/// [`Driver::unregister`]. It belongs to `module`. `name` is valid as long.
///
/// # Errors
///
/// `EINVAL` without a probe function; what `driver_register()` fails with.
pub(crate) unsafe fn register_driver<B: BusOps>(
    driver: *mut bindings::dax_device_driver,
    bus: &'static BusType<B>,
    module: *mut bindings::module,
    name: *const kernel::ffi::c_char,
) -> Result {
    // SAFETY: By the contract nobody else uses the driver yet.
    unsafe {
        if (*driver).probe.is_none() {
            return Err(EINVAL);
        }
        bindings::INIT_LIST_HEAD(&raw mut (*driver).ids);
        (*driver).drv.owner = module;
        (*driver).drv.name = name;
        (*driver).drv.mod_name = name;
        (*driver).drv.bus = bus.as_ptr();
    }
    // SAFETY: The driver is complete, and valid by the contract.
    to_result(unsafe { bindings::driver_register(&raw mut (*driver).drv) })
}

/// A driver of this crate, which may be registered.
#[repr(transparent)]
pub(crate) struct OwnDriver(Opaque<bindings::dax_device_driver>);

// SAFETY: The driver core guards what changes in it.
unsafe impl Sync for OwnDriver {}

impl OwnDriver {
    /// A driver, to be registered.
    pub(crate) const fn new<P: Probe>() -> Self {
        // SAFETY: All zeroes is a valid `struct dax_device_driver`.
        let mut raw: bindings::dax_device_driver = unsafe { core::mem::zeroed() };
        raw.type_ = bindings::dax_driver_type_DAXDRV_DEVICE_TYPE;
        raw.probe = Some(driver_probe_callback::<P>);
        Self(Opaque::new(raw))
    }

    /// The C pointer.
    pub(crate) fn as_ptr(&'static self) -> *mut bindings::dax_device_driver {
        self.0.get()
    }
}

/// The probe function of a driver in this crate.
pub(crate) trait Probe: 'static {
    /// The device, which starts with its `struct dev_dax`.
    type Device: Object;

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
    let bound = unsafe { super::device::bound_device(device) };
    from_result(|| {
        P::probe(device, bound)?;
        Ok(0)
    })
}
