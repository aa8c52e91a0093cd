// SPDX-License-Identifier: GPL-2.0
//! Runs the real cxl, which makes regions of CXL memory.

use crate::device::{Device, Driver};
use crate::json;
use crate::kernel;
use crate::region::Region;
use crate::sysfs::{self, Error, Result};
use crate::units::Span;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The directory of everything that cxl knows.
pub const DEVICES: &str = "/sys/bus/cxl/devices";
/// The window of the host's address space, of which regions are made.
const WINDOW: &str = "decoder0.0";

/// Runs cxl, which must succeed; its standard output.
pub fn run(args: &[&str]) -> Result<String> {
    kernel::run("cxl", args)
}

/// Everything that cxl knows with a name that begins so.
pub fn names(prefix: &str) -> Result<Vec<String>> {
    let mut names = sysfs::names(DEVICES.as_ref())?;
    names.retain(|name| name.starts_with(prefix));
    Ok(names)
}

/// The directory of an object that cxl knows.
pub fn dir(name: &str) -> PathBuf {
    Path::new(DEVICES).join(name)
}

/// The memory devices that are ready for use, by serial number: their names depend on which the
/// kernel found first. Waits until there are so many.
pub fn memories(count: usize) -> Result<Vec<String>> {
    kernel::eventually(&format!("{count} CXL memories that are ready"), || {
        // The endpoint comes last.
        if !Path::new(DEVICES).exists() || names("endpoint")?.len() < count {
            return Ok(None);
        }
        let mut listed = json::of("cxl", &["list", "-M"])?;
        listed.sort_by_key(|memory| memory["serial"].as_u64());
        let names: Vec<String> = listed
            .iter()
            .map(|memory| json::text(memory, "memdev"))
            .collect::<Result<_>>()?;
        Ok((names.len() == count).then_some(names))
    })
}

/// A region of CXL memory.
#[derive(Clone, Debug)]
pub struct CxlRegion {
    /// `region0`.
    name: String,
    /// The report of cxl when it made the region.
    pub listed: Value,
}

impl CxlRegion {
    /// Makes a region over all of these memories, interleaved.
    pub fn create(memories: &[String]) -> Result<CxlRegion> {
        let ways = memories.len().to_string();
        let fixed = [
            "create-region",
            "-t",
            "ram",
            "-m",
            "-d",
            WINDOW,
            "-w",
            &ways,
        ];
        let memories = memories.iter().map(String::as_str);
        let args: Vec<&str> = fixed.into_iter().chain(memories).collect();
        let listed = json::one("cxl", &args)?;
        let name = json::text(&listed, "region")?;
        Ok(CxlRegion { name, listed })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its number, which the dax region shares.
    pub fn id(&self) -> &str {
        self.name.trim_start_matches("region")
    }

    /// The addresses of the region's memory.
    pub fn span(&self) -> Result<Span> {
        let number = |attr: &str| sysfs::read_number(&dir(&self.name).join(attr));
        Ok(Span::at(number("resource")?, number("size")?))
    }

    /// The directory of its dax region.
    pub fn dax_dir(&self) -> PathBuf {
        dir(&format!("dax_{}", self.name))
    }

    /// Its dax region, once the device that takes all of it is there, bound to kmem.
    pub fn dax_region(&self) -> Result<Region> {
        let first = Device::named(format!("dax{}.0", self.id()));
        let what = format!("{}, bound to a driver, and its mapping", first.name());
        // The mapping comes last, and of its files this one.
        let last = first.attr("mapping0/page_offset");
        let driver = kernel::eventually(&what, || Ok(first.driver().filter(|_| last.exists())))?;
        if driver != Driver::Kmem.name() {
            return Err(Error::state(format!("{}: driver {driver}", first.name())));
        }
        Region::behind(format!("dax_{}", self.name), &self.dax_dir())
    }

    /// Disables the region and its devices.
    pub fn disable(&self) -> Result<()> {
        run(&["disable-region", &self.name]).map(drop)
    }

    /// Enables the region again.
    pub fn enable(&self) -> Result<()> {
        run(&["enable-region", &self.name]).map(drop)
    }

    /// Destroys the region, whether it is in use or not.
    pub fn destroy(&self) -> Result<()> {
        run(&["destroy-region", "-f", &self.name]).map(drop)
    }
}

/// Destroys all regions, even if their devices are in use, and enables every memory.
pub fn tear_down() -> Result<()> {
    for device in Device::all() {
        device.forget()?;
        device.disable()?;
    }
    if !Path::new(DEVICES).exists() {
        return Ok(());
    }
    for name in names("region")? {
        // cxl cannot destroy one whose memory is gone.
        let _ = run(&["destroy-region", "-f", &name]);
        if dir(&name).exists() {
            sysfs::write(&dir(WINDOW).join("delete_region"), &name)?;
        }
    }
    if !names("mem")?.is_empty() {
        run(&["enable-memdev", "all"])?;
    }
    match Device::all()[..] {
        [] => Ok(()),
        ref left => Err(Error::state(format!("still there: {left:?}"))),
    }
}
