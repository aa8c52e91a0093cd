// SPDX-License-Identifier: GPL-2.0
//! Hotplugged memory blocks.

use crate::kernel;
use crate::ktap::{skip, Failure};
use crate::sysfs::{self, Error, Result};
use crate::units::Span;
use std::path::{Path, PathBuf};

/// The directory of memory blocks.
const MEMORY: &str = "/sys/devices/system/memory";
/// The directory of NUMA nodes.
const NODES: &str = "/sys/devices/system/node";
/// The kernel's policy for new blocks.
const POLICY: &str = "/sys/devices/system/memory/auto_online_blocks";

/// The size of a memory block in bytes.
pub fn block_size() -> Result<u64> {
    let text = sysfs::read(&Path::new(MEMORY).join("block_size_bytes"))?;
    u64::from_str_radix(&text, 16)
        .map_err(|_| Error::state(format!("block_size_bytes: {text:?} is not hexadecimal")))
}

/// The memory blocks that exist within a span.
pub fn blocks(span: Span) -> Result<Vec<PathBuf>> {
    let size = block_size()?;
    Ok((span.start / size..=span.end / size)
        .map(|block| Path::new(MEMORY).join(format!("memory{block}")))
        .filter(|path| path.exists())
        .collect())
}

/// Offlines every block within a span.
pub fn offline(span: Span) -> Result<()> {
    for block in blocks(span)? {
        let state = block.join("state");
        if sysfs::read(&state)? != "offline" {
            sysfs::write(&state, "offline")?;
        }
    }
    Ok(())
}

/// Onlines every block within a span, as `online`, `online_kernel` or `online_movable`.
pub fn online(span: Span, how: &str) -> Result<()> {
    for block in blocks(span)? {
        sysfs::write(&block.join("state"), how)?;
    }
    Ok(())
}

/// The states of the blocks within a span.
pub fn states(span: Span) -> Result<Vec<String>> {
    let blocks = blocks(span)?;
    blocks
        .iter()
        .map(|block| sysfs::read(&block.join("state")))
        .collect()
}

/// Chooses what becomes of blocks when they appear: `offline`, or as [`online`].
pub fn set_policy(how: &str) -> Result<()> {
    sysfs::write(Path::new(POLICY), how)
}

/// Skips on a kernel that unbinds kmem at once: memory that has come online until then stays
/// online, and the second bind fails.
pub fn require_blocks_to_come_online() -> std::result::Result<(), Failure> {
    if kernel::unbinds_at_once() {
        return skip("this kernel unbinds kmem while its memory is online");
    }
    Ok(())
}

/// Runs `work` while blocks come online as movable when they appear. Sets the former policy again,
/// whether `work` succeeds or not.
pub fn with_online_movable<T>(work: impl FnOnce() -> T) -> std::result::Result<T, Failure> {
    require_blocks_to_come_online()?;
    let policy = sysfs::read(Path::new(POLICY))?;
    set_policy("online_movable")?;
    let done = work();
    set_policy(&policy)?;
    Ok(done)
}

/// The directory of a NUMA node.
pub fn node(number: u64) -> PathBuf {
    Path::new(NODES).join(format!("node{number}"))
}

/// The bytes that a node has as ordinary memory; 0 if it is not online.
pub fn of_node(number: u64) -> Result<u64> {
    let dir = node(number);
    if !dir.exists() {
        return Ok(0);
    }
    let text = sysfs::read_raw(&dir.join("meminfo"))?;
    let kib = text
        .lines()
        .find_map(|line| line.split_once("MemTotal:")?.1.trim().strip_suffix(" kB"))
        .and_then(|kib| kib.trim().parse::<u64>().ok());
    let missing = || Error::state(format!("{}/meminfo: no MemTotal in {text}", dir.display()));
    kib.map(|kib| kib << 10).ok_or_else(missing)
}
