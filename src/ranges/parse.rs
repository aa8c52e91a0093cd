// SPDX-License-Identifier: GPL-2.0

//! What users write into sysfs files, as values.
//!
//! Text is a C string: it ends at the first NUL, if there is one. What is
//! accepted is what the C driver accepts, to the byte.

use core::fmt;

use crate::prelude::{Error, EINVAL, ERANGE};

/// Why text is no value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ParseError {
    /// It does not look like one.
    Invalid,
    /// The number does not fit.
    Overflow,
}

impl From<ParseError> for Error {
    fn from(e: ParseError) -> Self {
        match e {
            ParseError::Invalid => EINVAL,
            ParseError::Overflow => ERANGE,
        }
    }
}

/// How to read digits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Base {
    /// After `0x` hexadecimal, after `0` octal, else decimal.
    Auto,
    /// Hexadecimal, with or without `0x`.
    Hex,
}

/// The text before the first NUL.
fn c_string(text: &[u8]) -> &[u8] {
    text.split(|byte| *byte == 0).next().unwrap_or(text)
}

/// The radix of `text` and its digits. C: `_parse_integer_fixup_radix()`.
fn split_radix(text: &[u8], base: Base) -> (u32, &[u8]) {
    match (base, text) {
        (Base::Auto, [b'0', b'x' | b'X', digits @ ..])
            if digits.first().is_some_and(u8::is_ascii_hexdigit) =>
        {
            (16, digits)
        }
        (Base::Auto, [b'0', ..]) => (8, text),
        (Base::Auto, _) => (10, text),
        (Base::Hex, [b'0', b'x' | b'X', digits @ ..]) => (16, digits),
        (Base::Hex, _) => (16, text),
    }
}

/// A number without a sign. C: `_kstrtoull()`.
fn parse_magnitude(text: &[u8], base: Base) -> Result<u64, ParseError> {
    let (radix, mut rest) = split_radix(text, base);
    let mut value = None;
    while let [byte, after @ ..] = rest {
        let Some(digit) = char::from(*byte).to_digit(radix) else {
            break;
        };
        // A number that does not fit is that, whatever comes after it.
        let shifted = value.unwrap_or(0_u64).checked_mul(u64::from(radix));
        let sum = shifted.and_then(|shifted| shifted.checked_add(u64::from(digit)));
        value = Some(sum.ok_or(ParseError::Overflow)?);
        rest = after;
    }
    match rest {
        [] | [b'\n'] => value.ok_or(ParseError::Invalid),
        _ => Err(ParseError::Invalid),
    }
}

/// A number, perhaps after a plus sign, perhaps before a newline. C:
/// `kstrtoull()`.
///
/// # Errors
///
/// `Invalid`, or `Overflow` if it does not fit into 64 bits.
pub(crate) fn parse_u64(text: &[u8], base: Base) -> Result<u64, ParseError> {
    let text = c_string(text);
    parse_magnitude(text.strip_prefix(b"+").unwrap_or(text), base)
}

/// Like [`parse_u64`], with a sign and of any base. C: `kstrtoint()` for base 0.
///
/// # Errors
///
/// `Invalid`, or `Overflow` if it does not fit into 32 bits.
pub(crate) fn parse_i32(text: &[u8]) -> Result<i32, ParseError> {
    let text = c_string(text);
    let value = match text.strip_prefix(b"-") {
        Some(text) => i64::try_from(parse_magnitude(text, Base::Auto)?)
            .ok()
            .and_then(i64::checked_neg),
        None => i64::try_from(parse_u64(text, Base::Auto)?).ok(),
    };
    let value = value.ok_or(ParseError::Overflow)?;
    i32::try_from(value).map_err(|_| ParseError::Overflow)
}

/// Two hexadecimal numbers with a minus between them. C: `range_parse()`.
///
/// # Errors
///
/// `Invalid`, or `Overflow` if one does not fit into 64 bits.
pub(crate) fn parse_range(text: &[u8]) -> Result<(u64, u64), ParseError> {
    let mut parts = c_string(text).splitn(2, |byte| *byte == b'-');
    let (Some(start), Some(last)) = (parts.next(), parts.next()) else {
        return Err(ParseError::Invalid);
    };
    Ok((parse_u64(start, Base::Hex)?, parse_u64(last, Base::Hex)?))
}

/// The name of a device: daxX.Y.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct DeviceName {
    /// X.
    pub(crate) region: i32,
    /// Y.
    pub(crate) id: i32,
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dax{}.{}", self.region, self.id)
    }
}

/// A device's name, perhaps before a newline. C: `do_id_store()`.
///
/// Only the one spelling that the kernel prints is a name, so numbers have no
/// plus sign and no leading zeros.
///
/// # Errors
///
/// `Invalid`.
pub(crate) fn parse_device_name(text: &[u8]) -> Result<DeviceName, ParseError> {
    let text = c_string(text);
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let numbers = text.strip_prefix(b"dax").ok_or(ParseError::Invalid)?;
    let mut parts = numbers.splitn(2, |byte| *byte == b'.');
    let mut number = || canonical_i32(parts.next()?);
    match (number(), number()) {
        (Some(region), Some(id)) => Ok(DeviceName { region, id }),
        _ => Err(ParseError::Invalid),
    }
}

