// SPDX-License-Identifier: GPL-2.0

//! A machine with the driver: one region of eight pages of 2 MiB, kmem, and users with open files
//! and pinned pages.

use std::ffi::CStr;
use std::sync::Mutex;

use kernel::bindings::{self, Area, OpenFile, Parent, Pin};
use kernel::error::code::ENOMEM;
use kernel::error::{from_err_ptr, Result};
use kernel::sched;

use crate::driver::bus::{DaxBus, BUS};
use crate::driver::probe::DRIVER;
use crate::exports;
use crate::sys::bus::DriverRegistration;
use crate::sys::hwpoison::MemoryNotifier;
use crate::sys::module::Users;

/// The address of the memory.
pub const BASE: u64 = 4 << 30;
/// The granule of devices.
pub const GRANULE: u64 = 2 << 20;
/// Number of them in the region.
pub const GRANULES: u64 = 8;
/// The order of such pages.
pub const ORDER: u32 = 9;

/// The page that users touch, and its order. With fault-around the page has neighbours on both sides.
pub fn touched_page() -> (usize, u32) {
    match bindings::is_fault_around() {
        true => (1, 0),
        false => (0, ORDER),
    }
}

/// The bytes that users map. With fault-around the neighbours of a page end at the mapping's ends.
pub fn mapped_bytes() -> usize {
    match bindings::is_fault_around() {
        true => 4 << 12,
        false => GRANULE as usize,
    }
}

/// The values that `src/dax.rs` makes when the module is loaded. Fields are dropped in order.
struct Module {
    _memory: MemoryNotifier,
    _driver: DriverRegistration<DaxBus>,
    _users: Users,
}

impl Module {
    fn load() -> Result<Self> {
        let users = Users::new();
        let bus = BUS.register()?;
        let driver = BUS.register_own(Some(bus), &DRIVER, c"device_dax")?;
        Ok(Self {
            _memory: MemoryNotifier::register()?,
            _driver: driver,
            _users: users,
        })
    }
}

/// Which region a machine has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A region as hmem makes it: users create the devices.
    Dynamic,
    /// A region as pmem makes it: one device over all of it, with the owner's page map.
    Static,
}

/// The machine.
pub struct Machine {
    kind: Kind,
    module: Mutex<Option<Module>>,
    kmem: Mutex<bool>,
    parent: Parent,
    /// Files that users have open.
    pub files: Mutex<Vec<OpenFile>>,
    /// Mappings that users have.
    pub areas: Mutex<Vec<Area>>,
    /// Pages that users have pinned.
    pub pins: Mutex<Vec<Pin>>,
}

/// Unwraps the result of a step that may only fail if a test makes it fail.
pub fn must<T>(result: Result<T>) -> T {
    match result {
        Ok(value) => value,
        Err(e) => sched::violation(format!("preparing the machine: {e:?}")),
    }
}

impl Machine {
    /// Loads the modules, fsdev too, and makes the region with its first device, dax0.0, which is
    /// empty in a dynamic one.
    pub fn start(kind: Kind) -> Self {
        let this = Self {
            kind,
            module: Mutex::new(Some(must(Module::load()))),
            kmem: Mutex::new(true),
            parent: Parent::new("hmem.0"),
            files: Mutex::default(),
            areas: Mutex::default(),
            pins: Mutex::default(),
        };
        bindings::link(exports::kill_dev_dax);
        must(register_kmem());
        must(register(bindings::fsdev_driver(), c"fsdev_dax"));
        must(this.bind_region());
        this
    }

