// SPDX-License-Identifier: GPL-2.0
//! The dynamic region under test, and how to bring it back to a known state.

use crate::device::{Device, Driver};
use crate::errno::Errno;
use crate::kernel;
use crate::sysfs::{self, Error, Result};
use crate::units::{Span, UNIT};
use std::path::{Path, PathBuf};

/// The platform driver that owns the region.
const HMEM_DRIVER: &str = "/sys/bus/platform/drivers/hmem";
/// The devices that it can own.
const PLATFORM_DEVICES: &str = "/sys/bus/platform/devices";
/// The parameter of dax_hmem that says whether a region starts without a device of its full size.
const REGION_IDLE: &str = "/sys/module/dax_hmem/parameters/region_idle";
/// Device numbers for which drivers are told to forget ids in between tests.
const FORGET_IDS: u32 = 16;

/// A dynamic region: that of an `hmem.N`, or of a region of CXL memory.
#[derive(Clone, Debug)]
pub struct Region {
    /// The device that it belongs to, `hmem.0`.
    hmem: String,
    /// The parent's directory, which holds `dax_region/` and the devices.
    dir: PathBuf,
    /// R of daxR.N.
    id: u64,
    /// The physical memory that it manages.
    span: Span,
}

impl Region {
    /// Loads the modules where needed and gives an empty, freshly made region: one device
    /// without size, no ids in any driver.
    pub fn fresh() -> Result<Region> {
        load()?;
        Region::fresh_named(hmem_name()?)
    }

    /// Loads the modules where needed and gives every region of the machine, each empty and freshly
    /// made, by number.
    pub fn fresh_all() -> Result<Vec<Region>> {
        load()?;
        hmem_name()?;
        hmem_names()?.into_iter().map(Region::fresh_named).collect()
    }

    /// Binds a platform device anew, as idle.
    pub fn fresh_named(hmem: String) -> Result<Region> {
        set_idle(true)?;
        if is_bound(&hmem) {
            unbind(&hmem)?;
        }
        bind(&hmem)?;
        Region::of(hmem)
    }

    /// The region of a bound platform device whose first device has no size, or all of it.
    pub fn of(hmem: String) -> Result<Region> {
        let link = Path::new(PLATFORM_DEVICES).join(&hmem);
        Region::behind(hmem, &link)
    }

    /// The region of the device that `link` leads to. Its first device has no size, or all of it.
    pub fn behind(hmem: String, link: &Path) -> Result<Region> {
        let failed = |e| Error::new(format!("find {}", link.display()), Errno::from(e));
        let dir = link.canonicalize().map_err(failed)?;
        let size = sysfs::read_number(&dir.join("dax_region/size"))?;
        let id = sysfs::read_number(&dir.join("dax_region/id"))?;
        let first = Device::named(format!("dax{id}.0"));
        // Such a device says where its region begins.
        if ![0, size].contains(&first.size()?) {
            return Err(Error::state(format!("{}: not fresh", first.name())));
        }
        let span = Span::at(first.resource()?, size);
        Ok(Region {
            hmem,
            dir,
            id,
            span,
        })
    }

    /// R of daxR.N.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The physical memory that the region manages.
    pub fn span(&self) -> Span {
        self.span
    }

    /// The name of the platform device.
    pub fn hmem(&self) -> &str {
        &self.hmem
    }

    /// The directory of the platform device.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// One of the region's attributes.
    pub fn attr(&self, name: &str) -> PathBuf {
        self.dir.join("dax_region").join(name)
    }

    /// Writes an attribute; the driver's count or error.
    pub fn try_write(&self, attr: &str, text: &str) -> std::result::Result<usize, Errno> {
        sysfs::try_write(&self.attr(attr), text.as_bytes())
    }

    /// `len` units of memory, `first` units after the region's start.
    pub fn units(&self, first: u64, len: u64) -> Span {
        Span::at(self.span.start + first * UNIT, len * UNIT)
    }

    /// The number of units in the region.
    pub fn unit_count(&self) -> u64 {
        self.span.len() / UNIT
    }

    /// `available_size`.
    pub fn available(&self) -> Result<u64> {
        sysfs::read_number(&self.attr("available_size"))
    }

    /// `seed`; empty if there is none.
    pub fn seed(&self) -> Result<String> {
        sysfs::read(&self.attr("seed"))
    }

    /// The text that `create` reads as: the youngest device, or nothing.
    pub fn youngest(&self) -> Result<String> {
        sysfs::read(&self.attr("create"))
    }

    /// The device that is always there.
    pub fn first_device(&self) -> Result<Device> {
        let id = sysfs::read(&self.attr("id"))?;
        Ok(Device::named(format!("dax{id}.0")))
    }

    /// All devices of this region.
    pub fn devices(&self) -> Result<Vec<Device>> {
        let prefix = format!("dax{}.", sysfs::read(&self.attr("id"))?);
        Ok(Device::all()
            .into_iter()
            .filter(|d| d.name().starts_with(&prefix))
            .collect())
    }

    /// Creates a device without size.
    pub fn create(&self) -> Result<Device> {
        sysfs::write(&self.attr("create"), "1")?;
        let name = self.youngest()?;
        if name.is_empty() {
            return Err(Error::state("create succeeded and names no device"));
        }
        Ok(Device::named(name))
    }

