// SPDX-License-Identifier: GPL-2.0
//! Mapping devices: arguments, data, page faults, and what unbinding does to mappings.

mod arguments;
mod around;
mod data;
mod giant;
mod kernel_access;
mod touch;
mod unbind;

use crate::device::Device;
use crate::ktap::Test;
use crate::mmap::{self, Map};
use crate::region::Region;
use crate::sysfs::{Error, Result};
use crate::units::UNIT;
use std::fs::File;

/// The tests of small and huge pages, by file.
pub const FILES: &[&[Test]] = &[
    arguments::TESTS,
    data::TESTS,
    around::TESTS,
    kernel_access::TESTS,
    touch::TESTS,
    unbind::TESTS,
];
/// The tests of fault-around on a kernel that has it turned on.
pub const AROUND_FILES: &[&[Test]] = &[around::ASKED_FOR];
pub use around::{APPEND as AROUND_APPEND, WINDOW as AROUND_WINDOW};
/// The tests at 1 GiB.
pub const GIANT_FILES: &[&[Test]] = &[giant::TESTS];

/// A bound device of four units in one range, aligned to a unit.
fn bound(region: &Region) -> Result<Device> {
    region.create_bound(UNIT, &[region.units(4, 4)])
}

/// Opens a device's node, which must work.
fn open(device: &Device) -> Result<File> {
    mmap::open(&device.node())
        .map_err(|errno| Error::new(format!("open {}", device.node().display()), errno))
}

/// Maps a part of a file, which must work.
fn map(file: &File, len: u64, offset: u64) -> Result<Map> {
    Map::shared(file, len, offset)
        .map_err(|errno| Error::new(format!("mmap {len:#x} bytes at {offset:#x}"), errno))
}
