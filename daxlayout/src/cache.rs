// SPDX-License-Identifier: GPL-2.0
//! Memory-side caches, as sysfs shows them.

use std::path::Path;

use serde::Serialize;

use crate::device::Device;
use crate::error::Result;
use crate::sysfs::{self, Sysfs};

/// The rule by which a cache finds the place of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Each address has one place: the remainder of the address by the cache's size.
    DirectMapped,
    /// Flat memory mode: half of the region is near memory. Two addresses at a distance of the
    /// cache's size share one place.
    ExtendedLinear,
    /// An address can be in several places, so there are no colours.
    Other,
}

/// A cache in front of a region's memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cache {
    pub kind: Kind,
    /// In bytes.
    pub size: u64,
    /// In bytes, if sysfs shows it.
    pub line_size: Option<u64>,
    /// The NUMA node whose memory is cached; none for the cache of a CXL region.
    pub node: Option<u64>,
}

impl Cache {
    /// Whether each address has one place in the cache, so that memory has colours.
    pub fn is_direct_mapped(&self) -> bool {
        self.kind != Kind::Other
    }

    /// A direct-mapped cache of `size` bytes that the user gave, not sysfs.
    pub fn given(size: u64) -> Self {
        Self {
            kind: Kind::DirectMapped,
            size,
            line_size: None,
            node: None,
        }
    }
}

/// The caches in front of a region: that of its CXL region, and those of its devices' NUMA nodes.
pub fn find(sysfs: &Sysfs, region: &Path, devices: &[Device]) -> Result<Vec<Cache>> {
    let mut caches = Vec::new();
    for parent in region.ancestors().take_while(|&p| p != sysfs.root) {
        let size = sysfs::number_if_there(&parent.join("extended_linear_cache_size"))?;
        if let Some(size) = size.filter(|&size| size > 0) {
            caches.push(Cache {
                kind: Kind::ExtendedLinear,
                size,
                line_size: None,
                node: None,
            });
            break;
        }
    }
    let mut nodes: Vec<u64> = devices.iter().filter_map(|d| d.target_node).collect();
    nodes.sort_unstable();
    nodes.dedup();
    for node in nodes {
        let dir = sysfs.path(&format!("devices/system/node/node{node}/memory_side_cache"));
        for name in sysfs::names(&dir)? {
            if name.starts_with("index") {
                caches.extend(of_node(&dir.join(name), node)?);
            }
        }
    }
    Ok(caches)
}

/// Reads the cache in `dir`; none if its size is 0.
fn of_node(dir: &Path, node: u64) -> Result<Option<Cache>> {
    let size = sysfs::number(&dir.join("size"))?;
    let indexing = sysfs::number(&dir.join("indexing"))?;
    let mode = sysfs::number_if_there(&dir.join("address_mode"))?;
    let kind = match (indexing, mode) {
        // Direct-mapped, and the cache's memory has addresses of its own.
        (0, Some(1)) => Kind::ExtendedLinear,
        (0, _) => Kind::DirectMapped,
        _ => Kind::Other,
    };
    let line_size = sysfs::number_if_there(&dir.join("line_size"))?;
    Ok((size > 0).then_some(Cache {
        kind,
        size,
        line_size,
        node: Some(node),
    }))
}
