// SPDX-License-Identifier: GPL-2.0
//! One dax device, as sysfs shows it.

use crate::errno::Errno;
use crate::kernel;
use crate::memory;
use crate::sysfs::{self, Error, Result};
use crate::units::{Range, Span};
use std::fmt;
use std::path::PathBuf;

/// The directory of all dax devices.
pub const DEVICES: &str = "/sys/bus/dax/devices";
/// The directory of all drivers on the dax bus.
pub const DRIVERS: &str = "/sys/bus/dax/drivers";

/// A driver on the dax bus.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Driver {
    /// The character device.
    DeviceDax,
    /// Hotplug as System RAM.
    Kmem,
    /// The character device for file systems.
    FsdevDax,
}

impl Driver {
    /// All drivers.
    pub const ALL: [Driver; 3] = [Driver::DeviceDax, Driver::Kmem, Driver::FsdevDax];

    /// The name of the driver, which is also that of its module.
    pub fn name(self) -> &'static str {
        match self {
            Driver::DeviceDax => "device_dax",
            Driver::Kmem => "kmem",
            Driver::FsdevDax => "fsdev_dax",
        }
    }

    /// One of the driver's own attributes: `bind`, `unbind`, `new_id`, `remove_id`.
    pub fn attr(self, name: &str) -> PathBuf {
        PathBuf::from(DRIVERS).join(self.name()).join(name)
    }

    /// Whether the driver is registered.
    pub fn registered(self) -> bool {
        self.attr("bind").exists()
    }

    /// Whether the driver is registered, and the kernel survives when it is bound.
    pub fn present(self) -> bool {
        self.registered() && !(self == Driver::FsdevDax && kernel::releases_late())
    }

    /// Writes one of the driver's attributes.
    pub fn try_write(self, attr: &str, text: &str) -> std::result::Result<usize, Errno> {
        sysfs::try_write(&self.attr(attr), text.as_bytes())
    }
}

