// SPDX-License-Identifier: GPL-2.0
//! The execution of an operation.

use crate::device::Device;
use crate::kernel;
use crate::mmap::{self, Map};
use crate::sysfs;
use crate::units::PAGE;
use dax_protocol::compare::Operation;
use std::path::Path;
use std::process::Command;

/// Does an operation. `seed` makes the words that are written differ between sequences.
pub fn execute(operation: &Operation, seed: u64) -> String {
    match operation {
        Operation::Write { path, text } => write(path, text),
        Operation::Touch {
            device,
            offset,
            len,
        } => match touch(device, *offset, *len, seed) {
            Ok(seen) | Err(seen) => seen,
        },
        Operation::TouchAcrossUnbind { device } => match across_unbind(device, seed) {
            Ok(seen) | Err(seen) => seen,
        },
        Operation::Run { words } => run(words),
    }
}

/// The result in words: the count, or the error number.
fn write(path: &str, text: &str) -> String {
    match sysfs::try_write(Path::new(path), text.as_bytes()) {
        Ok(count) => format!("wrote {count}"),
        Err(errno) => errno.to_string(),
    }
}

/// Opens the device and accesses it for the first time. Returns the result of each step.
fn touch(device: &str, offset: u64, len: u64, seed: u64) -> Result<String, String> {
    let device = Device::named(device);
    let file = mmap::open(&device.node()).map_err(|e| format!("open: {e}"))?;
    let map = Map::shared(&file, len, offset).map_err(|e| format!("mmap: {e}"))?;
    access(&map, 0, seed)
}

/// Writes a word and reads it. Also reports at which physical address it is, and how much of the
/// mapping became present.
fn access(map: &Map, at: u64, seed: u64) -> Result<String, String> {
    let word = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    map.store(at, word).map_err(|s| format!("store: {s:?}"))?;
    let seen = map.load(at).map_err(|s| format!("load: {s:?}"))?;
    let data = if seen == word { "same" } else { "OTHER" };
    let said = |e: sysfs::Error| e.to_string();
    let frame = map.frames(at / PAGE * PAGE, 1).map_err(said)?;
    let rss = map.smaps_kib("Rss").map_err(said)?;
    Ok(format!("data {data}, frame {frame:x?}, {rss} kB present"))
}

/// An old mapping ends with its binding; a new one works.
fn across_unbind(name: &str, seed: u64) -> Result<String, String> {
    let device = Device::named(name);
    let said = |e: sysfs::Error| e.to_string();
    let driver = device.driver().ok_or("no driver")?;
    let before = {
        let map = Map::whole(&device).map_err(said)?;
        let before = access(&map, 0, seed)?;
        device.unbind().map_err(said)?;
        let dead = map.load(0);
        format!("{before}; unbound: {dead:?}")
    };
    let bind = format!("/sys/bus/dax/drivers/{driver}/bind");
    let bound = write(&bind, name);
    let map = Map::whole(&device).map_err(|e| format!("{before}; {bound}; {e}"))?;
    let again = access(&map, 0, seed)?;
    Ok(format!("{before}; {bound}; {again}"))
}

/// Exit status and all that a program says.
fn run(words: &[String]) -> String {
    let Some((program, args)) = words.split_first() else {
        return "nothing to run".into();
    };
    match Command::new(program).args(args).output() {
        Ok(output) => kernel::said(&output),
        Err(e) => format!("cannot start: {e}"),
    }
}
