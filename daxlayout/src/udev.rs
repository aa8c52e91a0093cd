// SPDX-License-Identifier: GPL-2.0
//! `udev`: prints the variables that a udev rule imports.

use crate::device::Device;
use crate::error::{Error, Result};
use crate::iomem::Iomem;
use crate::output;
use crate::sysfs::{self, Sysfs};

/// Prints the first address of a device; prints nothing if the device has no memory.
pub fn print(sysfs: &Sysfs, name: &str) -> Result<()> {
    let link = sysfs.path("bus/dax/devices").join(name);
    if !link.exists() {
        return Err(Error::NotFound(format!("no device {name}")));
    }
    let device = Device::read(sysfs, &sysfs::resolved(&link)?, &Iomem::default())?;
    match device.mappings.first() {
        Some(first) => output::lines(&[format!("DAX_ADDRESS={:#x}", first.span.start)]),
        None => Ok(()),
    }
}
