// SPDX-License-Identifier: GPL-2.0

//! drivers/base/bus.c, dd.c, driver.c: which driver has which device.

use std::cell::{Cell, RefCell};
use std::ffi::CStr;
use std::rc::Rc;

use super::*;
use crate::error::code::{EAGAIN, EBUSY, EINVAL, ENODEV, ENOMEM, EPROBE_DEFER};
use crate::error::{Error, Result};
use crate::ffi::{c_char, c_int};
use crate::sched;

/// A bus that is registered.
struct Bus {
    registered: Cell<bool>,
    kind: Cell<*const bus_type>,
    devices: RefCell<Vec<*mut device>>,
    drivers: RefCell<Vec<Rc<Driver>>>,
}

/// A driver that is registered.
struct Driver {
    raw: *mut device_driver,
    name: String,
    files: Files,
    /// The number of tasks that walk over the drivers and have got to this one.
    walkers: Cell<usize>,
    /// Devices that are bound to it, in that order.
    devices: RefCell<Vec<*mut device>>,
}

impl Default for Bus {
    fn default() -> Self {
        Self {
            registered: Cell::new(false),
            kind: Cell::new(core::ptr::null()),
            devices: RefCell::default(),
            drivers: RefCell::default(),
        }
    }
}

/// There is but one.
#[derive(Default)]
struct TheBus(Rc<Bus>);

fn bus() -> Rc<Bus> {
    sched::part(|bus: &mut TheBus| bus.0.clone())
}

impl Bus {
    fn kind(&self) -> &'static bus_type {
        // SAFETY: A bus is static.
        unsafe { &*self.kind.get() }
    }
}

/// `bus_register()`.
///
/// # Safety
///
/// The contract is that of the C function. This holds for all functions here.
pub unsafe extern "C" fn bus_register(kind: *const bus_type) -> c_int {
    let bus = bus();
    sched::require(!bus.registered.get(), "bus_register(): for the second time");
    if sched::fails("bus_register()") {
        return ENOMEM.to_errno();
    }
    bus.kind.set(kind);
    bus.registered.set(true);
    0
}

/// `bus_unregister()`.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn bus_unregister(_: *const bus_type) {
    if sched::inert() {
        return;
    }
    let bus = bus();
    sched::require(
        bus.registered.get(),
        "bus_unregister(): it is not registered",
    );
    sched::require(
        bus.devices.borrow().is_empty(),
        "bus_unregister(): there are devices",
    );
    sched::require(
        bus.drivers.borrow().is_empty(),
        "bus_unregister(): there are drivers",
    );
    bus.registered.set(false);
}

/// `bus_add_device()`.
pub(crate) fn add_to_bus(_: *const bus_type, dev: *mut device) -> Result {
    let bus = bus();
    if !bus.registered.get() {
        return Err(EINVAL);
    }
    if sched::fails("bus_add_device()") {
        return Err(ENOMEM);
    }
    bus.devices.borrow_mut().push(dev);
    Ok(())
}

/// `bus_remove_device()`.
///
/// # Safety
///
/// The device was added.
pub(crate) unsafe fn remove_from_bus(dev: *mut device) {
    let bus = bus();
    sched::point(|| format!("{} leaves the bus", core(dev, "bus_remove_device()").name()));
    bus.devices.borrow_mut().retain(|other| *other != dev);
    // SAFETY: The caller holds a reference.
    unsafe { release_driver(dev, None) };
}

/// `kobject_uevent()`: the bus adds its variables.
///
/// # Safety
///
/// The device was added to the bus.
pub(crate) unsafe fn uevent(dev: *mut device, bus: *const bus_type) {
    let mut env = kobj_uevent_env { _opaque: [0; 2] };
    // SAFETY: A bus is static.
    if let Some(uevent) = unsafe { (*bus).uevent } {
        // SAFETY: By the contract of the bus.
        unsafe { uevent(dev, &raw mut env) };
    }
}

/// `add_uevent_var()`, with the format `%s`.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn add_uevent_var(
    _env: *mut kobj_uevent_env,
    _format: *const c_char,
    _variable: *const c_char,
) -> c_int {
    0
}

