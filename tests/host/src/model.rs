// SPDX-License-Identifier: GPL-2.0

//! What text means by the C rules, in the plainest words. The fuzzer uses it too.

use crate::ranges::parse::{Base, DeviceName, ParseError};

/// The text before the first NUL.
pub(crate) fn until_nul(text: &[u8]) -> &str {
    let end = text
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(text.len());
    std::str::from_utf8(&text[..end]).unwrap()
}

/// A number without a sign that fits into 64 bits, by way of numbers that are wide enough for all.
fn model_magnitude(text: &str, base: Base) -> Result<u128, ParseError> {
    let lower = text.to_ascii_lowercase();
    let (radix, text) = match (base, lower.strip_prefix("0x")) {
        (Base::Hex, Some(rest)) => (16, rest),
        (Base::Hex, None) => (16, &lower[..]),
        (Base::Auto, Some(rest)) if rest.starts_with(|c: char| c.is_ascii_hexdigit()) => (16, rest),
        (Base::Auto, _) if lower.starts_with('0') => (8, &lower[..]),
        (Base::Auto, _) => (10, &lower[..]),
    };
    let tail = text.trim_start_matches(|c: char| c.is_digit(radix));
    let digits = &text[..text.len() - tail.len()];
    if digits.is_empty() {
        return Err(ParseError::Invalid);
    }
    // 30 digits are more than 64 bits and less than 128, in each radix.
    let significant = digits.trim_start_matches('0');
    let value = match significant.len() {
        0 => 0,
        1..=30 => u128::from_str_radix(significant, radix).unwrap(),
        _ => u128::MAX,
    };
    // Like kstrtoull(), which sees that first.
    if value > u128::from(u64::MAX) {
        return Err(ParseError::Overflow);
    }
    match tail {
        "" | "\n" => Ok(value),
        _ => Err(ParseError::Invalid),
    }
}

/// What `parse_u64()` must say.
pub(crate) fn model_u64(text: &str, base: Base) -> Result<u64, ParseError> {
    let value = model_magnitude(text.strip_prefix('+').unwrap_or(text), base)?;
    Ok(u64::try_from(value).unwrap())
}

/// What `parse_i32()` must say.
pub(crate) fn model_i32(text: &str) -> Result<i32, ParseError> {
    let value = match text.strip_prefix('-') {
        Some(text) => -(model_magnitude(text, Base::Auto)? as i128),
        None => i128::from(model_u64(text, Base::Auto)?),
    };
    i32::try_from(value).map_err(|_| ParseError::Overflow)
}

/// What `parse_device_name()` must say: `None` if it is no name.
pub(crate) fn model_name(text: &str) -> Option<DeviceName> {
    let text = text.strip_suffix('\n').unwrap_or(text);
    let (region, id) = text.strip_prefix("dax")?.split_once('.')?;
    let (region, id) = (region.parse().ok()?, id.parse().ok()?);
    // What the kernel would print, and nothing else.
    (format!("dax{region}.{id}") == text).then_some(DeviceName { region, id })
}

/// What `parse_range()` must say.
pub(crate) fn model_range(text: &str) -> Result<(u64, u64), ParseError> {
    let (start, last) = text.split_once('-').ok_or(ParseError::Invalid)?;
    Ok((model_u64(start, Base::Hex)?, model_u64(last, Base::Hex)?))
}
