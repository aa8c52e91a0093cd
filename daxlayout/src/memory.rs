// SPDX-License-Identifier: GPL-2.0
//! The memory blocks of a device that is system RAM.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::device::Mapping;
use crate::error::{Error, Result};
use crate::span::Span;
use crate::sysfs::{self, Sysfs};

/// The state of all blocks of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Memory {
    Offline,
    OnlineMovable,
    OnlineKernel,
    /// Not all blocks have the same state.
    Mixed,
}

impl Memory {
    /// The word that a block's `state` takes; none for `Mixed`.
    pub fn word(self) -> Option<&'static str> {
        match self {
            Self::Offline => Some("offline"),
            Self::OnlineMovable => Some("online_movable"),
            Self::OnlineKernel => Some("online_kernel"),
            Self::Mixed => None,
        }
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Offline => "offline",
            Self::OnlineMovable => "online, movable",
            Self::OnlineKernel => "online",
            Self::Mixed => "partly online",
        })
    }
}

/// The directories of the memory blocks that exist and are all inside a span.
fn blocks(sysfs: &Sysfs, span: Span) -> Result<Vec<PathBuf>> {
    let dir = sysfs.path("devices/system/memory");
    let size_file = dir.join("block_size_bytes");
    let text = sysfs::read(&size_file)?;
    let size = u64::from_str_radix(&text, 16).unwrap_or_default();
    if size == 0 {
        return Err(Error::Parse {
            path: size_file,
            text,
        });
    }
    let numbers = span.start.div_ceil(size)..span.end.saturating_add(1) / size;
    let blocks = numbers.map(|number| dir.join(format!("memory{number}")));
    Ok(blocks.filter(|block| block.exists()).collect())
}

/// The state of a device's memory.
pub fn state(sysfs: &Sysfs, mappings: &[Mapping]) -> Result<Memory> {
    let mut all = None;
    for mapping in mappings {
        for block in blocks(sysfs, mapping.span)? {
            let offline = sysfs::read(&block.join("state"))? == "offline";
            let zones = sysfs::read_if_there(&block.join("valid_zones"))?.unwrap_or_default();
            let state = match (offline, zones.starts_with("Movable")) {
                (true, _) => Memory::Offline,
                (false, true) => Memory::OnlineMovable,
                (false, false) => Memory::OnlineKernel,
            };
            if all.is_some_and(|before| before != state) {
                return Ok(Memory::Mixed);
            }
            all = Some(state);
        }
    }
    Ok(all.unwrap_or(Memory::Offline))
}

/// Brings all blocks of a device into a state. An online block goes offline first, because no block
/// can go from one kind of online to the other.
pub fn set(sysfs: &Sysfs, mappings: &[Mapping], wanted: Memory) -> Result<()> {
    let Some(word) = wanted.word() else {
        return Ok(());
    };
    for mapping in mappings {
        for block in blocks(sysfs, mapping.span)? {
            let state = block.join("state");
            let online = sysfs::read(&state)? != "offline";
            if online {
                sysfs::write(&state, "offline")?;
            }
            if wanted != Memory::Offline {
                sysfs::write(&state, word)?;
            }
        }
    }
    Ok(())
}