/// `bus_for_each_drv()`: what is added meanwhile may be seen, and what is removed waits
/// until nobody is at it.
fn for_each_driver(bus: &Bus, mut f: impl FnMut(&Driver) -> bool) {
    let mut done: Vec<*mut device_driver> = Vec::new();
    loop {
        let next = {
            let drivers = bus.drivers.borrow();
            drivers
                .iter()
                .find(|driver| !done.contains(&driver.raw))
                .cloned()
        };
        let Some(driver) = next else {
            return;
        };
        done.push(driver.raw);
        driver.walkers.set(driver.walkers.get() + 1);
        let stop = f(&driver);
        driver.walkers.set(driver.walkers.get() - 1);
        if stop {
            return;
        }
    }
}

fn matches(bus: &Bus, dev: *mut device, driver: *const device_driver) -> bool {
    let Some(matches) = bus.kind().match_ else {
        return true;
    };
    // SAFETY: The caller holds a reference of the device, and the driver is registered.
    unsafe { matches(dev, driver) != 0 }
}

/// `bus_probe_device()` at the end of device_add(): `__device_attach()`.
///
/// # Safety
///
/// The caller holds a reference.
pub(crate) unsafe fn probe_new(dev: *mut device, _: *const bus_type) {
    let bus = bus();
    let this = core(dev, "__device_attach()");
    this.lock();
    if !this.dead.get() && this.driver().is_null() {
        for_each_driver(&bus, |driver| {
            // SAFETY: The lock is held.
            matches(&bus, dev, driver.raw) && unsafe { probe(dev, driver) }.is_ok()
        });
    }
    this.unlock();
}

/// `__driver_probe_device()`.
///
/// # Safety
///
/// The device lock is held.
unsafe fn probe(dev: *mut device, driver: &Driver) -> Result {
    let this = core(dev, "driver_probe_device()");
    if this.dead.get() || !this.registered.get() {
        return Err(ENODEV);
    }
    if !this.driver().is_null() {
        return Err(EBUSY);
    }
    if !this.ready.get() {
        return Err(EPROBE_DEFER);
    }
    // really_probe()
    sched::require(this.devres.is_empty(), "resources present before probing");
    sched::point(|| format!("{} gets the driver {}", this.name(), driver.name));
    this.set_driver(driver.raw);
    let result = (|| {
        if sched::fails("driver_sysfs_add()") {
            return Err(ENOMEM);
        }
        let probe = bus().kind().probe.expect("the bus has a probe");
        // SAFETY: By the contract of the bus.
        match unsafe { probe(dev) } {
            0 => Ok(()),
            errno => Err(Error::from_errno(errno)),
        }
    })();
    match result {
        Ok(()) => {
            this.bound.set(true);
            driver.devices.borrow_mut().push(dev);
            sched::trace(|| format!("{} is bound to {}", this.name(), driver.name));
        }
        Err(e) => {
            sched::trace(|| format!("{} is not bound to {}: {e:?}", this.name(), driver.name));
            unbind_cleanup(&this);
        }
    }
    result
}

/// `device_unbind_cleanup()`.
fn unbind_cleanup(this: &Core) {
    this.devres.release_all();
    // SAFETY: Only dax devices are on the bus.
    unsafe { require_unmapped(this.dev) };
    sched::point(|| format!("{} has no driver any more", this.name()));
    this.set_driver(core::ptr::null_mut());
    // SAFETY: The device lives, the lock is held.
    unsafe { dev_set_drvdata(this.dev, core::ptr::null_mut()) };
}

/// `device_release_driver_internal()`: unbinds, if the driver is still that one.
///
/// # Safety
///
/// The caller holds a reference of the device.
unsafe fn release_driver(dev: *mut device, driver: Option<*mut device_driver>) {
    let this = core(dev, "device_release_driver()");
    this.lock();
    let current = this.driver();
    let wanted = driver.is_none_or(|driver| driver == current);
    if wanted && !current.is_null() {
        // __device_release_driver()
        let remove = bus().kind().remove.expect("the bus has a remove");
        // SAFETY: By the contract of the bus.
        unsafe { remove(dev) };
        unbind_cleanup(&this);
        this.bound.set(false);
        for driver in bus().drivers.borrow().iter() {
            driver.devices.borrow_mut().retain(|other| *other != dev);
        }
        for driver in unregistering().iter() {
            driver.devices.borrow_mut().retain(|other| *other != dev);
        }
        sched::trace(|| format!("{} is unbound", this.name()));
    }
    this.unlock();
}

