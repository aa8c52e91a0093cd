// SPDX-License-Identifier: GPL-2.0

//! `struct bus_type`.

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
        ordering::{
            Acquire,
            Full,
            Release, //
        },
        Atomic, //
    },
    types::Opaque,
    warn_on, //
};

use super::{
    dev_dax::RawDevDax,
    device::Unregistered,
    driver::{
        Driver,
        DriverAttribute,
        OwnDriver, //
    },
    hwpoison,
    ids,
    module::THIS_MODULE,
    object::{
        raw,
        FromDevice,
        Object, //
    },
    sysfs::Groups, //
};

/// The callbacks of a bus. C: those of `struct bus_type`.
pub(crate) trait BusOps: Sized + 'static {
    /// The devices of the bus.
    type Device: Object + Sync + AsRef<RawDevDax>;
    /// Whether `driver` may bind to `device`. Called with no lock of ours held; may sleep.
    fn matches(device: &Self::Device, driver: &Driver) -> bool;
    /// Adds variables to a uevent.
    ///
    /// # Errors
    ///
    /// The errno with which the uevent fails.
    fn uevent(env: &mut Uevent<'_>) -> Result;
    /// Prepares to bind `driver` to `device`. The ranges must not change from here on, see
    /// [`Ranges::freeze`](super::dev_dax::Ranges::freeze). After this the driver's own probe is
    /// called. The device lock is held.
    ///
    /// # Errors
    ///
    /// The errno with which binding fails. The driver's own probe is not called then.
    fn prepare(device: &Self::Device, driver: &Driver) -> Result;
    /// Called after the driver's own probe succeeded. The device lock is held.
    fn bound(device: &Self::Device);
    /// Called after the driver's own probe failed, or after its remove. Resources that the
    /// driver left to devres are released after this. The device lock is held.
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
        // SAFETY: `self.0` is a valid environment; the format takes one string; the format
        // and the string are NUL-terminated.
        to_result(unsafe {
            bindings::add_uevent_var(
                core::ptr::from_mut(self.0),
                c"%s".as_char_ptr(),
                variable.as_char_ptr(),
            )
        })
    }
}

/// Whether a bus was registered, or is being registered. This crate has one bus at most,
/// since the ids and the poisoned pages are those of one bus.
static REGISTERED: Atomic<bool> = Atomic::new(false);

/// `struct bus_type` with the callbacks of `B`.
pub(crate) struct BusType<B> {
    raw: Opaque<bindings::bus_type>,
    /// Whether the bus stays registered for good.
    kept: Atomic<bool>,
    ops: PhantomData<fn(B)>,
}

// SAFETY: `raw` is never written after construction, as bus_register() takes a const
// pointer. `kept` is atomic.
unsafe impl<B> Sync for BusType<B> {}

impl<B: BusOps> BusType<B> {
    /// A bus named `name` whose drivers have the attributes of `groups`.
    pub(crate) const fn new(name: &'static CStr, groups: &'static Groups<DriverAttribute>) -> Self {
        // SAFETY: All zeroes is a valid `struct bus_type`.
        let mut raw: bindings::bus_type = unsafe { core::mem::zeroed() };
        raw.name = as_char_ptr_in_const_context(name);
        raw.drv_groups = groups.as_ptr();
        raw.match_ = Some(match_callback::<B>);
        raw.uevent = Some(uevent_callback::<B>);
        raw.probe = Some(probe_callback::<B>);
        raw.remove = Some(remove_callback::<B>);
        Self {
            raw: Opaque::new(raw),
            kept: Atomic::new(false),
            ops: PhantomData,
        }
    }

    /// The pointer that devices and drivers keep.
    const fn as_ptr(&'static self) -> *const bindings::bus_type {
        self.raw.get().cast_const()
    }