    /// Creates a device of that size, placed by the driver.
    pub fn create_sized(&self, bytes: u64) -> Result<Device> {
        let device = self.create()?;
        device.set_size(bytes)?;
        Ok(device)
    }

    /// Creates a device over exactly these spans, in this order.
    pub fn create_over(&self, spans: &[Span]) -> Result<Device> {
        let device = self.create()?;
        for &span in spans {
            device.add_mapping(span)?;
        }
        Ok(device)
    }

    /// Creates a device of an alignment over exactly these spans, and binds it to device_dax.
    pub fn create_bound(&self, align: u64, spans: &[Span]) -> Result<Device> {
        let device = self.create()?;
        device.set_align(align)?;
        for &span in spans {
            device.add_mapping(span)?;
        }
        device.bind(Driver::DeviceDax)?;
        Ok(device)
    }

    /// Deletes a device that is idle.
    pub fn delete(&self, device: &Device) -> Result<()> {
        sysfs::write(&self.attr("delete"), device.name())
    }

    /// Takes a device out of use, gives its memory back, and deletes it.
    pub fn destroy(&self, device: &Device) -> Result<()> {
        device.release()?;
        self.delete(device)
    }

    /// Takes the region itself away, with all its devices.
    pub fn unbind(&self) -> Result<()> {
        unbind(&self.hmem)
    }

    /// Binds the region again after [`Region::unbind`].
    pub fn bind(&self) -> Result<()> {
        bind(&self.hmem)
    }

    /// `bind` or `unbind` of the driver of the platform device.
    pub fn driver_attr(name: &str) -> PathBuf {
        Path::new(HMEM_DRIVER).join(name)
    }

    /// Whether the platform device is bound.
    pub fn is_bound(&self) -> bool {
        is_bound(&self.hmem)
    }
}

/// Loads the modules where needed, and empties every region.
fn load() -> Result<()> {
    if !kernel::has_module("dax_hmem") || !Path::new(HMEM_DRIVER).exists() {
        kernel::modprobe(&["dax_hmem", "region_idle=1"])?;
    }
    for driver in [Driver::DeviceDax, Driver::Kmem] {
        if !driver.present() {
            kernel::modprobe(&[driver.name()])?;
        }
    }
    tear_down()
}

/// Chooses what a region looks like when it is bound the next time: empty, or one device of
/// full size, meant for kmem.
pub fn set_idle(idle: bool) -> Result<()> {
    sysfs::write(REGION_IDLE.as_ref(), if idle { "1" } else { "0" })
}

/// Empties every region: no device is bound, sized, or more than the first; no driver knows an
/// id; all memory is free again. Works in whatever state a test left behind.
pub fn tear_down() -> Result<()> {
    let regions = hmem_names()?.len().max(1);
    for driver in Driver::ALL.into_iter().filter(|d| d.present()) {
        for (region, id) in (0..regions).flat_map(|r| (0..FORGET_IDS).map(move |id| (r, id))) {
            sysfs::write(&driver.attr("remove_id"), &format!("dax{region}.{id}"))?;
        }
    }
    for device in Device::all() {
        release(&device)?;
        if !device.is_first() {
            let region = region_dir_of(&device)?;
            sysfs::write(&region.join("delete"), device.name())?;
        }
    }
    for device in Device::all() {
        let region = region_dir_of(&device)?;
        let size = sysfs::read_number(&region.join("size"))?;
        let free = sysfs::read_number(&region.join("available_size"))?;
        if free != size {
            return Err(Error::state(format!(
                "{}: emptied, yet only {free} of {size} bytes are available",
                region.display()
            )));
        }
    }
    Ok(())
}

/// Takes a device out of use and gives its memory back. A page that a test held and that went with
/// it may be noticed a moment later, and until then the device is busy.
fn release(device: &Device) -> Result<()> {
    kernel::eventually(
        &format!("no page of {} held", device.name()),
        || match device.release() {
            Err(error) if error.errno == Errno::EBUSY => Ok(None),
            released => released.map(Some),
        },
    )
}

/// The `dax_region/` of the region that a device belongs to.
fn region_dir_of(device: &Device) -> Result<PathBuf> {
    let dir = device
        .dir()
        .canonicalize()
        .map_err(|e| Error::new(format!("find {}", device.name()), Errno::from(e)))?;
    let parent = dir.parent().unwrap_or(Path::new("/"));
    Ok(parent.join("dax_region"))
}

/// The first hmem device; it appears a moment after its module.
fn hmem_name() -> Result<String> {
    kernel::eventually("an hmem device: boot with memmap=2G%4G+0xefffffff", || {
        Ok(hmem_names()?.into_iter().next())
    })
}

/// The hmem devices, by number; there are at most ten.
pub fn hmem_names() -> Result<Vec<String>> {
    let mut names = sysfs::names(PLATFORM_DEVICES.as_ref())?;
    names.retain(|n| n.starts_with("hmem."));
    Ok(names)
}

/// Whether a platform device is bound to hmem.
fn is_bound(hmem: &str) -> bool {
    Path::new(HMEM_DRIVER).join(hmem).exists()
}

/// Unbinds a platform device from hmem.
fn unbind(hmem: &str) -> Result<()> {
    sysfs::write(&Region::driver_attr("unbind"), hmem)
}

/// Binds a platform device to hmem.
fn bind(hmem: &str) -> Result<()> {
    sysfs::write(&Region::driver_attr("bind"), hmem)
}