/// Drivers that are off the list and still have devices.
#[derive(Default)]
struct Unregistering(Vec<Rc<Driver>>);

fn unregistering() -> Vec<Rc<Driver>> {
    sched::part(|list: &mut Unregistering| list.0.clone())
}

/// `driver_register()`.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn driver_register(raw: *mut device_driver) -> c_int {
    let bus = bus();
    if !bus.registered.get() {
        return EINVAL.to_errno();
    }
    if sched::fails("bus_add_driver()") {
        return ENOMEM.to_errno();
    }
    // SAFETY: By the contract.
    let name = unsafe { CStr::from_ptr((*raw).name.cast()) }
        .to_string_lossy()
        .into_owned();
    let driver = Rc::new(Driver {
        raw,
        name,
        files: Files::default(),
        walkers: Cell::new(0),
        devices: RefCell::default(),
    });
    sched::point(|| format!("the driver {} is on the bus", driver.name));
    bus.drivers.borrow_mut().push(driver.clone());
    // SAFETY: It is registered.
    unsafe { attach(&bus, &driver) };
    // SAFETY: A bus is static.
    unsafe { driver.files.create_for_driver(bus.kind().drv_groups) };
    0
}

/// `driver_unregister()`: `bus_remove_driver()`.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn driver_unregister(raw: *mut device_driver) {
    if sched::inert() {
        return;
    }
    let bus = bus();
    let found = bus
        .drivers
        .borrow()
        .iter()
        .find(|driver| driver.raw == raw)
        .cloned();
    let Some(driver) = found else {
        sched::violation("driver_unregister(): it is not registered");
    };
    sched::point(|| format!("the files of the driver {} go", driver.name));
    driver.files.remove_all();
    bus.drivers.borrow_mut().retain(|other| other.raw != raw);
    sched::part(|list: &mut Unregistering| list.0.push(driver.clone()));
    // klist_remove()
    sched::wait_until(
        || format!("those who are at the driver {}", driver.name),
        &|| driver.walkers.get() == 0,
    );
    // driver_detach()
    loop {
        let last = driver.devices.borrow().last().copied();
        let Some(dev) = last else {
            break;
        };
        // SAFETY: A device that is bound lives.
        unsafe {
            get_device(dev);
            release_driver(dev, Some(raw));
            put_device(dev);
        }
    }
    sched::part(|list: &mut Unregistering| list.0.retain(|other| other.raw != raw));
}

/// `driver_attach()`.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn driver_attach(raw: *const device_driver) -> c_int {
    let bus = bus();
    let found = {
        let drivers = bus.drivers.borrow();
        drivers
            .iter()
            .find(|driver| driver.raw.cast_const() == raw)
            .cloned()
    };
    match found {
        // SAFETY: It is registered.
        Some(driver) => unsafe { attach(&bus, &driver) },
        None => sched::violation("driver_attach(): the driver is not registered"),
    }
    0
}

/// `__driver_attach()` for each device of the bus.
unsafe fn attach(bus: &Bus, driver: &Rc<Driver>) {
    let mut done: Vec<*mut device> = Vec::new();
    loop {
        let next = {
            let devices = bus.devices.borrow();
            devices.iter().find(|dev| !done.contains(dev)).copied()
        };
        let Some(dev) = next else {
            return;
        };
        done.push(dev);
        // SAFETY: A device on the bus lives; we hold a reference from here on.
        unsafe {
            get_device(dev);
            if matches(bus, dev, driver.raw) {
                let this = core(dev, "__driver_attach()");
                this.lock();
                // An error is nobody's.
                let _ = probe(dev, driver);
                this.unlock();
            }
            put_device(dev);
        }
    }
}

fn driver_named(name: &str) -> Result<Rc<Driver>> {
    let bus = bus();
    let drivers = bus.drivers.borrow();
    drivers
        .iter()
        .find(|driver| driver.name == name)
        .cloned()
        .ok_or(crate::error::code::ENOENT)
}

