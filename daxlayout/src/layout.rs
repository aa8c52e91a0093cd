// SPDX-License-Identifier: GPL-2.0
//! The file that holds a saved layout, and `save`.

use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::cli::SaveArgs;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::memory::Memory;
use crate::output;
use crate::region::Region;
use crate::span::Span;
use crate::sysfs::{self, Sysfs};

/// The version of the file format that this program writes and reads.
const VERSION: u32 = 1;

/// The content of the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layout {
    version: u32,
    pub regions: Vec<SavedRegion>,
}

/// A region. Its memory identifies it: its number may change from boot to boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedRegion {
    pub start: u64,
    pub size: u64,
    pub devices: Vec<SavedDevice>,
}

/// A device that has memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedDevice {
    pub name: String,
    pub align: u64,
    /// In the order of page offsets.
    pub ranges: Vec<Span>,
    pub driver: Option<String>,
    pub memory: Option<Memory>,
    pub memmap_on_memory: Option<bool>,
}

impl SavedRegion {
    fn of(region: &Region) -> Result<Self> {
        let span = region.known_span()?;
        let devices = region.devices.iter().filter(|device| device.size > 0);
        Ok(Self {
            start: span.start,
            size: region.size,
            devices: devices.map(SavedDevice::of).collect(),
        })
    }

    /// The addresses of the region.
    pub fn span(&self) -> Result<Span> {
        Span::checked_at(self.start, self.size)
            .ok_or_else(|| Error::DoesNotFit("a saved region has no bytes, or too many".to_owned()))
    }
}

impl SavedDevice {
    fn of(device: &Device) -> Self {
        Self {
            name: device.name.clone(),
            align: device.align,
            ranges: device.spans(),
            driver: device.driver.clone(),
            memory: device.memory,
            memmap_on_memory: device.memmap_on_memory,
        }
    }
}

/// `save`
pub fn save(sysfs: &Sysfs, args: &SaveArgs) -> Result<()> {
    let mut regions = match args.region {
        Some(id) => vec![Region::one(sysfs, Some(id))?],
        None => Region::all(sysfs)?,
    };
    regions.retain(Region::is_dynamic);
    if regions.is_empty() {
        return Err(Error::NotFound("no region that can be divided".to_owned()));
    }
    let layout = Layout {
        version: VERSION,
        regions: regions.iter().map(SavedRegion::of).collect::<Result<_>>()?,
    };
    let text = output::json_text(&layout)?;
    match &args.file {
        Some(path) => output::replace(path, text.as_bytes()),
        None => output::print(&text),
    }
}

/// Reads a saved layout, from standard input if there is no file.
pub fn read(path: Option<&Path>) -> Result<Layout> {
    let (what, text) = match path {
        Some(path) => (path.display().to_string(), sysfs::read(path)?),
        None => {
            let what = "standard input".to_owned();
            let mut text = String::new();
            std::io::stdin()
                .read_to_string(&mut text)
                .map_err(|source| Error::Read {
                    path: what.clone().into(),
                    source,
                })?;
            (what, text)
        }
    };
    let layout: Layout = serde_json::from_str(&text).map_err(|source| Error::Json {
        what: what.clone(),
        source,
    })?;
    if layout.version != VERSION {
        let version = layout.version;
        return Err(Error::DoesNotFit(format!(
            "{what}: format version {version}; this program reads version {VERSION}"
        )));
    }
    Ok(layout)
}
