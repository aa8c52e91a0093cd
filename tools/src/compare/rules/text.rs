// SPDX-License-Identifier: GPL-2.0
//! Reads a state, and numbers as the kernel reads them.

use super::super::transcript::State;

/// All ranges of all devices: the directory of the mapping, first and last byte.
pub fn ranges(state: &State) -> impl Iterator<Item = (&str, (u64, u64))> {
    state.keys().filter_map(|key| {
        let dir = key.strip_suffix("/start")?;
        dir.rsplit_once("/mapping")?;
        let start = number(state, key)?;
        let end = number(state, &format!("{dir}/end"))?;
        Some((dir, (start, end)))
    })
}

/// The number in `644 0:0 "0x1000\n"`.
pub fn number(state: &State, key: &str) -> Option<u64> {
    let text = state.get(key)?.split('"').nth(1)?;
    parse(text.strip_suffix("\\n").unwrap_or(text))
}

/// Reads a number as the kernel's kstrtoull() with base 0 does. A newline is not allowed.
pub fn parse(text: &str) -> Option<u64> {
    let text = text.strip_prefix('+').unwrap_or(text);
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => (hex, 16),
        None if text.len() > 1 && text.starts_with('0') => (&text[1..], 8),
        None => (text, 10),
    };
    let digit = |c: char| c.is_digit(radix);
    if digits.is_empty() || !digits.chars().all(digit) {
        return None;
    }
    u64::from_str_radix(digits, radix).ok()
}

/// Reads a number as kstrtoull() with base 16 does. A newline at the end is allowed.
pub fn hexadecimal(text: &str) -> Option<u64> {
    let text = text.split('\0').next().unwrap_or_default();
    let text = text.strip_suffix('\n').unwrap_or(text);
    let digits = text
        .strip_prefix("0x")
        .or_else(|| text.strip_prefix("0X"))
        .unwrap_or(text);
    if digits.is_empty() || !digits.chars().all(|c| c.is_ascii_hexdigit()) {
        return None;
    }
    u64::from_str_radix(digits, 16).ok()
}
