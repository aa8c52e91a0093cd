// SPDX-License-Identifier: GPL-2.0

//! Parsing of numbers, by the functions of the kernel. These allow a plus sign before a
//! number and a newline after it.

use kernel::{
    bindings,
    error::to_result,
    prelude::*, //
};

/// The base of a number.
#[derive(Clone, Copy)]
pub(crate) enum Base {
    /// `0x` means hexadecimal, `0` octal; all others are decimal.
    Auto,
    /// Hexadecimal, with or without `0x`.
    Hex,
}

impl Base {
    fn number(self) -> u32 {
        match self {
            Self::Auto => 0,
            Self::Hex => 16,
        }
    }
}

/// Parses an unsigned number (`kstrtoull()`).
///
/// # Errors
///
/// `EINVAL` if the text is not a number, `ERANGE` if the number does not fit into 64 bits.
pub(crate) fn parse_u64(text: &CStr, base: Base) -> Result<u64> {
    let mut value = 0;
    // SAFETY: The text is NUL-terminated, and `value` is valid for a write.
    to_result(unsafe { bindings::kstrtoull(text.as_char_ptr(), base.number(), &raw mut value) })?;
    Ok(value)
}

/// Parses a signed number (`kstrtoint()`).
///
/// # Errors
///
/// `EINVAL` if the text is not a number, `ERANGE` if the number does not fit into 32 bits.
pub(crate) fn parse_i32(text: &CStr, base: Base) -> Result<i32> {
    let mut value = 0;
    // SAFETY: The text is NUL-terminated, and `value` is valid for a write.
    to_result(unsafe { bindings::kstrtoint(text.as_char_ptr(), base.number(), &raw mut value) })?;
    Ok(value)
}

/// Parses an unsigned number that is not NUL-terminated. May sleep.
///
/// # Errors
///
/// Those of [`parse_u64`]; `ENOMEM`.
pub(crate) fn parse_part(text: &[u8], base: Base) -> Result<u64> {
    // Only a number with many leading zeros is longer than this buffer.
    let mut short = [0; 32];
    if text.len() < short.len() {
        if let Some(copy) = short.get_mut(..text.len()) {
            copy.copy_from_slice(text);
        }
        return parse_terminated(&short, base);
    }
    let mut copy = KVVec::with_capacity(text.len().saturating_add(1), GFP_KERNEL)?;
    copy.extend_from_slice(text, GFP_KERNEL)?;
    copy.push(0, GFP_KERNEL)?;
    parse_terminated(&copy, base)
}

fn parse_terminated(text: &[u8], base: Base) -> Result<u64> {
    parse_u64(CStr::from_bytes_until_nul(text).map_err(|_| EINVAL)?, base)
}
