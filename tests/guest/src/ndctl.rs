// SPDX-License-Identifier: GPL-2.0
//! Runs the real ndctl, which makes namespaces of persistent memory.

use crate::device::Device;
use crate::json;
use crate::kernel;
use crate::sysfs::{self, Error, Result};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The directory of everything that ndctl knows.
const DEVICES: &str = "/sys/bus/nd/devices";
/// The driver of regions of persistent memory.
pub const REGION_DRIVER: &str = "/sys/bus/nd/drivers/nd_region";

/// Runs ndctl, which must succeed; its standard output.
pub fn run(args: &[&str]) -> Result<String> {
    kernel::run("ndctl", args)
}

/// A namespace.
#[derive(Clone, Debug)]
pub struct Namespace {
    /// `namespaceR.N`.
    name: String,
    /// The report of ndctl about the namespace.
    pub listed: Value,
}

impl Namespace {
    /// Makes a namespace in the mode devdax.
    pub fn devdax(align: u64, args: &[&str]) -> Result<Namespace> {
        let align = align.to_string();
        Namespace::create(&[&["-m", "devdax", "-a", &align], args].concat())
    }

    /// Makes a namespace that is a block device without metadata.
    pub fn raw(args: &[&str]) -> Result<Namespace> {
        Namespace::create(&[&["-m", "raw"], args].concat())
    }

    /// `create-namespace`.
    fn create(args: &[&str]) -> Result<Namespace> {
        // Namespaces without labels always exist, and need force to be changed.
        let listed = json::one("ndctl", &[&["create-namespace", "-f"], args].concat())?;
        let name = json::text(&listed, "dev")?;
        Ok(Namespace { name, listed })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The dax device in it.
    pub fn device(&self) -> Result<Device> {
        let device = &self.listed["daxregion"]["devices"][0];
        Ok(Device::named(json::text(device, "chardev")?))
    }

    /// The block device.
    pub fn block_device(&self) -> Result<PathBuf> {
        Ok(Path::new("/dev").join(json::text(&self.listed, "blockdev")?))
    }

    /// The address at which the namespace's memory begins, its own data included.
    pub fn start(&self) -> Result<u64> {
        sysfs::read_number(&Path::new(DEVICES).join(&self.name).join("resource"))
    }

    /// Disables the namespace and its device.
    pub fn disable(&self) -> Result<()> {
        run(&["disable-namespace", &self.name]).map(drop)
    }

    /// Enables the namespace, and returns it as it is now.
    pub fn enable(&self) -> Result<Namespace> {
        run(&["enable-namespace", &self.name])?;
        Namespace::find(&self.name)
    }

    /// Destroys it. One without labels remains, with nothing in it.
    pub fn destroy(self) -> Result<()> {
        run(&["destroy-namespace", "-f", &self.name]).map(drop)
    }

    /// All that are in use.
    pub fn all() -> Result<Vec<Namespace>> {
        let listed = json::of("ndctl", &["list", "-X", "-N"])?;
        let named = |listed: Value| {
            let name = json::text(&listed, "dev")?;
            Ok(Namespace { name, listed })
        };
        listed.into_iter().map(named).collect()
    }

    /// The namespace of that name, which is in use.
    pub fn find(name: &str) -> Result<Namespace> {
        let listed = json::one("ndctl", &["list", "-X", "-N", "-n", name])?;
        let name = name.to_owned();
        Ok(Namespace { name, listed })
    }
}

/// Everything that ndctl knows with a name that begins so.
pub fn names(prefix: &str) -> Result<Vec<String>> {
    let mut names = sysfs::names(DEVICES.as_ref())?;
    names.retain(|name| name.starts_with(prefix));
    Ok(names)
}

/// The alias by which a module is asked for, of something that ndctl knows.
pub fn modalias(name: &str) -> Result<String> {
    sysfs::read(&Path::new(DEVICES).join(name).join("modalias"))
}

/// Destroys all namespaces, even if their devices are in use.
pub fn tear_down() -> Result<()> {
    for device in Device::all() {
        device.forget()?;
        device.disable()?;
    }
    if !Path::new(REGION_DRIVER).exists() {
        return Ok(());
    }
    // A test may have left regions or namespaces disabled.
    run(&["enable-region", "all"])?;
    run(&["destroy-namespace", "-f", "all"])?;
    match Device::all()[..] {
        [] => Ok(()),
        ref left => Err(Error::state(format!("still there: {left:?}"))),
    }
}
