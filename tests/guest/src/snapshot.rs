// SPDX-License-Identifier: GPL-2.0
//! Everything that the driver shows of a region, so that two moments can be compared.

use crate::device::Device;
use crate::ktap::{Failure, Outcome};
use crate::region::Region;
use crate::sysfs::{self, Result};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The attributes of a region and of its devices with their mappings, the devices' drivers and
/// nodes, and the reservations in `/proc/iomem`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshot(BTreeMap<String, String>);

impl Snapshot {
    /// Reads everything.
    pub fn of(region: &Region) -> Result<Snapshot> {
        let mut state = BTreeMap::new();
        // A region that is not bound has no files. There should be no devices, so look for any.
        let devices = if region.is_bound() {
            read_dir(&mut state, "region", &region.attr("."))?;
            region.devices()?
        } else {
            Device::all()
        };
        for device in devices {
            read_device(&mut state, &device)?;
        }
        let iomem = fs::read_to_string("/proc/iomem").unwrap_or_default();
        let ours = iomem.lines().filter(|line| line.contains(" : dax"));
        state.insert("iomem".into(), ours.collect::<Vec<_>>().join("; "));
        Ok(Snapshot(state))
    }

    /// Adds a value that was read elsewhere.
    pub fn add(&mut self, what: &str, value: String) {
        self.0.insert(what.into(), value);
    }

    /// Leaves out minor numbers: one is free again only some time after its device is gone.
    pub fn forget_minors(&mut self) {
        self.0.retain(|key, _| !key.ends_with("/dev"));
        for value in self.0.values_mut().filter(|v| v.contains("MINOR=")) {
            let lines = value.lines().filter(|line| !line.starts_with("MINOR="));
            *value = lines.collect::<Vec<_>>().join("\n");
        }
    }

    /// Leaves out the seed: it depends on the order in which devices were created.
    pub fn forget_seed(&mut self) {
        self.0.remove("region/seed");
    }

    /// Leaves out the youngest device: there is none once the youngest is deleted.
    pub fn forget_youngest(&mut self) {
        self.0.remove("region/create");
    }

    /// Fails with the differences, if there are any.
    pub fn check_same(&self, later: &Snapshot) -> Outcome {
        let mut changes = String::new();
        for key in self.0.keys().chain(later.0.keys()) {
            let (before, after) = (self.0.get(key), later.0.get(key));
            let change = format!("\n  {key}: {before:?} became {after:?}");
            if before != after && !changes.contains(&change) {
                changes += &change;
            }
        }
        if changes.is_empty() {
            Ok(())
        } else {
            Err(Failure::Fail(format!("state changed:{changes}")))
        }
    }
}

/// Adds a device.
fn read_device(state: &mut BTreeMap<String, String>, device: &Device) -> Result<()> {
    let name = device.name();
    read_dir(state, name, &device.dir())?;
    state.insert(format!("{name} driver"), format!("{:?}", device.driver()));
    state.insert(format!("{name} node"), device.node().exists().to_string());
    for entry in sysfs::names(&device.dir())? {
        if entry.starts_with("mapping") && entry != "mapping" {
            read_dir(state, &format!("{name}/{entry}"), &device.attr(&entry))?;
        }
    }
    Ok(())
}

/// Adds every attribute in a directory that can be read.
fn read_dir(state: &mut BTreeMap<String, String>, label: &str, dir: &Path) -> Result<()> {
    for name in sysfs::names(dir)? {
        let path = dir.join(&name);
        if path.is_file() && sysfs::mode(&path)? & 0o444 != 0 {
            state.insert(format!("{label}/{name}"), sysfs::read_raw(&path)?);
        }
    }
    Ok(())
}
