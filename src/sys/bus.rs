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
        ordering::Full,
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
    ids,
    module::THIS_MODULE,
    object::{
        raw,
        FromDevice,
        Object, //
    },
    sysfs::Groups, //
};

/// What a bus does; C: the callbacks of `struct bus_type`.
pub(crate) trait BusOps: Sized + 'static {
    /// The devices of the bus.
    type Device: Object + Sync + AsRef<RawDevDax>;
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
pub(crate) struct BusType<B> {
    raw: Opaque<bindings::bus_type>,
    /// Whether it was registered, or is about to be.
    registered: Atomic<bool>,
    ops: PhantomData<fn(B)>,
}

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
        Self {
            raw: Opaque::new(raw),
            registered: Atomic::new(false),
            ops: PhantomData,
        }
    }

    /// What devices and drivers point to.
    const fn as_ptr(&'static self) -> *const bindings::bus_type {
        self.raw.get().cast_const()
    }

    /// Registers the bus, once. May sleep.
    ///
    /// # Errors
    ///
    /// `EBUSY` if it was registered before; what `bus_register()` fails with.
    pub(crate) fn register(&'static self) -> Result<BusRegistration<B>> {
        if self.registered.xchg(true, Full) {
            return Err(EBUSY);
        }
        // SAFETY: Nobody comes here twice.
        unsafe { ids::init() };
        // SAFETY: A static bus with valid callbacks, not registered.
        to_result(unsafe { bindings::bus_register(self.as_ptr()) })?;
        Ok(BusRegistration(self))
    }

    /// Puts a driver of a C module on the bus (`__dax_driver_register()`). May sleep, and
    /// may probe.
    ///
    /// # Safety
    ///
    /// The driver is valid and not registered, and stays valid until
    /// [`Driver::unregister`]. It belongs to `module`. `name` is valid as long.
    ///
    /// # Errors
    ///
    /// `EINVAL` without a probe function; what `driver_register()` fails with.
    pub(crate) unsafe fn register_driver(
        &'static self,
        driver: *mut bindings::dax_device_driver,
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
            (*driver).drv.bus = self.as_ptr();
        }
        // SAFETY: The driver is complete, and valid by the contract.
        to_result(unsafe { bindings::driver_register(&raw mut (*driver).drv) })
    }

    /// Puts the driver of this crate on the bus. May sleep, and may probe.
    ///
    /// # Errors
    ///
    /// `EBUSY` if it was registered before; what `driver_register()` fails with.
    pub(crate) fn register_own(
        &'static self,
        driver: &'static OwnDriver,
        name: &'static CStr,
    ) -> Result<DriverRegistration> {
        let raw = driver.take()?;
        // SAFETY: The driver is static and nobody else's; it is unregistered when the
        // result is dropped, which is before the module goes.
        unsafe { self.register_driver(raw, THIS_MODULE, name.as_char_ptr()) }?;
        // SAFETY: It is registered now, until this is dropped.
        Ok(DriverRegistration(unsafe { Driver::from_raw(raw) }))
    }
}

/// The driver of this crate, registered. Dropping it unregisters the driver, and forgets
/// the ids that the user gave it.
pub(crate) struct DriverRegistration(&'static Driver);

impl Drop for DriverRegistration {
    fn drop(&mut self) {
        // SAFETY: `register_own` registered it, and only here is that undone.
        unsafe { self.0.unregister() };
        ids::forget(self.0);
    }
}

/// A bus that is registered; dropping it unregisters it. The last driver and
/// device are gone by then.
pub(crate) struct BusRegistration<B: BusOps>(&'static BusType<B>);

impl<B: BusOps> Drop for BusRegistration<B> {
    fn drop(&mut self) {
        // SAFETY: It was registered, and only here is that undone.
        unsafe { bindings::bus_unregister(self.0.as_ptr()) };
        ids::forget_all();
    }
}

/// Devices that are on a bus.
pub(crate) trait OnBus: Object + AsRef<RawDevDax> {
    /// What the bus does.
    type Ops: BusOps<Device = Self>;
    /// The bus.
    fn bus() -> &'static BusType<Self::Ops>;
}

impl<T: OnBus> Unregistered<T> {
    /// Puts the device on its bus, under the number of its dax device.
    pub(crate) fn set_bus(&mut self) {
        let object: &T = self.object();
        let dev = raw(object);
        // SAFETY: The device is not registered yet, so nobody else reads this.
        unsafe { (*dev).bus = T::bus().as_ptr() };
        // SAFETY: As above.
        unsafe { (*dev).devt = object.as_ref().dax().devt() };
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
