// SPDX-License-Identifier: GPL-2.0

//! drivers/base/core.c: devices, their references, how they come and go.

use std::cell::{Cell, RefCell};
use std::ffi::{CStr, CString};
use std::rc::Rc;

use super::*;
use crate::error::code::{EEXIST, EINVAL, ENOMEM};
use crate::ffi::{c_char, c_int, c_void};
use crate::lockdep;
use crate::sched;

/// The model's data of a device.
pub(crate) struct Core {
    pub(crate) dev: *mut device,
    name: RefCell<CString>,
    references: Cell<i32>,
    /// The device lock.
    locked: Cell<bool>,
    pub(crate) dead: Cell<bool>,
    pub(crate) ready: Cell<bool>,
    /// In sysfs, from device_add() to device_del().
    pub(crate) registered: Cell<bool>,
    added_once: Cell<bool>,
    pub(crate) bound: Cell<bool>,
    pub(crate) devres: Devres,
    pub(crate) files: Files,
    driver_data: Cell<*mut c_void>,
    node: Cell<i32>,
    /// A device of another module: whether the driver of this one may use it.
    foreign: Cell<Foreign>,
}

/// Whose a device is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Foreign {
    /// Made by the driver under test.
    Own,
    /// A device of another module, whose driver is bound or being bound.
    InService,
    /// A device of another module, whose driver was unbound. The module may be unloaded at any
    /// time.
    OutOfService,
}

/// All devices that were initialised and not released, in that order.
#[derive(Default)]
struct Devices(Vec<Rc<Core>>);

impl Devices {
    fn find(&self, dev: *const device) -> Option<Rc<Core>> {
        self.0
            .iter()
            .find(|core| core.dev.cast_const() == dev)
            .cloned()
    }
}

/// The device at that address. Whoever asks must have made sure that it lives.
pub(crate) fn core(dev: *const device, what: &str) -> Rc<Core> {
    let found = sched::part(|devices: &mut Devices| devices.find(dev));
    match found {
        Some(core) => core,
        None => sched::violation(format!("{what}: the device was released before")),
    }
}

/// All devices.
pub(crate) fn all() -> Vec<Rc<Core>> {
    sched::part(|devices: &mut Devices| devices.0.clone())
}

/// The names of all devices that the driver made, registered or not.
pub fn own_devices() -> Vec<String> {
    let own = all()
        .into_iter()
        .filter(|core| core.foreign.get() == Foreign::Own);
    own.map(|core| core.name()).collect()
}

/// The name of the device lock of a dax device.
pub(crate) const DAX_LOCK: &str = "device_lock(dax)";

impl Core {
    pub(crate) fn name(&self) -> String {
        self.name.borrow().to_string_lossy().into_owned()
    }

    /// The kind of the device, as locks have it: the name without numbers.
    pub(crate) fn kind(&self) -> String {
        let name = self.name();
        let kind: String = name
            .chars()
            .take_while(|c| c.is_ascii_alphabetic())
            .collect();
        kind
    }

    fn class(&self) -> String {
        format!("device_lock({})", self.kind())
    }

    /// `device_lock()`.
    pub(crate) fn lock(&self) {
        if sched::inert() {
            return;
        }
        lockdep::ordered(&self.class());
        sched::wait_until(|| format!("device_lock({})", self.name()), &|| {
            !self.locked.get()
        });
        self.locked.set(true);
        lockdep::acquired(&self.class(), self.dev as usize);
        if self.class() == DAX_LOCK {
            sched::wake_up();
        }
    }

    /// `device_unlock()`.
    pub(crate) fn unlock(&self) {
        if sched::inert() {
            return;
        }
        self.locked.set(false);
        lockdep::released(&self.class(), self.dev as usize);
        sched::trace(|| format!("device_unlock({})", self.name()));
    }

    pub(crate) fn driver(&self) -> *mut device_driver {
        // SAFETY: The device is initialised and not released.
        unsafe { (*self.dev).driver }
    }

