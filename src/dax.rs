// SPDX-License-Identifier: GPL-2.0

//! Device DAX: the dax bus and the `device_dax` driver.
//!
//! Differentiated memory (HBM, CXL, soft-reserved, persistent) is carved into `/dev/daxX.Y`
//! devices. This crate replaces drivers/dax/bus.c and device.c.
//!
//! # Floors
//!
//! There are three floors. Each one uses only the floors below it. One exception:
//! `driver/params.rs` reads the parameters, which `module!` puts into this file.
//!
//! - `driver/` acts: regions, devices, attributes, the `device_dax` driver. Safe code.
//! - `sys/` calls C: one C object a file.
//! - `ranges/` decides: which addresses a device gets, and where each of its pages is. Pure
//!   code, which uses only those items of the kernel crate that `prelude.rs` names, and is
//!   also tested on the host.
//!
//! `exports.rs` has the functions that C calls. glue.c exports their symbols, and has C
//! functions around macros and inlines, which Rust cannot call. Only `sys/` and `exports.rs`
//! contain `unsafe`.
//!
//! | C | here |
//! |---|---|
//! | `struct dax_region`, its attributes | `driver/region.rs`, `driver/attrs.rs` |
//! | region resource tree | `ranges/allocator.rs` |
//! | `struct dev_dax`, resize, mapping, align | `driver/device.rs`, `driver/attrs.rs`; `driver/zero.rs`: zeroing of memory that gets a new owner |
//! | `struct dev_dax_range[]`, `dax_pgoff_to_phys()` | `ranges/layout.rs` |
//! | `struct dax_mapping` | `driver/mapping.rs` |
//! | `dax_bus_type`, new_id | `driver/bus.rs`, `sys/ids.rs` |
//! | `dev_dax_probe()` | `driver/probe.rs`; `driver/drain.rs`: struct pages that are pinned |
//! | `dax_fops`, `dax_vm_ops` | `driver/file.rs`, `driver/fault.rs`, `ranges/neighbours.rs` |
//! | `range_parse()` | `ranges/parse.rs` |
//!
//! # Locks
//!
//! Outermost first. Device locks and active references belong to the driver core and to
//! sysfs. No handler takes the lock of the device whose attribute it is. The `create` and
//! `delete` of a region take the locks of its devices, and `new_id` of a driver those of
//! the devices that it binds.
//!
//! | lock | taken by | held across |
//! |---|---|---|
//! | device lock of a region's parent | driver core: probe and remove of the parent's driver | everything below |
//! | sysfs active reference of a region's or a driver's attribute | a show or store handler | everything below |
//! | device lock of a device | driver core: probe, remove, `device_del()` | everything below |
//! | sysfs active reference of a device's attribute | a show or store handler | everything below |
//! | ranges lock, [`driver::device::DevDax::lock_ranges`], per device | writers of its ranges; a probe, briefly | registering its own mappings |
//! | page map, [`driver::drain::Drain`], per binding | unbinding; the work item that looks for pinned pages | the SRCU grace period of `kill_dax()`, unmapping, the first 31 ms of looking, freeing struct pages |
//! | region lock, [`driver::region::Region::lock`], per region | everyone, briefly | allocations; a look at `/proc/iomem` |
//! | ids of drivers, [`sys::ids`]; poisoned pages, [`sys::hwpoison`]; binding of a device | match, new_id; zeroing, memory failure, memory hotplug; open | allocations; nothing else |
//!
//! Attributes of mappings take no lock. A task that unregisters a device holds none of
//! these locks but the first two. A task that unregisters a mapping may also hold the
//! ranges lock of the device.

#![recursion_limit = "2048"]

use kernel::prelude::*;

mod driver;
mod exports;
mod prelude;
mod ranges;
mod sys;

use crate::{
    driver::{
        bus::{
            DaxBus,
            BUS, //
        },
        probe::DRIVER, //
    },
    sys::{
        bus::DriverRegistration,
        hwpoison::MemoryNotifier,
        module::Users, //
    }, //
};

module! {
    type: DaxModule,
    name: "device_dax",
    authors: ["Device DAX in Rust contributors"],
    description: "Device DAX: direct access device driver",
    license: "GPL v2",
    alias: ["dax:t0*"],
    params: {
        fault_around_bytes: u64 {
            default: 4096,
            description: "What a page fault maps of a device with the alignment of a page, in bytes: a power of two, at most what one page table maps, which is 2 MiB with pages of 4 KiB; a page or less for the page alone",
        },
        zero_on_alloc: u8 {
            default: 0,
            description: "Initial zero_on_alloc of each dynamic region: 1 to zero memory before a device gains it",
        },
    },
}

/// The module. Fields are dropped in order: unloading unregisters the notifier, the driver,
/// then the bus, and then waits until nobody can call the module any more.
struct DaxModule {
    _memory: MemoryNotifier,
    _driver: DriverRegistration<DaxBus>,
    _users: Users,
}

impl kernel::Module for DaxModule {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let users = Users::new();
        // If built in, the bus was registered when the kernel booted.
        let bus = cfg!(MODULE).then(|| BUS.register()).transpose()?;
        let driver = BUS.register_own(bus, &DRIVER, c"device_dax")?;
        Ok(Self {
            _memory: MemoryNotifier::register()?,
            _driver: driver,
            _users: users,
        })
    }
}