/// A number as `%d` prints it.
fn canonical_i32(text: &[u8]) -> Option<i32> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [] | [b'0', _, ..] => return None,
        [b'0'] if negative => return None,
        _ => {}
    }
    // Downwards, as there is one more number below zero than above.
    let value = digits.iter().try_fold(0_i32, |value, byte| {
        let digit = i32::try_from(char::from(*byte).to_digit(10)?).ok()?;
        value.checked_mul(10)?.checked_sub(digit)
    })?;
    if negative {
        Some(value)
    } else {
        value.checked_neg()
    }
}

#[cfg(any(test, CONFIG_DEV_DAX_RUST_KUNIT_TEST))]
#[cfg_attr(not(test), crate::prelude::kunit_tests(dax_parse))]
mod tests {
    use super::*;
    use ParseError::{Invalid, Overflow};

    fn auto(text: &[u8]) -> Result<u64, ParseError> {
        parse_u64(text, Base::Auto)
    }

    fn hex(text: &[u8]) -> Result<u64, ParseError> {
        parse_u64(text, Base::Hex)
    }

    fn name(text: &[u8]) -> Option<(i32, i32)> {
        parse_device_name(text)
            .ok()
            .map(|name| (name.region, name.id))
    }

    #[test]
    fn u64_like_kstrtoull() {
        assert_eq!(auto(b"42\n"), Ok(42));
        assert_eq!(auto(b"+0x2A"), Ok(42));
        assert_eq!(auto(b"052\0junk"), Ok(42));
        assert_eq!(auto(b"0"), Ok(0));
        assert_eq!(auto(b"18446744073709551615"), Ok(u64::MAX));
        assert_eq!(auto(b"18446744073709551616junk"), Err(Overflow));
        assert_eq!(auto(b"0xffffffffffffffff"), Ok(u64::MAX));
        assert_eq!(auto(b"0x10000000000000000"), Err(Overflow));
        assert_eq!(auto(b""), Err(Invalid));
        assert_eq!(auto(b"\n"), Err(Invalid));
        assert_eq!(auto(b"0x"), Err(Invalid));
        assert_eq!(auto(b"08"), Err(Invalid));
        assert_eq!(auto(b"1 "), Err(Invalid));
        assert_eq!(auto(b" 1"), Err(Invalid));
        assert_eq!(auto(b"1\n\n"), Err(Invalid));
        assert_eq!(auto(b"-1"), Err(Invalid));
        assert_eq!(auto(b"++1"), Err(Invalid));
        assert_eq!(hex(b"10"), Ok(16));
        assert_eq!(hex(b"0Xff\n"), Ok(255));
        assert_eq!(hex(b"0x"), Err(Invalid));
        assert_eq!(hex(b"fg"), Err(Invalid));
    }

    #[test]
    fn i32_like_kstrtoint() {
        assert_eq!(parse_i32(b"1\n"), Ok(1));
        assert_eq!(parse_i32(b"-0x80000000"), Ok(i32::MIN));
        assert_eq!(parse_i32(b"2147483648"), Err(Overflow));
        assert_eq!(parse_i32(b"-2147483649"), Err(Overflow));
        assert_eq!(parse_i32(b"-18446744073709551615"), Err(Overflow));
        assert_eq!(parse_i32(b"-0"), Ok(0));
        assert_eq!(parse_i32(b"-+1"), Err(Invalid));
        assert_eq!(parse_i32(b"-"), Err(Invalid));
    }

    #[test]
    fn range_is_hexadecimal_and_split_at_the_first_minus() {
        assert_eq!(parse_range(b"100-0x1ff\n\0"), Ok((0x100, 0x1ff)));
        assert_eq!(parse_range(b"2\n-1"), Ok((2, 1)));
        assert_eq!(parse_range(b"100"), Err(Invalid));
        assert_eq!(parse_range(b"-1"), Err(Invalid));
        assert_eq!(parse_range(b"1-"), Err(Invalid));
        assert_eq!(parse_range(b"1-2-3"), Err(Invalid));
        assert_eq!(parse_range(b"1-10000000000000000"), Err(Overflow));
        assert_eq!(parse_range(b"x-10000000000000000"), Err(Invalid));
    }

    #[test]
    fn device_name_has_one_spelling() {
        assert_eq!(name(b"dax0.0"), Some((0, 0)));
        assert_eq!(name(b"dax12.345\n"), Some((12, 345)));
        assert_eq!(name(b"dax-1.-2147483648"), Some((-1, i32::MIN)));
        assert_eq!(name(b"dax1.2147483647\0.3"), Some((1, i32::MAX)));
        assert_eq!(name(b"dax1.2147483648"), None);
        assert_eq!(name(b"dax1.4294967296"), None);
        assert_eq!(name(b"dax0.01"), None);
        assert_eq!(name(b"dax00.1"), None);
        assert_eq!(name(b"dax+1.0"), None);
        assert_eq!(name(b"dax-0.0"), None);
        assert_eq!(name(b"dax 1.0"), None);
        assert_eq!(name(b"dax1.0\n\n"), None);
        assert_eq!(name(b"dax1.0.0"), None);
        assert_eq!(name(b"dax1."), None);
        assert_eq!(name(b"dax1"), None);
        assert_eq!(name(b"dax"), None);
        assert_eq!(name(b"1.0"), None);
    }
}
