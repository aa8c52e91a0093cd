// SPDX-License-Identifier: GPL-2.0
//! Reads the output of daxctl, ndctl and cxl.

use crate::kernel;
use crate::ktap::{check, Outcome};
use crate::sysfs::{Error, Result};
use serde_json::Value;

/// Runs a program, which must succeed and print JSON. Returns the elements of the output.
pub fn of(program: &str, args: &[&str]) -> Result<Vec<Value>> {
    let text = kernel::run(program, args)?;
    if text.trim().is_empty() {
        // Nothing to list.
        return Ok(Vec::new());
    }
    match serde_json::from_str(&text) {
        Ok(Value::Array(values)) => Ok(values),
        // A list of one is printed without the brackets, by some.
        Ok(value) => Ok(vec![value]),
        Err(e) => Err(Error::state(format!(
            "{program} {}: {e}: {text}",
            args.join(" ")
        ))),
    }
}

/// Runs a program, which must succeed and print one element of JSON. Returns that element.
pub fn one(program: &str, args: &[&str]) -> Result<Value> {
    match &of(program, args)?[..] {
        [value] => Ok(value.clone()),
        other => Err(Error::state(format!(
            "{program} {}: {other:?}",
            args.join(" ")
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
