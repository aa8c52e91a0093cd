// SPDX-License-Identifier: GPL-2.0

//! Parsing of text that users write into sysfs files. The kernel's functions parse numbers.

use core::fmt;

/// The text before and the text after the first `separator`. `None` if there is no
/// separator.
fn split_at_first(text: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let mut parts = text.splitn(2, |byte| *byte == separator);
    Some((parts.next()?, parts.next()?))
}

/// Splits `start-end` into the texts of its two numbers. `None` if there is no minus sign.
/// C: `range_parse()`.
pub(crate) fn split_range(text: &[u8]) -> Option<(&[u8], &[u8])> {
    split_at_first(text, b'-')
}

/// Splits several ranges, each separated from the next by one space or newline, into the
/// texts of the ranges. A newline may follow the last one. `None` if there is no separator.
pub(crate) fn split_ranges(text: &[u8]) -> Option<impl Iterator<Item = &[u8]>> {
    let is_separator = |byte: &u8| matches!(byte, b' ' | b'\n');
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let several = text.iter().any(is_separator);
    several.then(|| text.split(is_separator))
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

/// Parses the name of a device, with or without a newline after it. C: `do_id_store()`.
///
/// Accepts only the spelling that the kernel prints: numbers have no plus sign and no
/// leading zeros. Returns `None` for all other text.
pub(crate) fn parse_device_name(text: &[u8]) -> Option<DeviceName> {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let (region, id) = split_at_first(text.strip_prefix(b"dax")?, b'.')?;
    Some(DeviceName {
        region: canonical_i32(region)?,
        id: canonical_i32(id)?,
    })
}

/// Parses a number that is spelled as `%d` prints it.
fn canonical_i32(text: &[u8]) -> Option<i32> {
    match text {
        // `parse` accepts these.
        [b'+', ..] | [b'0', _, ..] | [b'-', b'0', ..] => None,
        text => core::str::from_utf8(text).ok()?.parse().ok(),
    }
}

#[cfg(any(test, CONFIG_DEV_DAX_RUST_KUNIT_TEST))]
#[cfg_attr(not(test), crate::prelude::kunit_tests(dax_parse))]
mod tests {
    use super::*;

    fn name(text: &[u8]) -> Option<(i32, i32)> {
        parse_device_name(text).map(|name| (name.region, name.id))
    }

    #[test]
    fn range_is_split_at_the_first_minus() {
        let split = |text: &'static [u8]| split_range(text);
        assert_eq!(split(b"100-0x1ff\n"), Some((&b"100"[..], &b"0x1ff\n"[..])));
        assert_eq!(split(b"1-2-3"), Some((&b"1"[..], &b"2-3"[..])));
        assert_eq!(split(b"-1"), Some((&b""[..], &b"1"[..])));
        assert_eq!(split(b"1-"), Some((&b"1"[..], &b""[..])));
        assert_eq!(split(b"100"), None);
    }

    #[test]
    fn ranges_are_split_at_spaces_and_newlines() {
        let is = |text: &[u8], expected: &[&[u8]]| {
            split_ranges(text).is_some_and(|ranges| ranges.eq(expected.iter().copied()))
        };
        assert!(is(b"1-2 3-4", &[b"1-2", b"3-4"]));
        assert!(is(b"1-2\n3-4\n", &[b"1-2", b"3-4"]));
        assert!(is(b"1-2  3-4", &[b"1-2", b"", b"3-4"]));
        assert!(is(b" 1-2", &[b"", b"1-2"]));
        assert!(is(b"1-2\n\n", &[b"1-2", b""]));
        assert!(split_ranges(b"1-2").is_none());
        assert!(split_ranges(b"1-2\n").is_none());
        assert!(split_ranges(b"").is_none());
    }

    #[test]
    fn device_name_has_one_spelling() {
        assert_eq!(name(b"dax0.0"), Some((0, 0)));
        assert_eq!(name(b"dax12.345\n"), Some((12, 345)));
        assert_eq!(name(b"dax-1.-2147483648"), Some((-1, i32::MIN)));
        assert_eq!(name(b"dax1.2147483647"), Some((1, i32::MAX)));
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
