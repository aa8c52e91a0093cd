// SPDX-License-Identifier: GPL-2.0
//! The real daxctl, and what it reports.

use crate::device::Device;
use crate::errno::Errno;
use crate::ktap::{check, Outcome};
use crate::sysfs::{Error, Result};
use crate::units::{Range, Span};
use serde_json::Value;
use std::process::{Command, Output};

/// Runs daxctl; its output, whether it succeeded or not.
pub fn try_run(args: &[&str]) -> Result<Output> {
    Command::new("daxctl")
        .args(args)
        .output()
        .map_err(|e| Error::new(format!("daxctl {}", args.join(" ")), Errno::from(e)))
}

/// Runs daxctl, which must succeed; its standard output.
pub fn run(args: &[&str]) -> Result<String> {
    crate::kernel::run("daxctl", args)
}

/// Runs daxctl, which must succeed and print JSON; an array of what it printed.
pub fn json(args: &[&str]) -> Result<Vec<Value>> {
    let text = run(args)?;
    let bad = |why: String| Error::state(format!("daxctl {}: {why}: {text}", args.join(" ")));
    if text.trim().is_empty() {
        // Nothing to list.
        return Ok(Vec::new());
    }
    match serde_json::from_str(&text).map_err(|e| bad(e.to_string()))? {
        Value::Array(values) => Ok(values),
        other => Err(bad(format!("{other} is no array"))),
    }
}

/// `create-device`; the device.
pub fn create(args: &[&str]) -> Result<Device> {
    let created = json(&[&["create-device"], args].concat())?;
    match &created[..] {
        [device] => Ok(Device::named(text(device, "chardev")?)),
        other => Err(Error::state(format!("create-device: {other:?}"))),
    }
}

/// What `list` says about a device, mappings included.
pub fn list(device: &Device) -> Result<Value> {
    let mut listed = json(&["list", "-d", device.name(), "-M"])?;
    match listed.len() {
        1 => Ok(listed.remove(0)),
        _ => Err(Error::state(format!(
            "list -d {}: {listed:?}",
            device.name()
        ))),
    }
}

/// A member that is a string.
pub fn text(object: &Value, key: &str) -> Result<String> {
    object[key]
        .as_str()
        .map(str::to_owned)
        .ok_or_else(|| Error::state(format!("no string {key} in {object}")))
}

/// Compares members of an object.
pub fn check_members(object: &Value, members: &[(&str, Value)]) -> Outcome {
    for (key, value) in members {
        check(format!("{key} in {object}"), &object[key], value)?;
    }
    Ok(())
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
