// SPDX-License-Identifier: GPL-2.0
//! Runs daxlayout, the tool of this project, and reads what it prints.

use crate::device::Device;
use crate::json;
use crate::kernel;
use crate::sysfs::Result;
use crate::units::Span;
use serde_json::Value;
use std::process::Output;

/// The tool, which the host brings into the guest.
const PROGRAM: &str = "/daxlayout";

/// Runs the tool; its output, whether it succeeded or not.
pub fn try_run(args: &[&str]) -> Result<Output> {
    kernel::try_run(PROGRAM, args)
}

/// Runs the tool, which must succeed and print one value.
pub fn value(args: &[&str]) -> Result<Value> {
    json::one(PROGRAM, args)
}

/// Makes a device; its name is in what the tool prints.
pub fn create(args: &[&str]) -> Result<Device> {
    let created = value(&[&["--json", "create"], args].concat())?;
    Ok(Device::named(json::text(&created, "name")?))
}

/// Spans that the tool printed.
pub fn spans(ranges: &Value) -> Vec<Span> {
    let ranges = ranges.as_array().into_iter().flatten();
    ranges
        .filter_map(|range| {
            let (start, end) = (range["start"].as_u64()?, range["end"].as_u64()?);
            Some(Span { start, end })
        })
        .collect()
}
