// SPDX-License-Identifier: GPL-2.0
//! One dax device, as sysfs shows it.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::{Error, Result};
use crate::iomem::Iomem;
use crate::memory::{self, Memory};
use crate::region::numbers_of;
use crate::span::{page, Span};
use crate::sysfs::{self, Sysfs};

/// The driver that makes a device system RAM.
pub const KMEM: &str = "kmem";

/// A range of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Mapping {
    #[serde(flatten)]
    pub span: Span,
    /// The page of the device at which it begins.
    pub page_offset: u64,
}

/// A device, as sysfs shows it or as it is planned.
#[derive(Clone, Debug, Serialize)]
pub struct Device {
    pub name: String,
    /// N of daxR.N.
    pub id: u64,
    pub size: u64,
    pub align: u64,
    /// Its first address; the region's first address if it has no memory. Only root may read it.
    pub resource: Option<u64>,
    /// In the order of page offsets.
    pub mappings: Vec<Mapping>,
    pub driver: Option<String>,
    /// Whether its memory is still in use although no driver is bound.
    pub draining: bool,
    /// The NUMA node of its memory.
    pub target_node: Option<u64>,
    /// The state of its memory blocks, if it is bound to kmem.
    pub memory: Option<Memory>,
    pub memmap_on_memory: Option<bool>,
}

impl Device {
    pub fn read(sysfs: &Sysfs, dir: &Path, iomem: &Iomem) -> Result<Self> {
        let name = dir.file_name().unwrap_or_default();
        let name = name.to_string_lossy().into_owned();
        let Some((_, id)) = numbers_of(&name) else {
            return Err(Error::Parse {
                path: dir.to_owned(),
                text: name,
            });
        };
        let driver = sysfs::link_name(&dir.join("driver"));
        let mappings = mappings(dir)?;
        let node = sysfs::read_if_there(&dir.join("target_node"))?;
        let on_memory = sysfs::read_if_there(&dir.join("memmap_on_memory"))?;
        let memory = match driver.as_deref() {
            Some(KMEM) => Some(memory::state(sysfs, &mappings)?),
            _ => None,
        };
        Ok(Self {
            id,
            size: sysfs::number(&dir.join("size"))?,
            align: sysfs::number(&dir.join("align"))?,
            resource: sysfs::number(&dir.join("resource")).ok(),
            draining: driver.is_none() && iomem.has(&name),
            // -1 is no node.
            target_node: node.and_then(|text| text.parse().ok()),
            memmap_on_memory: on_memory.map(|text| text != "0"),
            mappings,
            driver,
            memory,
            name,
        })
    }

    /// A device that does not exist yet.
    pub fn planned(region: u64, id: u64, align: u64, spans: &[Span]) -> Self {
        let mappings = in_order(spans);
        Self {
            name: format!("dax{region}.{id}"),
            id,
            size: spans.iter().map(|span| span.len()).sum(),
            align,
            resource: spans.first().map(|span| span.start),
            mappings,
            driver: None,
            draining: false,
            target_node: None,
            memory: None,
            memmap_on_memory: None,
        }
    }

    /// Its memory, in the order of page offsets.
    pub fn spans(&self) -> Vec<Span> {
        self.mappings.iter().map(|mapping| mapping.span).collect()
    }

    /// Its driver and the state of its memory, in words.
    pub fn state(&self) -> String {
        let state = match (&self.driver, self.draining) {
            (Some(driver), _) => driver.as_str(),
            (None, true) => "draining",
            (None, false) => "no driver",
        };
        match &self.memory {
            Some(memory) => format!("{state} {memory}"),
            None => state.to_owned(),
        }
    }
}

/// The mappings of a device that has these ranges in this order.
pub fn in_order(spans: &[Span]) -> Vec<Mapping> {
    let mut page_offset = 0;
    let mut mappings = Vec::new();
    for &span in spans {
        mappings.push(Mapping { span, page_offset });
        page_offset += span.len() / page();
    }
    mappings
}

fn mappings(dir: &Path) -> Result<Vec<Mapping>> {
    let mut mappings = Vec::new();
    for name in sysfs::names(dir)? {
        let number = name.strip_prefix("mapping");
        if number.is_none_or(|number| number.parse::<u64>().is_err()) {
            continue;
        }
        let at: PathBuf = dir.join(name);
        mappings.push(Mapping {
            span: Span {
                start: sysfs::number(&at.join("start"))?,
                end: sysfs::number(&at.join("end"))?,
            },
            page_offset: sysfs::number(&at.join("page_offset"))?,
        });
    }
    mappings.sort_by_key(|mapping| mapping.page_offset);
    Ok(mappings)
}
