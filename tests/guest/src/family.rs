// SPDX-License-Identifier: GPL-2.0
//! The modules of the dax family, and of the owners of its memory.

use crate::device::Driver;
use crate::kernel::{self, has_module, modprobe_remove};
use crate::ktap::{skip, Failure};
use crate::ndctl;
use crate::sysfs::{Error, Result};
use std::path::Path;

/// The bus. Open files of a device pin it.
const BUS: &str = "device_dax";

/// The modules that use the bus.
const USERS: &[&str] = &["dax_cxl", "dax_hmem", "dax_pmem", "fsdev_dax", "kmem"];

/// The modules of the memory's owners, each before the modules that it uses.
const OWNERS: &[&str] = &[
    "nd_pmem",
    "nd_e820",
    "ramdax",
    "nfit",
    "cxl_pci",
    "cxl_mem",
    "cxl_acpi",
    "cxl_pmem",
    "cxl_port",
    "cxl_core",
    "libnvdimm",
];

/// All modules, each before the modules that it uses.
fn modules() -> impl Iterator<Item = &'static str> {
    [USERS, OWNERS, &[BUS]].into_iter().flatten().copied()
}

/// Removes the bus and the modules that use it, and leaves those of the memory's owners. That is
/// faster than [`unload`] on a kernel that releases late: each module takes seconds there.
pub fn unload_bus() -> Result<()> {
    let bus = USERS.iter().chain([&BUS]);
    let mut loaded = bus.filter(|name| has_module(name));
    loaded.try_for_each(|name| kernel::run("rmmod", &[name]).map(drop))
}

/// Removes all modules that are loaded. `modprobe -r` may remove others, too.
pub fn unload() -> Result<()> {
    unload_noting(|_| ())
}

/// Removes all modules as [`unload`] does. Calls `note` with the name of each module once it is not
/// loaded.
pub fn unload_noting(mut note: impl FnMut(&str)) -> Result<()> {
    // Active regions and namespaces pin the module that made them.
    if Path::new(ndctl::REGION_DRIVER).exists() {
        ndctl::run(&["disable-region", "all"])?;
    }
    for module in modules() {
        if has_module(module) && !stays(module) {
            remove(module)?;
        }
        note(module);
    }
    match loaded()[..] {
        [] => Ok(()),
        ref left => Err(Error::state(format!("still loaded: {left:?}"))),
    }
}

/// The modules that are loaded, but for one that stays.
pub fn loaded() -> Vec<&'static str> {
    let loaded = modules().filter(|name| has_module(name) && !stays(name));
    loaded.collect()
}

/// Whether removing the module crashes the kernel: the class of libnvdimm is in the module, and a
/// kernel that releases late looks at the class seconds later.
fn stays(module: &str) -> bool {
    module == "libnvdimm" && kernel::releases_late()
}

/// Removes a module; not those that it used, if one of them must stay.
fn remove(module: &str) -> Result<()> {
    if kernel::releases_late() {
        return kernel::run("rmmod", &[module]).map(drop);
    }
    modprobe_remove(module)
}

/// Skips where modules cannot be removed, because they are in the image.
pub fn require_modules() -> std::result::Result<(), Failure> {
    if !has_module("device_dax") {
        kernel::modprobe(&["device_dax"])?;
    }
    if Path::new("/sys/module/device_dax/initstate").exists() {
        Ok(())
    } else {
        skip("device_dax is built in")
    }
}

/// Skips on a kernel that waits before it releases objects ([`kernel::releases_late`]), since
/// `what` does not work there.
pub fn require_early_release(what: &str) -> std::result::Result<(), Failure> {
    if kernel::releases_late() {
        return skip(format!("on a kernel that releases late: {what}"));
    }
    Ok(())
}

/// Skips where binding `fsdev_dax` breaks the kernel.
pub fn require_rebinding_of_fsdev() -> std::result::Result<(), Failure> {
    require_early_release("fsdev_dax initialises a cdev that is still in use")
}

/// Skips where a driver cannot come back at once.
pub fn require_drivers_to_come_back() -> std::result::Result<(), Failure> {
    require_early_release("the directory of a driver outlives the driver")
}

/// Loads `fsdev_dax` to bind it. Skips where the kernel has none, or would break.
pub fn require_fsdev() -> std::result::Result<(), Failure> {
    require_rebinding_of_fsdev()?;
    if !Driver::FsdevDax.present() && kernel::modprobe(&[Driver::FsdevDax.name()]).is_err() {
        return skip("no fsdev_dax in this kernel");
    }
    Ok(())
}