    /// `device_set_driver()`.
    pub(crate) fn set_driver(&self, driver: *mut device_driver) {
        // SAFETY: As above.
        unsafe { (*self.dev).driver = driver };
    }

    /// A device of another module is used: is that right?
    pub(crate) fn used(&self, what: &str) {
        sched::require(
            self.foreign.get() != Foreign::OutOfService,
            format!(
                "{what}: {} may be gone, its driver was unbound",
                self.name()
            ),
        );
    }

    /// The driver of a device of another module comes and goes.
    pub(crate) fn set_in_service(&self, on: bool) {
        self.foreign.set(if on {
            Foreign::InService
        } else {
            Foreign::OutOfService
        });
    }

    pub(crate) fn driver_data(&self) -> *mut c_void {
        self.driver_data.get()
    }

    pub(crate) fn references(&self) -> i32 {
        self.references.get()
    }
}

/// `device_initialize()`: the caller owns the one reference.
///
/// # Safety
///
/// The contract is that of the C function. This holds for all functions here.
pub unsafe extern "C" fn device_initialize(dev: *mut device) {
    let core = Rc::new(Core {
        dev,
        name: RefCell::default(),
        references: Cell::new(1),
        locked: Cell::new(false),
        dead: Cell::new(false),
        ready: Cell::new(false),
        registered: Cell::new(false),
        added_once: Cell::new(false),
        bound: Cell::new(false),
        devres: Devres::default(),
        files: Files::default(),
        driver_data: Cell::new(core::ptr::null_mut()),
        node: Cell::new(-1),
        foreign: Cell::new(Foreign::Own),
    });
    let twice = sched::part(|devices: &mut Devices| {
        let twice = devices.find(dev);
        devices.0.push(core);
        twice
    });
    sched::require(twice.is_none(), "device_initialize(): for the second time");
}

/// `dev_set_name()`, with the format `%s`.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn dev_set_name(
    dev: *mut device,
    _format: *const c_char,
    name: *const c_char,
) -> c_int {
    let core = core(dev, "dev_set_name()");
    if sched::fails("dev_set_name()") {
        return ENOMEM.to_errno();
    }
    sched::require(
        !core.registered.get(),
        "dev_set_name(): the device is registered",
    );
    // SAFETY: By the contract.
    *core.name.borrow_mut() = unsafe { CStr::from_ptr(name.cast()) }.to_owned();
    0
}

/// `dev_set_name()`, with the format `dax%d.%d`.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn dax_glue_set_dax_name(
    dev: *mut device,
    region: c_int,
    id: c_int,
) -> c_int {
    let name = CString::new(format!("dax{region}.{id}")).expect("it has no NUL");
    // SAFETY: By the contract.
    unsafe { dev_set_name(dev, c"%s".as_ptr().cast(), name.as_ptr().cast()) }
}

/// `dev_set_name()`, with the format `mapping%zu`.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn dax_glue_set_mapping_name(dev: *mut device, index: usize) -> c_int {
    let name = CString::new(format!("mapping{index}")).expect("it has no NUL");
    // SAFETY: By the contract.
    unsafe { dev_set_name(dev, c"%s".as_ptr().cast(), name.as_ptr().cast()) }
}

/// `device_set_pm_not_required()`. The model has no power management.
///
/// # Safety
///
/// As in C.
pub unsafe extern "C" fn dax_glue_set_pm_not_required(dev: *mut device) {
    core(dev, "device_set_pm_not_required()");
}

/// `dev_name()`.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn dev_name(dev: *const device) -> *const c_char {
    let core = core(dev, "dev_name()");
    let name = core.name.borrow().as_ptr().cast();
    name
}

/// `get_device()`.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn get_device(dev: *mut device) -> *mut device {
    if !sched::inert() {
        let core = core(dev, "get_device()");
        core.used("get_device()");
        core.references.set(core.references.get() + 1);
    }
    dev
}

