// SPDX-License-Identifier: GPL-2.0
//! Runs the real daxctl, and reads its reports.

use crate::device::Device;
use crate::json;
use crate::ktap::Outcome;
use crate::sysfs::{Error, Result};
use crate::units::{Range, Span};
use serde_json::{json, Value};
use std::process::Output;

/// Runs daxctl; its output, whether it succeeded or not.
pub fn try_run(args: &[&str]) -> Result<Output> {
    crate::kernel::try_run("daxctl", args)
}

/// Runs daxctl, which must succeed; its standard output.
pub fn run(args: &[&str]) -> Result<String> {
    crate::kernel::run("daxctl", args)
}

/// Runs daxctl, which must succeed and print JSON. Returns the elements of the output.
pub fn json(args: &[&str]) -> Result<Vec<Value>> {
    json::of("daxctl", args)
}

/// `create-device`; the device.
pub fn create(args: &[&str]) -> Result<Device> {
    let created = json::one("daxctl", &[&["create-device"], args].concat())?;
    Ok(Device::named(json::text(&created, "chardev")?))
}

/// `reconfigure-device`, which must succeed; its standard output.
pub fn reconfigure(device: &Device, args: &[&str]) -> Result<String> {
    run(&[&["reconfigure-device"], args, &[device.name()]].concat())
}

/// The report of `list` about a device, mappings included.
pub fn list(device: &Device) -> Result<Value> {
    json::one("daxctl", &["list", "-d", device.name(), "-M"])
}

/// Fails unless a device is listed as system RAM of so many blocks, all online.
pub fn check_online(device: &Device, blocks: u64) -> Outcome {
    json::check_members(
        &list(device)?,
        &[
            ("mode", json!("system-ram")),
            ("online_memblocks", json!(blocks)),
            ("total_memblocks", json!(blocks)),
        ],
    )
}

/// The mappings of a listed device by page offset. daxctl lists them the other way round.
pub fn ranges(device: &Value) -> Result<Vec<Range>> {
    let bad = || Error::state(format!("mappings of {device}"));
    let mut ranges = Vec::new();
    for mapping in device["mappings"].as_array().into_iter().flatten() {
        let number = |key: &str| mapping[key].as_u64().ok_or_else(bad);
        let range = Range {
            span: Span {
                start: number("start")?,
                end: number("end")?,
            },
            page_offset: number("page_offset")?,
        };
        if number("size")? != range.span.len() {
            return Err(bad());
        }
        ranges.push(range);
    }
    ranges.sort_by_key(|range| range.page_offset);
    Ok(ranges)
}
