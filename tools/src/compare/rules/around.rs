// SPDX-License-Identifier: GPL-2.0
//! Fault-around: how much of a device is present after a first access.

use super::text::number;
use super::Case;

/// What a fault of the Rust driver maps at most, in pages of the device: its default.
pub const WINDOW: u64 = 16;
/// Of these there is but one in each fault.
const LARGEST_KIB: u64 = 1 << 20;

/// A first access made more of the device present: whole pages, and no more than a window of them.
/// What was read, where it went and everything else is the same.
pub fn fault_around(case: &Case<'_>) -> bool {
    let op = &case.c.op;
    let Some(device) = op["touch"]
        .as_str()
        .or_else(|| op["touch_across_unbind"].as_str())
    else {
        return false;
    };
    let value = |name: &str| {
        let suffix = format!("/{device}/{name}");
        let mut keys = case.state.keys();
        number(case.state, keys.find(|key| key.ends_with(&suffix))?)
    };
    let (Some(align), Some(size)) = (value("align"), value("size")) else {
        return false;
    };
    let (page, mapped) = (align >> 10, op["len"].as_u64().unwrap_or(size) >> 10);
    let ((c, c_rest), (rust, rust_rest)) = (present(&case.c.result), present(&case.rust.result));
    let allowed = |(c, rust): (&u64, &u64)| {
        *c == page && rust % page == 0 && page <= *rust && *rust <= (WINDOW * page).min(mapped)
    };
    page > 0
        && page < LARGEST_KIB
        && c_rest == rust_rest
        && c.len() == rust.len()
        && c != rust
        && c.iter().zip(&rust).all(allowed)
        && case.same_but_for_the_answer()
}

/// The numbers before `kB present`, and the text without them.
fn present(result: &str) -> (Vec<u64>, String) {
    let mut found = Vec::new();
    let parts = result.split(", ").map(|part| {
        let (number, rest) = part.split_once(" kB present").unwrap_or(("", part));
        match number.parse() {
            Ok(number) => {
                found.push(number);
                format!("kB present{rest}")
            }
            Err(_) => part.to_owned(),
        }
    });
    let rest = parts.collect::<Vec<_>>().join(", ");
    (found, rest)
}