/// A dax device, by name. It need not exist (any more).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Device {
    name: String,
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Device {
    /// The device of that name.
    pub fn named(name: impl Into<String>) -> Device {
        Device { name: name.into() }
    }

    /// All dax devices, by region and number.
    pub fn all() -> Vec<Device> {
        let mut devices: Vec<Device> = sysfs::names(DEVICES.as_ref())
            .unwrap_or_default()
            .into_iter()
            .map(Device::named)
            .collect();
        devices.sort_by_key(|d| d.number());
        devices
    }

    /// Its name, `daxR.N`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The two numbers in its name.
    fn number(&self) -> Option<(u32, u32)> {
        let (region, id) = self.name.strip_prefix("dax")?.split_once('.')?;
        Some((region.parse().ok()?, id.parse().ok()?))
    }

    /// Whether this is the device that a region always keeps.
    pub fn is_first(&self) -> bool {
        self.number().is_some_and(|(_, id)| id == 0)
    }

    /// One of its attributes.
    pub fn attr(&self, name: &str) -> PathBuf {
        PathBuf::from(DEVICES).join(&self.name).join(name)
    }

    /// Its directory.
    pub fn dir(&self) -> PathBuf {
        PathBuf::from(DEVICES).join(&self.name)
    }

    /// Its node.
    pub fn node(&self) -> PathBuf {
        PathBuf::from("/dev").join(&self.name)
    }

    /// Whether the device exists on the bus.
    pub fn exists(&self) -> bool {
        self.dir().exists()
    }

    /// Writes an attribute; the driver's count or error.
    pub fn try_write(&self, attr: &str, text: &str) -> std::result::Result<usize, Errno> {
        sysfs::try_write(&self.attr(attr), text.as_bytes())
    }

    /// `size` in bytes.
    pub fn size(&self) -> Result<u64> {
        sysfs::read_number(&self.attr("size"))
    }

    /// Resizes.
    pub fn set_size(&self, bytes: u64) -> Result<()> {
        sysfs::write(&self.attr("size"), &bytes.to_string())
    }

    /// `align` in bytes.
    pub fn align(&self) -> Result<u64> {
        sysfs::read_number(&self.attr("align"))
    }

    /// Changes the alignment.
    pub fn set_align(&self, bytes: u64) -> Result<()> {
        sysfs::write(&self.attr("align"), &bytes.to_string())
    }

    /// `resource`: the first address of the first range.
    pub fn resource(&self) -> Result<u64> {
        sysfs::read_number(&self.attr("resource"))
    }

    /// Appends a range.
    pub fn add_mapping(&self, span: Span) -> Result<()> {
        sysfs::write(&self.attr("mapping"), &mapping_text(span))
    }

    /// The mappings 0, 1, 2, ... up to the first that is missing, as libdaxctl reads them.
    pub fn ranges(&self) -> Result<Vec<Range>> {
        let mut ranges = Vec::new();
        loop {
            let dir = self.attr(&format!("mapping{}", ranges.len()));
            if !dir.exists() {
                return Ok(ranges);
            }
            ranges.push(Range {
                span: Span {
                    start: sysfs::read_number(&dir.join("start"))?,
                    end: sysfs::read_number(&dir.join("end"))?,
                },
                page_offset: sysfs::read_number(&dir.join("page_offset"))?,
            });
        }
    }

    /// The spans of its mappings.
    pub fn spans(&self) -> Result<Vec<Span>> {
        Ok(self.ranges()?.iter().map(|r| r.span).collect())
    }

    /// The driver that it is bound to.
    pub fn driver(&self) -> Option<String> {
        sysfs::link_name(&self.attr("driver"))
    }

    /// Binds to a driver that matches by type or already knows the device.
    pub fn bind(&self, driver: Driver) -> Result<()> {
        sysfs::write(&driver.attr("bind"), &self.name)
    }

    /// Tells a driver about the device, which makes the driver bind it. Fails if the driver did
    /// not.
    pub fn bind_by_id(&self, driver: Driver) -> Result<()> {
        sysfs::write(&driver.attr("new_id"), &self.name)?;
        if self.driver().is_none() {
            self.bind(driver)?;
        }
        match self.driver() {
            Some(bound) if bound == driver.name() => Ok(()),
            other => Err(Error::state(format!(
                "{}: wanted driver {}, found {other:?}",
                self.name,
                driver.name()
            ))),
        }
    }

    /// Unbinds the device from its driver, if it has one.
    pub fn unbind(&self) -> Result<()> {
        match self.driver() {
            Some(_) => sysfs::write(&self.attr("driver/unbind"), &self.name),
            None => Ok(()),
        }
    }

    /// Makes every driver forget that it was told about the device.
    pub fn forget(&self) -> Result<()> {
        for driver in Driver::ALL.into_iter().filter(|d| d.present()) {
            sysfs::write(&driver.attr("remove_id"), &self.name)?;
        }
        Ok(())
    }

    /// Major and minor number, as `dev` prints them: `254:3`.
    pub fn dev(&self) -> Result<String> {
        sysfs::read(&self.attr("dev"))
    }

    /// Takes the device out of use.
    pub fn disable(&self) -> Result<()> {
        if self.driver().as_deref() == Some(Driver::Kmem.name()) {
            for span in self.spans()? {
                memory::offline(span)?;
            }
        }
        self.unbind()
    }

    /// Takes the device out of use and gives its memory back.
    pub fn release(&self) -> Result<()> {
        self.disable()?;
        if self.size()? != 0 {
            self.set_size(0)?;
        }
        Ok(())
    }
}

/// A span in the form in which `mapping` takes it.
pub fn mapping_text(span: Span) -> String {
    format!("{:#x}-{:#x}", span.start, span.end)
}

/// Text for `mapping` that adds several ranges at once.
pub fn mappings_text(spans: &[Span], separator: &str) -> String {
    let texts: Vec<String> = spans.iter().map(|span| mapping_text(*span)).collect();
    texts.join(separator)
}