    /// Registers the bus. Works only once, for one bus. May sleep.
    ///
    /// # Errors
    ///
    /// `EBUSY` if a bus was registered before, and the errors of `bus_register()`.
    pub(crate) fn register(&'static self) -> Result<BusRegistration<B>> {
        if REGISTERED.xchg(true, Full) {
            return Err(EBUSY);
        }
        // SAFETY: `REGISTERED` lets one caller come here, once. No driver is on a bus of
        // this crate yet, so nobody has used the ids.
        unsafe { ids::init() };
        // SAFETY: As above.
        unsafe { hwpoison::init() };
        // SAFETY: The bus is static, its name, groups and callbacks are set, and it is not
        // registered.
        to_result(unsafe { bindings::bus_register(self.as_ptr()) })?;
        Ok(BusRegistration(self))
    }

    /// Registers a driver of a C module (`__dax_driver_register()`). May sleep and probe
    /// devices.
    ///
    /// # Safety
    ///
    /// `driver` is valid and not registered, nobody else uses it, and it stays valid until
    /// [`Driver::unregister`]. It belongs to `module`. `name` is NUL-terminated and valid
    /// for as long.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the driver has no probe function, and the errors of `driver_register()`.
    pub(crate) unsafe fn register_driver(
        &'static self,
        driver: *mut bindings::dax_device_driver,
        module: *mut bindings::module,
        name: *const kernel::ffi::c_char,
    ) -> Result {
        // SAFETY: By the contract `driver` is valid, and nobody else uses it yet.
        unsafe {
            if (*driver).probe.is_none() {
                return Err(EINVAL);
            }
            bindings::INIT_LIST_HEAD(&raw mut (*driver).ids);
            (*driver).drv.owner = module;
            (*driver).drv.name = name;
            (*driver).drv.mod_name = name;
            (*driver).drv.bus = self.as_ptr();
        }
        // SAFETY: By the contract `driver` is valid until it is unregistered. Its bus, name
        // and owner were set above.
        to_result(unsafe { bindings::driver_register(&raw mut (*driver).drv) })
    }

    /// Registers the driver of this crate. May sleep and probe devices.
    ///
    /// `bus` is what [`BusType::register`] returned, and is dropped after the driver was
    /// unregistered. `None` if the bus stays registered, see [`BusRegistration::keep`].
    ///
    /// # Errors
    ///
    /// `EINVAL` without a bus, `EBUSY` if the driver was registered before, and the errors
    /// of `driver_register()`.
    pub(crate) fn register_own(
        &'static self,
        bus: Option<BusRegistration<B>>,
        driver: &'static OwnDriver<B::Device>,
        name: &'static CStr,
    ) -> Result<DriverRegistration<B>> {
        if bus.is_none() && !self.kept.load(Acquire) {
            return Err(EINVAL);
        }
        let raw = driver.take()?;
        // SAFETY: `raw` is in a static, and `take` returns it only once, so nobody else
        // uses it. Dropping the result unregisters it, which happens before this module is
        // unloaded. `name` is static.
        unsafe { self.register_driver(raw, THIS_MODULE, name.as_char_ptr()) }?;
        Ok(DriverRegistration {
            // SAFETY: The driver was registered just now, on the dax bus. It stays registered
            // until the result is dropped.
            driver: unsafe { Driver::from_raw(raw) },
            _bus: bus,
        })
    }
}

/// The registered driver of this crate. Dropping it unregisters the driver, and forgets the
/// ids that `new_id` added. Then it drops the registration of the bus, if it has that: the
/// driver core forgets which drivers a bus has when the bus goes.
pub(crate) struct DriverRegistration<B: BusOps> {
    driver: &'static Driver,
    _bus: Option<BusRegistration<B>>,
}

impl<B: BusOps> Drop for DriverRegistration<B> {
    fn drop(&mut self) {
        // SAFETY: `register_own` registered the driver, and only this unregisters it.
        unsafe { self.driver.unregister() };
        ids::forget(self.driver);
    }
}