    /// The device that most operations are about.
    pub fn device(&self) -> &'static str {
        match self.kind {
            Kind::Dynamic => "dax0.1",
            Kind::Static => "dax0.0",
        }
    }

    /// Whether the region is static.
    pub fn is_static(&self) -> bool {
        self.kind == Kind::Static
    }

    /// Binds the region's parent: what hmem's probe does with `region_idle`, or that of
    /// pmem.
    ///
    /// # Errors
    ///
    /// The errno of the bind.
    pub fn bind_region(&self) -> Result {
        self.parent.bind(|dev| {
            let size = GRANULES * GRANULE;
            let range = || bindings::range {
                start: BASE,
                end: BASE + size - 1,
            };
            let flags = match self.kind {
                Kind::Dynamic => 0,
                Kind::Static => bindings::IORESOURCE_DAX_STATIC,
            };
            let align = GRANULE as u32;
            // SAFETY: The parent is being probed.
            let region =
                unsafe { exports::alloc_dax_region(dev, 0, &mut range(), -1, align, flags) };
            if region.is_null() {
                return Err(ENOMEM);
            }
            let mut pgmap = bindings::dev_pagemap {
                type_: 0,
                flags: 0,
                vmemmap_shift: 0,
                ops: core::ptr::null(),
                owner: core::ptr::null_mut(),
                nr_range: 1,
                __bindgen_anon_1: bindings::dev_pagemap_ranges {
                    range: core::mem::ManuallyDrop::new(range()),
                },
            };
            let mut data = match self.kind {
                Kind::Dynamic => bindings::dev_dax_data {
                    dax_region: region,
                    pgmap: core::ptr::null_mut(),
                    size: 0,
                    id: -1,
                    memmap_on_memory: false,
                },
                Kind::Static => bindings::dev_dax_data {
                    dax_region: region,
                    pgmap: &raw mut pgmap,
                    size,
                    id: 0,
                    memmap_on_memory: false,
                },
            };
            // SAFETY: As above.
            from_err_ptr(unsafe { exports::devm_create_dev_dax(&raw mut data) })?;
            Ok(())
        })
    }

    /// Unbinds the region's parent.
    pub fn unbind_region(&self) {
        self.parent.unbind();
    }

    /// Writes to a file of the region.
    ///
    /// # Errors
    ///
    /// The errno that the writer gets.
    pub fn write_region(&self, name: &str, text: &str) -> Result {
        self.parent.write(&format!("dax_region/{name}"), text)
    }

    /// Reads a file of the region.
    ///
    /// # Errors
    ///
    /// The errno that the reader gets.
    pub fn read_region(&self, name: &str) -> Result<String> {
        self.parent.read(&format!("dax_region/{name}"))
    }

    /// Closes all files. Those that are mapped stay open.
    pub fn close(&self) {
        let files = std::mem::take(&mut *self.files.lock().expect("no task panics"));
        drop(files);
    }

    /// Unmaps everything.
    pub fn unmap(&self) {
        let areas = std::mem::take(&mut *self.areas.lock().expect("no task panics"));
        drop(areas);
    }

    /// Lets go of all pins.
    pub fn unpin(&self) {
        let pins = std::mem::take(&mut *self.pins.lock().expect("no task panics"));
        drop(pins);
    }

    /// Unloads kmem.
    pub fn unload_kmem(&self) {
        let loaded = std::mem::take(&mut *self.kmem.lock().expect("no task panics"));
        if loaded {
            // SAFETY: It is registered, and here that ends.
            unsafe { exports::dax_driver_unregister(bindings::kmem_driver()) };
        }
    }

    /// While a device drains, code of the module will be called: it cannot be unloaded.
    fn module_stays_while_a_device_drains(&self) {
        let drains = kernel::workqueue::pending() > 0;
        sched::require(
            !drains || bindings::module_references() > 0,
            "a device drains, and the module can be unloaded",
        );
    }

    /// A driver that is gone and comes back knows no ids.
    fn ids_went_with_the_driver(&self) {
        self.unload_kmem();
        must(register_kmem());
        for name in bindings::devices_on_bus() {
            sched::require(
                bindings::driver_of(&name).as_deref() != Some("kmem"),
                format!("kmem takes {name} by an id of a driver that is gone"),
            );
        }
        *self.kmem.lock().expect("no task panics") = true;
        self.unload_kmem();
    }

    /// Ends everything, in an order that the kernel allows: nothing may be left.
    pub fn stop(self) {
        bindings::keep_memory_online(false);
        self.module_stays_while_a_device_drains();
        self.unpin();
        self.ids_went_with_the_driver();
        bindings::take_memory_offline();
        self.unbind_region();
        self.parent.unload();
        // Whose device and region are gone by now, but not the module.
        self.close();
        self.unmap();
        // SAFETY: It is registered, and here that ends.
        unsafe { exports::dax_driver_unregister(bindings::fsdev_driver()) };
        sched::wait_until(|| "the end of what drains".to_owned(), &|| {
            kernel::workqueue::pending() == 0 && kernel::workqueue::running() == 0
        });
        sched::require(
            bindings::try_stop_module(),
            format!(
                "{} references of the module are left",
                bindings::module_references()
            ),
        );
        let module = self.module.lock().expect("no task panics").take();
        drop(module);
        bindings::module_is_gone();
        nothing_is_left();
    }
}

fn register(driver: *mut bindings::dax_device_driver, name: &'static CStr) -> Result {
    // SAFETY: The driver lives as long as the execution.
    let result = unsafe {
        exports::__dax_driver_register(driver, core::ptr::null_mut(), name.as_ptr().cast())
    };
    kernel::error::to_result(result)
}

fn register_kmem() -> Result {
    register(bindings::kmem_driver(), c"kmem")
}

/// The module is gone: so is all that it made.
fn nothing_is_left() {
    let left = |what: &str, count: usize| {
        sched::require(count == 0, format!("{count} {what} are left"));
    };
    let devices = bindings::own_devices();
    sched::require(devices.is_empty(), format!("devices are left: {devices:?}"));
    left("dax devices", bindings::dax_devices());
    left("page maps", bindings::page_maps());
    left("ranges in /proc/iomem", bindings::iomem().len());
    left("ranges of System RAM", bindings::system_ram().len());
    left("notifiers of memory hotplug", bindings::memory_notifiers());
    left("work items", kernel::workqueue::running());
    let memory = kernel::alloc::live();
    sched::require(memory == 0, format!("{memory} allocations are left"));
    let expedited = bindings::expedited();
    sched::require(
        expedited == 0,
        format!("RCU is expedited {expedited} times too often"),
    );
}

/// An error that nobody asked for.
pub fn unexpected(what: &str, e: kernel::error::Error) -> ! {
    sched::violation(format!("{what}: {e:?}"))
}