/// `put_device()`: the last one releases the device.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn put_device(dev: *mut device) {
    if sched::inert() || dev.is_null() {
        return;
    }
    let core = core(dev, "put_device()");
    core.used("put_device()");
    let left = core.references.get() - 1;
    core.references.set(left);
    if left > 0 {
        return;
    }
    sched::require(left == 0, "put_device(): one reference too few");
    sched::require(
        !core.registered.get(),
        "put_device(): the device is still registered",
    );
    sched::trace(|| format!("release {}", core.name()));
    // device_release()
    core.devres.release_all();
    // SAFETY: The device is initialised; its type is set before that is possible.
    let release = unsafe { (*dev).type_.as_ref() }.and_then(|kind| kind.release);
    sched::part(|devices: &mut Devices| devices.0.retain(|core| core.dev != dev));
    match release {
        // SAFETY: By the contract of the type.
        Some(release) => unsafe { release(dev) },
        None => sched::violation("put_device(): the device has no release function"),
    }
}

/// `kobject_put()` of a device or a cdev.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn kobject_put(kobj: *mut kobject) {
    if sched::inert() || kobj.is_null() {
        return;
    }
    if is_cdev(kobj) {
        // SAFETY: By the contract.
        unsafe { put_cdev(kobj.cast()) };
    } else {
        // SAFETY: A device begins with its kobject.
        unsafe { put_device(kobj.cast()) };
    }
}

/// `device_add()`. Each of its steps may fail; from the first on that others see,
/// they come.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn device_add(dev: *mut device) -> c_int {
    // SAFETY: By the contract; the core holds a reference meanwhile.
    unsafe { get_device(dev) };
    // SAFETY: As above.
    let result = unsafe { add(dev) };
    // SAFETY: As above.
    unsafe { put_device(dev) };
    result
}

unsafe fn add(dev: *mut device) -> c_int {
    let this = core(dev, "device_add()");
    sched::require(
        !this.added_once.replace(true),
        "device_add(): for the second time",
    );
    if this.name().is_empty() {
        return EINVAL.to_errno();
    }
    if sched::fails("device_private_init()") {
        return ENOMEM.to_errno();
    }
    // SAFETY: The device is initialised.
    let parent = unsafe { (*dev).parent };
    if !parent.is_null() {
        core(parent, "device_add(): the parent").used("device_add(): the parent");
        // SAFETY: By the contract.
        unsafe { get_device(parent) };
    }
    // Visible steps, in order; a failure undoes those that are done.
    let result = (|| {
        if sched::fails("kobject_add()") {
            return Err((0, ENOMEM));
        }
        let same = all().into_iter().find(|other| {
            // SAFETY: The device is initialised and not released.
            let same_parent = unsafe { (*other.dev).parent == parent };
            other.registered.get() && same_parent && other.name() == this.name()
        });
        if same.is_some() {
            // sysfs complains of a duplicate filename.
            sched::violation(format!("device_add(): a second {}", this.name()));
            #[allow(unreachable_code)]
            return Err((0, EEXIST));
        }
        sched::point(|| format!("device_add({}): its files appear", this.name()));
        this.registered.set(true);
        if sched::fails("device_create_file(uevent)") {
            return Err((1, ENOMEM));
        }
        // SAFETY: The type is static.
        let groups = unsafe { (*dev).type_.as_ref() }.map(|kind| kind.groups);
        if let Some(groups) = groups {
            // SAFETY: As above.
            unsafe { this.files.create(&this, groups) }.map_err(|e| (1, e))?;
        }
        // SAFETY: The device is initialised.
        let bus = unsafe { (*dev).bus };
        if !bus.is_null() {
            sched::point(|| format!("device_add({}): on the bus", this.name()));
            add_to_bus(bus, dev).map_err(|e| (2, e))?;
        }
        if sched::fails("dpm_sysfs_add()") {
            return Err((3, ENOMEM));
        }
        // SAFETY: As above.
        if unsafe { (*dev).devt } != 0 {
            if sched::fails("device_create_file(dev)") {
                return Err((3, ENOMEM));
            }
            if sched::fails("device_create_sys_dev_entry()") {
                return Err((3, ENOMEM));
            }
            create_node(dev);
        }
        Ok(bus)
    })();
    match result {
        Ok(bus) => {
            if !bus.is_null() {
                // SAFETY: The bus is static.
                unsafe { uevent(dev, bus) };
                this.lock();
                this.ready.set(true);
                this.unlock();
                // SAFETY: As above.
                unsafe { probe_new(dev, bus) };
            }
            0
        }
        Err((done, error)) => {
            sched::trace(|| format!("device_add({}) fails", this.name()));
            if done >= 3 {
                this.set_driver(core::ptr::null_mut());
                // SAFETY: The device was added.
                unsafe { remove_from_bus(dev) };
            }
            this.files.remove_all();
            no_children(&this);
            this.registered.set(false);
            if !parent.is_null() {
                // SAFETY: The reference of above.
                unsafe { put_device(parent) };
            }
            error.to_errno()
        }
    }
}

