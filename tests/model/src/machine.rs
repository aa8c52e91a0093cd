// SPDX-License-Identifier: GPL-2.0

//! A machine with the driver: one region of eight pages of 2 MiB, kmem, and users who
//! have files open and pages pinned.

use std::sync::Mutex;

use kernel::bindings::{self, OpenFile, Parent, Pin};
use kernel::error::code::ENOMEM;
use kernel::error::{from_err_ptr, Result};
use kernel::sched;

use crate::abi;
use crate::chardev;
use crate::sys::module::Users;

/// Where the memory is.
pub const BASE: u64 = 4 << 30;
/// What is given to devices.
pub const GRANULE: u64 = 2 << 20;
/// How many of them the region has.
pub const GRANULES: u64 = 8;
/// The order of such pages.
pub const ORDER: u32 = 9;

/// What `src/dax.rs` makes when the module is loaded. Fields are dropped in order.
struct Module {
    _driver: abi::DriverRegistration,
    _bus: abi::BusRegistration,
    _users: Users,
}

impl Module {
    fn load() -> Result<Self> {
        let users = Users::new();
        let bus = abi::BusRegistration::new()?;
        Ok(Self {
            _driver: abi::DriverRegistration::new(&chardev::DRIVER)?,
            _bus: bus,
            _users: users,
        })
    }
}

/// The machine.
pub struct Machine {
    module: Mutex<Option<Module>>,
    kmem: Mutex<bool>,
    parent: Parent,
    /// Files that users have open.
    pub files: Mutex<Vec<OpenFile>>,
    /// Pages that users have pinned.
    pub pins: Mutex<Vec<Pin>>,
}

/// What must not fail where nothing is made to fail.
pub fn must<T>(result: Result<T>) -> T {
    match result {
        Ok(value) => value,
        Err(e) => sched::violation(format!("preparing the machine: {e:?}")),
    }
}

impl Machine {
    /// Loads the modules, and makes the region with its first device, dax0.0, which is
    /// empty.
    pub fn start() -> Self {
        let this = Self {
            module: Mutex::new(Some(must(Module::load()))),
            kmem: Mutex::new(true),
            parent: Parent::new("hmem.0"),
            files: Mutex::default(),
            pins: Mutex::default(),
        };
        must(register_kmem());
        must(this.bind_region());
        this
    }

    /// Binds the region's parent: what hmem's probe does with `region_idle`.
    ///
    /// # Errors
    ///
    /// What that fails with.
    pub fn bind_region(&self) -> Result {
        self.parent.bind(|dev| {
            let mut range = bindings::range {
                start: BASE,
                end: BASE + GRANULES * GRANULE - 1,
            };
            // SAFETY: The parent is being probed.
            let region = unsafe {
                abi::alloc_dax_region(dev, 0, &raw mut range, -1, GRANULE as u32, 0)
            };
            if region.is_null() {
                return Err(ENOMEM);
            }
            let mut data = bindings::dev_dax_data {
                dax_region: region,
                pgmap: core::ptr::null_mut(),
                size: 0,
                id: -1,
                memmap_on_memory: false,
            };
            // SAFETY: As above.
            from_err_ptr(unsafe { abi::devm_create_dev_dax(&raw mut data) })?;
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
    /// What the writer gets.
    pub fn write_region(&self, name: &str, text: &str) -> Result {
        self.parent.write(&format!("dax_region/{name}"), text)
    }

    /// Reads a file of the region.
    ///
    /// # Errors
    ///
    /// What the reader gets.
    pub fn read_region(&self, name: &str) -> Result<String> {
        self.parent.read(&format!("dax_region/{name}"))
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
            unsafe { abi::dax_driver_unregister(bindings::kmem_driver()) };
        }
    }

    /// Ends everything, in an order that the kernel allows: nothing may be left.
    pub fn stop(self) {
        bindings::keep_memory_online(false);
        self.unpin();
        bindings::take_memory_offline();
        self.unbind_region();
        self.parent.unload();
        // Whose device and region are gone by now, but not the module.
        let files = std::mem::take(&mut *self.files.lock().expect("no task panics"));
        drop(files);
        self.unload_kmem();
        bindings::take_memory_offline();
        sched::wait_until(
            || "the end of what drains".to_owned(),
            &|| kernel::workqueue::pending() == 0 && kernel::workqueue::running() == 0,
        );
        sched::require(
            bindings::try_stop_module(),
            format!("{} references of the module are left", bindings::module_references()),
        );
        let module = self.module.lock().expect("no task panics").take();
        drop(module);
        bindings::module_is_gone();
        nothing_is_left();
    }
}

fn register_kmem() -> Result {
    // SAFETY: The driver lives as long as the execution.
    let result = unsafe {
        abi::__dax_driver_register(
            bindings::kmem_driver(),
            core::ptr::null_mut(),
            c"kmem".as_ptr().cast(),
        )
    };
    kernel::error::to_result(result)
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
    left("work items", kernel::workqueue::running());
    let memory = kernel::alloc::live();
    sched::require(memory == 0, format!("{memory} allocations are left"));
    let expedited = bindings::expedited();
    sched::require(expedited == 0, format!("RCU is expedited {expedited} times too often"));
}

/// An error that nobody asked for.
pub fn unexpected(what: &str, e: kernel::error::Error) -> ! {
    sched::violation(format!("{what}: {e:?}"))
}