/// A registered bus. Dropping it unregisters the bus; all drivers and devices are gone by
/// then. C modules with drivers use symbols of this module, so they go first.
pub(crate) struct BusRegistration<B: BusOps>(&'static BusType<B>);

impl<B: BusOps> BusRegistration<B> {
    /// Leaves the bus registered for good.
    pub(crate) fn keep(self) {
        self.0.kept.store(true, Release);
        core::mem::forget(self);
    }
}

impl<B: BusOps> Drop for BusRegistration<B> {
    fn drop(&mut self) {
        // SAFETY: `register` registered the bus, and only this unregisters it.
        unsafe { bindings::bus_unregister(self.0.as_ptr()) };
        ids::forget_all();
        hwpoison::forget_all();
    }
}

/// Objects whose device is on a bus.
pub(crate) trait OnBus: Object + AsRef<RawDevDax> {
    /// The callbacks of the bus.
    type Ops: BusOps<Device = Self>;
    /// The bus.
    fn bus() -> &'static BusType<Self::Ops>;
}

impl<T: OnBus> Unregistered<T> {
    /// Sets the device's bus, and sets its number to that of its dax device.
    pub(crate) fn set_bus(&mut self) {
        let object: &T = self.object();
        let dev = raw(object);
        // SAFETY: `dev` is valid. It is not registered yet, so nobody else accesses the
        // field.
        unsafe { (*dev).bus = T::bus().as_ptr() };
        // SAFETY: As above.
        unsafe { (*dev).devt = object.as_ref().dax().devt() };
    }
}

/// # Safety
///
/// The driver core calls this, and the callbacks below, for a device and a driver that are
/// on the bus of `B`.
unsafe extern "C" fn match_callback<B: BusOps>(
    dev: *mut bindings::device,
    drv: *const bindings::device_driver,
) -> kernel::ffi::c_int {
    // SAFETY: Only `set_bus` puts devices on this bus, and these are inside a `B::Device`.
    // The core keeps `dev` alive for this call.
    let device = unsafe { B::Device::from_device(dev) };
    // SAFETY: Only `register_driver` puts drivers on this bus. The core keeps `drv`
    // registered for this call.
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
        // SAFETY: The core passes a valid environment that nobody else uses for this call.
        B::uevent(&mut Uevent(unsafe { &mut *env }))?;
        Ok(0)
    })
}

/// # Safety
///
/// See [`match_callback`]. The driver of `dev` is set, and the device lock is held.
unsafe extern "C" fn probe_callback<B: BusOps>(dev: *mut bindings::device) -> kernel::ffi::c_int {
    // SAFETY: As in `match_callback`.
    let device = unsafe { B::Device::from_device(dev) };
    // SAFETY: The core has set the driver of `dev`, one of this bus, and keeps it
    // registered for this call. It holds the device lock, so the field does not change.
    let driver = unsafe { Driver::from_device_driver((*dev).driver) };
    from_result(|| {
        B::prepare(device, driver)?;
        // The driver reads the ranges without a lock, so they must not change.
        if warn_on!(!device.as_ref().is_frozen()) {
            return Err(EINVAL);
        }
        // SAFETY: The core is probing this device with this driver.
        unsafe { driver.call_probe(device.as_ref()) }.inspect_err(|_| B::unbound(device))?;
        B::bound(device);
        Ok(0)
    })
}

/// # Safety
///
/// See [`probe_callback`].
unsafe extern "C" fn remove_callback<B: BusOps>(dev: *mut bindings::device) {
    // SAFETY: As in `match_callback`.
    let device = unsafe { B::Device::from_device(dev) };
    // SAFETY: As in `probe_callback`; the core clears the driver of `dev` only after this
    // call.
    let driver = unsafe { Driver::from_device_driver((*dev).driver) };
    // SAFETY: The core is unbinding this device from this driver.
    unsafe { driver.call_remove(device.as_ref()) };
    B::unbound(device);
}