/// `kobject_del()`: what is in the device's folder would hang in the air.
fn no_children(this: &Core) {
    let children = children(this.dev);
    let names: Vec<&str> = children.iter().map(|(name, _)| name.as_str()).collect();
    sched::require(
        names.is_empty(),
        format!("{} goes and still has children: {names:?}", this.name()),
    );
}

/// `device_del()`.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn device_del(dev: *mut device) {
    if sched::inert() {
        return;
    }
    let this = core(dev, "device_del()");
    sched::require(
        this.registered.get(),
        "device_del(): the device is not registered",
    );
    // SAFETY: The device is initialised.
    let (parent, bus) = unsafe { ((*dev).parent, (*dev).bus) };
    if bus.is_null() {
        // Nobody but the owner takes the lock of such a device.
        this.dead.set(true);
    } else {
        this.lock();
        this.dead.set(true);
        this.unlock();
    }
    sched::point(|| format!("device_del({}): its files go", this.name()));
    delete_node(dev);
    this.files.remove_all();
    if !bus.is_null() {
        // SAFETY: The device was added.
        unsafe { remove_from_bus(dev) };
    }
    this.devres.release_all();
    no_children(&this);
    this.registered.set(false);
    sched::trace(|| format!("device_del({}) is done", this.name()));
    if !parent.is_null() {
        // SAFETY: The reference of device_add().
        unsafe { put_device(parent) };
    }
}

/// `dev_get_drvdata()`.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn dev_get_drvdata(dev: *const device) -> *mut c_void {
    core(dev, "dev_get_drvdata()").driver_data.get()
}

/// `dev_set_drvdata()`.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn dev_set_drvdata(dev: *mut device, data: *mut c_void) {
    if !sched::inert() {
        core(dev, "dev_set_drvdata()").driver_data.set(data);
    }
}

/// `dev_to_node()`.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn dax_glue_dev_to_node(dev: *const device) -> c_int {
    core(dev, "dev_to_node()").node.get()
}

/// `set_dev_node()`.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn dax_glue_copy_node(dev: *mut device, from: *const device) {
    let node = core(from, "dev_to_node()").node.get();
    core(dev, "set_dev_node()").node.set(node);
}

/// The children of a device, in the order in which they came: name and device.
pub fn children(parent: *mut device) -> Vec<(String, *mut device)> {
    let of = |core: &Rc<Core>| {
        // SAFETY: The device is initialised and not released.
        core.registered.get() && unsafe { (*core.dev).parent } == parent
    };
    all()
        .iter()
        .filter(|core| of(core))
        .map(|core| (core.name(), core.dev))
        .collect()
}