/// A reference of a device.
pub struct DeviceRef(*mut device);

impl DeviceRef {
    /// The device.
    pub fn raw(&self) -> *mut device {
        self.0
    }
}

impl Drop for DeviceRef {
    fn drop(&mut self) {
        // SAFETY: We own a reference.
        unsafe { put_device(self.0) };
    }
}

/// `bus_find_device_by_name()`.
pub fn find_device(name: &str) -> Option<DeviceRef> {
    let bus = bus();
    let devices = bus.devices.borrow();
    let found = devices
        .iter()
        .find(|dev| core(**dev, "bus_find_device()").name() == name);
    let found = found.copied()?;
    drop(devices);
    // SAFETY: A device on the bus lives.
    Some(DeviceRef(unsafe { get_device(found) }))
}

/// Names of the devices on the bus.
pub fn devices_on_bus() -> Vec<String> {
    let bus = bus();
    let devices = bus.devices.borrow();
    devices
        .iter()
        .map(|dev| core(*dev, "a device of the bus").name())
        .collect()
}

/// The name of the driver that a device has.
pub fn driver_of(name: &str) -> Option<String> {
    let dev = find_device(name)?;
    let raw = core(dev.raw(), "driver_of").driver();
    let bus = bus();
    let drivers = bus.drivers.borrow();
    drivers
        .iter()
        .find(|driver| driver.raw == raw)
        .map(|driver| driver.name.clone())
}

/// `write(2)` to `bind` of a driver: `bind_store()`.
///
/// # Errors
///
/// The errno that the writer gets.
pub fn bind(driver: &str, device: &str) -> Result {
    sched::point(|| format!("write {device:?} to {driver}/bind"));
    let driver = driver_named(driver)?;
    let _active = driver.files.open("bind")?;
    let dev = find_device(device).ok_or(ENODEV)?;
    if !matches(&bus(), dev.raw(), driver.raw) {
        return Err(ENODEV);
    }
    // device_driver_attach()
    let this = core(dev.raw(), "bind");
    this.lock();
    // SAFETY: The lock is held.
    let result = unsafe { probe(dev.raw(), &driver) };
    this.unlock();
    let result = match result {
        Err(EPROBE_DEFER) => Err(EAGAIN),
        other => other,
    };
    sched::trace(|| format!("{}/bind: {result:?}", driver.name));
    result
}

/// `write(2)` to `unbind` of a driver: `unbind_store()`.
///
/// # Errors
///
/// The errno that the writer gets.
pub fn unbind(driver: &str, device: &str) -> Result {
    sched::point(|| format!("write {device:?} to {driver}/unbind"));
    let driver = driver_named(driver)?;
    let _active = driver.files.open("unbind")?;
    let dev = find_device(device).ok_or(ENODEV)?;
    if core(dev.raw(), "unbind").driver() != driver.raw {
        return Err(ENODEV);
    }
    // device_driver_detach()
    // SAFETY: We hold a reference.
    unsafe { release_driver(dev.raw(), None) };
    sched::trace(|| format!("{}/unbind is done", driver.name));
    Ok(())
}

/// `write(2)` to another file of a driver.
///
/// # Errors
///
/// The errno that the writer gets.
pub fn write_driver_attribute(driver: &str, name: &str, text: &str) -> Result {
    sched::point(|| format!("write {text:?} to {driver}/{name}"));
    let driver = driver_named(driver)?;
    let active = driver.files.open(name)?;
    let text = std::ffi::CString::new(text).expect("users write no NUL");
    let attr = active.attribute().cast::<driver_attribute>();
    // SAFETY: The attribute is static, and the driver registered while it is used.
    let result = unsafe {
        let store = (*attr).store.ok_or(EINVAL)?;
        store(driver.raw, text.as_ptr().cast(), text.to_bytes().len())
    };
    sched::trace(|| format!("{}/{name}: {result}", driver.name));
    match i32::try_from(result) {
        Ok(errno @ ..=-1) => Err(Error::from_errno(errno)),
        _ => Ok(()),
    }
}
