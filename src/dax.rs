// SPDX-License-Identifier: GPL-2.0

//! Device DAX: the dax bus and the `device_dax` driver.
//!
//! Differentiated memory (HBM, CXL, soft-reserved, persistent) is carved into
//! `/dev/daxX.Y` devices. This crate replaces drivers/dax/bus.c and device.c.
//!
//! # Where things are
//!
//! | C | here |
//! |---|---|
//! | `struct dax_region`, its attributes | `region.rs`, `attrs.rs` |
//! | region resource tree | `space.rs`: what is free, and plans to change that |
//! | `struct dev_dax`, resize, mapping, align | `device.rs`, `attrs.rs` |
//! | `struct dev_dax_range[]`, `dax_pgoff_to_phys()` | `layout.rs` |
//! | `struct dax_mapping` | `mapping.rs` |
//! | `dax_bus_type`, new_id | `bus.rs` |
//! | `dev_dax_probe()` | `chardev.rs`, `drain.rs`: struct pages that are pinned |
//! | `dax_fops`, `dax_vm_ops` | `fault.rs`, `around.rs` |
//! | kstrtoull(), `range_parse()` | `parse.rs` |
//! | exported symbols | `abi.rs`, `glue.c` |
//!
//! `range.rs`, `layout.rs`, `space.rs`, `parse.rs` and `around.rs` are pure: they
//! use nothing of the kernel but what `prelude.rs` names, and are tested on the
//! host.
//! `unsafe` is in `sys/` and `abi.rs` only.
//!
//! # Locks
//!
//! Outermost first. The first two are not ours, but they order like locks.
//!
//! | lock | taken by | held across |
//! |---|---|---|
//! | device lock of a device | driver core: probe, remove | everything below |
//! | sysfs active reference | a show or store handler | everything below |
//! | edit lock, [`device::DevDax::edit`], per device | writers of its ranges; a probe, briefly | registering its own mappings |
//! | page map, [`drain::Drain`], per binding | unbinding; the work item that looks at pages | taking struct pages away |
//! | region lock, [`region::Region::lock`], per region | everyone, briefly | allocations; nothing else |
//! | ids of drivers, [`abi::IDS`]; binding of a device | match, new_id; open | nothing |
//!
//! Attributes of mappings take no lock. Whoever unregisters a device holds none
//! of ours, unless the device is a mapping: then the edit lock.

#![recursion_limit = "2048"]

use core::borrow::Borrow;
use kernel::prelude::*;

mod abi;
mod around;
mod attrs;
mod bus;
mod chardev;
mod device;
mod drain;
mod fault;
mod layout;
mod mapping;
mod parse;
mod prelude;
mod range;
mod region;
mod space;
mod sys;

use crate::sys::module::Users;

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
            description: "What a page fault maps of a device with 4 KiB alignment, in bytes: a power of two, at most 2 MiB; a page or less for the page alone",
        },
    },
}

/// What a fault maps of a device with pages of the machine's size, in bytes.
fn fault_around_bytes() -> u64 {
    // Linux 7.2 has a reference here, 7.3 the value: both can be borrowed as one.
    fn copy(value: impl Borrow<u64>) -> u64 {
        *value.borrow()
    }
    copy(module_parameters::fault_around_bytes.value())
}

/// The module. Fields are dropped in order: the driver goes before the bus, and the
/// bus before nobody calls the module any more.
struct DaxModule {
    _driver: abi::DriverRegistration,
    _bus: abi::BusRegistration,
    _users: Users,
}

impl kernel::Module for DaxModule {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let users = Users::new();
        let bus = abi::BusRegistration::new()?;
        Ok(Self {
            _driver: abi::DriverRegistration::new(&chardev::DRIVER)?,
            _bus: bus,
            _users: users,
        })
    }
}
