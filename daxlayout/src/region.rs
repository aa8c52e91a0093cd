// SPDX-License-Identifier: GPL-2.0
//! The regions of the machine, as sysfs shows them.

use std::path::PathBuf;

use serde::Serialize;

use crate::cache::{self, Cache};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::iomem::Iomem;
use crate::span::{self, total, Span, MIB};
use crate::sysfs::{self, Sysfs};

/// The least alignment of struct pages on x86-64, in bytes.
const MIN_GRANULE: u64 = 2 * MIB;

/// A region, and its devices by number.
#[derive(Clone, Debug, Serialize)]
pub struct Region {
    /// R of daxR.N.
    pub id: u64,
    /// The directory of its parent, which holds `dax_region/` and the devices.
    pub path: PathBuf,
    pub size: u64,
    pub align: u64,
    /// Its first address, if it is known.
    pub start: Option<u64>,
    /// Free bytes; none for a static region, which cannot be divided.
    pub available: Option<u64>,
    /// Caches in front of its memory.
    pub caches: Vec<Cache>,
    pub devices: Vec<Device>,
}

impl Region {
    /// All regions, by number.
    pub fn all(sysfs: &Sysfs) -> Result<Vec<Self>> {
        let iomem = Iomem::read(sysfs)?;
        let bus = sysfs.path("bus/dax/devices");
        let mut parents = Vec::new();
        for name in sysfs::names(&bus)? {
            let dir = sysfs::resolved(&bus.join(name))?;
            let parent = dir.parent().unwrap_or(&dir).to_owned();
            if !parents.contains(&parent) {
                parents.push(parent);
            }
        }
        let mut regions = Vec::new();
        for parent in parents {
            regions.push(Self::read(sysfs, parent, &iomem)?);
        }
        regions.sort_by_key(|region| region.id);
        Ok(regions)
    }

    /// The region of that number, or the only one.
    pub fn one(sysfs: &Sysfs, id: Option<u64>) -> Result<Self> {
        let mut regions = Self::all(sysfs)?;
        if let Some(id) = id {
            regions.retain(|region| region.id == id);
        } else {
            regions.retain(Self::is_dynamic);
        }
        match (regions.pop(), regions.is_empty(), id) {
            (Some(region), true, _) if region.is_dynamic() => Ok(region),
            (Some(region), true, _) => Err(Error::DoesNotFit(format!(
                "region {}: static, so nothing can be carved out of it",
                region.id
            ))),
            (Some(_), false, _) => Err(Error::Usage(
                "there are several regions: choose one with -r".into(),
            )),
            (None, _, Some(id)) => Err(Error::NotFound(format!("no region {id}"))),
            (None, _, None) => Err(Error::NotFound(
                "no region that can be divided: is dax_hmem or another driver loaded?".into(),
            )),
        }
    }

    fn read(sysfs: &Sysfs, path: PathBuf, iomem: &Iomem) -> Result<Self> {
        let attr = |name: &str| path.join("dax_region").join(name);
        let id = sysfs::number(&attr("id"))?;
        let size = sysfs::number(&attr("size"))?;
        let available = match attr("create").exists() {
            true => sysfs::number_if_there(&attr("available_size"))?,
            false => None,
        };
        let prefix = format!("dax{id}.");
        let mut devices = Vec::new();
        for name in sysfs::names(&path)? {
            if name.starts_with(&prefix) {
                devices.push(Device::read(sysfs, &path.join(name), iomem)?);
            }
        }
        devices.sort_by_key(|device| device.id);
        let mut region = Self {
            id,
            size,
            align: sysfs::number(&attr("align"))?,
            start: None,
            available,
            caches: cache::find(sysfs, &path, &devices)?,
            devices,
            path,
        };
        region.start = region.find_start(sysfs, iomem)?;
        Ok(region)
    }

    /// Finds the first address of the region, which no attribute of its own shows.
    fn find_start(&self, sysfs: &Sysfs, iomem: &Iomem) -> Result<Option<u64>> {
        // A device without memory shows the start of its region.
        if let Some(empty) = self.devices.iter().find(|device| device.size == 0) {
            return Ok(empty.resource);
        }
        let taken = self.taken();
        let first = taken.iter().map(|span| span.start).min();
        if total(&taken) == self.size {
            return Ok(first);
        }
        let parents = self.path.ancestors().take_while(|&p| p != sysfs.root);
        for parent in parents {
            let size = sysfs::read_if_there(&parent.join("size"))?;
            if size.and_then(|text| sysfs::parse_number(&text)) == Some(self.size) {
                return sysfs::number_if_there(&parent.join("resource"));
            }
        }
        let around = |span: &Span| taken.iter().all(|&taken| span.contains(taken));
        let spans = iomem.spans_of_size(self.size);
        Ok(spans.into_iter().find(around).map(|span| span.start))
    }

    /// One of the region's attributes.
    pub fn attr(&self, name: &str) -> PathBuf {
        self.path.join("dax_region").join(name)
    }

    /// The directory of one of its devices.
    pub fn device_dir(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Whether devices can be created in it.
    pub fn is_dynamic(&self) -> bool {
        self.available.is_some()
    }

    /// Its addresses, if its start is known.
    pub fn span(&self) -> Option<Span> {
        Span::checked_at(self.start?, self.size)
    }

    /// Its addresses, or an error that says how to find out its start.
    pub fn known_span(&self) -> Result<Span> {
        self.span().ok_or_else(|| {
            Error::NotFound(format!(
                "region {}: its start address is unknown; \
                 `echo 1 > {}` makes an empty device, which shows it",
                self.id,
                self.attr("create").display()
            ))
        })
    }

    /// All ranges of its devices.
    pub fn taken(&self) -> Vec<Span> {
        self.devices.iter().flat_map(Device::spans).collect()
    }

    /// The holes, in address order; none if the start of the region is unknown.
    pub fn holes(&self) -> Vec<Span> {
        self.span()
            .map_or_else(Vec::new, |all| span::holes(all, &self.taken()))
    }

    /// The device of that name.
    pub fn device(&self, name: &str) -> Option<&Device> {
        self.devices.iter().find(|device| device.name == name)
    }

    /// The number of bytes after which cache colours repeat: the size of the
    /// largest direct-mapped cache.
    pub fn period(&self) -> Option<u64> {
        let direct = self.caches.iter().filter(|cache| cache.is_direct_mapped());
        direct.map(|cache| cache.size).max()
    }

    /// The region as it would be with one more device.
    pub fn with(&self, device: Device) -> Self {
        let mut region = self.clone();
        region.available = region
            .available
            .map(|free| free.saturating_sub(device.size));
        region.devices.push(device);
        region
    }
}

/// The granule of a device of that alignment, in bytes.
pub fn granule_of(align: u64) -> u64 {
    align.max(MIN_GRANULE)
}

/// X and Y of a device name daxX.Y.
pub fn numbers_of(name: &str) -> Option<(u64, u64)> {
    let (region, id) = name.strip_prefix("dax")?.split_once('.')?;
    Some((region.parse().ok()?, id.parse().ok()?))
}
