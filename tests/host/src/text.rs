// SPDX-License-Identifier: GPL-2.0

//! Every short text, read by the driver and by a plain model of the C rules.

use proptest::prelude::*;

use crate::parse::{
    parse_device_name, parse_i32, parse_range, parse_u64, Base, DeviceName, ParseError,
};

/// Calls `check` with `prefix` followed by every text of at most `len` bytes.
fn every_text(prefix: &[u8], alphabet: &[u8], len: usize, check: &mut impl FnMut(&[u8])) -> usize {
    check(prefix);
    let mut count = 1;
    if len > 0 {
        for byte in alphabet {
            let longer = [prefix, &[*byte]].concat();
            count += every_text(&longer, alphabet, len - 1, check);
        }
    }
    count
}

fn until_nul(text: &[u8]) -> &str {
    let end = text
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(text.len());
    std::str::from_utf8(&text[..end]).unwrap()
}

/// A number without a sign, by way of numbers that are wide enough for all.
fn model_magnitude(text: &str, base: Base) -> Result<u128, ParseError> {
    let text = text.strip_suffix('\n').unwrap_or(text);
    let lower = text.to_ascii_lowercase();
    let (radix, digits) = match (base, lower.strip_prefix("0x")) {
        (Base::Hex, Some(rest)) => (16, rest),
        (Base::Hex, None) => (16, &lower[..]),
        (Base::Auto, Some(rest)) if rest.starts_with(|c: char| c.is_ascii_hexdigit()) => (16, rest),
        (Base::Auto, _) if lower.starts_with('0') => (8, &lower[..]),
        (Base::Auto, _) => (10, &lower[..]),
    };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return Err(ParseError::Invalid);
    }
    Ok(u128::from_str_radix(digits, radix).unwrap())
}

fn model_u64(text: &str, base: Base) -> Result<u64, ParseError> {
    let value = model_magnitude(text.strip_prefix('+').unwrap_or(text), base)?;
    u64::try_from(value).map_err(|_| ParseError::Overflow)
}

fn model_i32(text: &str) -> Result<i32, ParseError> {
    let value = match text.strip_prefix('-') {
        Some(text) => -(model_magnitude(text, Base::Auto)? as i128),
        None => i128::from(model_u64(text, Base::Auto)?),
    };
    i32::try_from(value).map_err(|_| ParseError::Overflow)
}

fn model_name(text: &str) -> Option<DeviceName> {
    let text = text.strip_suffix('\n').unwrap_or(text);
    let (region, id) = text.strip_prefix("dax")?.split_once('.')?;
    let (region, id) = (region.parse().ok()?, id.parse().ok()?);
    // What the kernel would print, and nothing else.
    (format!("dax{region}.{id}") == text).then_some(DeviceName { region, id })
}

#[test]
fn every_short_number() {
    let count = every_text(b"", b"0178afgxX+- .\n\0", 5, &mut |text| {
        let model = until_nul(text);
        for base in [Base::Auto, Base::Hex] {
            assert_eq!(parse_u64(text, base), model_u64(model, base), "{model:?}");
        }
        assert_eq!(parse_i32(text), model_i32(model), "{model:?}");
    });
    println!("{count} texts");
}

#[test]
fn every_short_range() {
    let count = every_text(b"", b"019fx+-\n\0", 6, &mut |text| {
        let model = until_nul(text).split_once('-').ok_or(ParseError::Invalid);
        let model = model.and_then(|(start, last)| {
            Ok((model_u64(start, Base::Hex)?, model_u64(last, Base::Hex)?))
        });
        assert_eq!(parse_range(text), model, "{text:?}");
    });
    println!("{count} texts");
}

#[test]
fn every_short_name() {
    let count = every_text(b"dax", b"0192+-. \n\0", 6, &mut |text| {
        let name = parse_device_name(text);
        assert_eq!(name.ok(), model_name(until_nul(text)), "{text:?}");
    });
    println!("{count} texts");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn name_that_is_printed_is_read(region in any::<i32>(), id in any::<i32>(), newline in any::<bool>()) {
        let name = DeviceName { region, id };
        let text = format!("{name}{}", if newline { "\n" } else { "" });
        prop_assert!(text.len() < 30);
        prop_assert_eq!(parse_device_name(text.as_bytes()), Ok(name));
    }

    #[test]
    fn number_that_is_printed_is_read(value in any::<u64>(), small in any::<i32>()) {
        let auto = |text: String| parse_u64(text.as_bytes(), Base::Auto);
        prop_assert_eq!(auto(format!("{value}\n")), Ok(value));
        prop_assert_eq!(auto(format!("{value:#x}")), Ok(value));
        prop_assert_eq!(auto(format!("0{value:o}")), Ok(value));
        prop_assert_eq!(parse_u64(format!("{value:X}").as_bytes(), Base::Hex), Ok(value));
        prop_assert_eq!(parse_i32(format!("{small}").as_bytes()), Ok(small));
    }

    #[test]
    fn number_near_the_limit(value in any::<u64>(), tail in "[0-9]{0,3}\n?") {
        let text = format!("{value}{tail}");
        prop_assert_eq!(parse_u64(text.as_bytes(), Base::Auto), model_u64(&text, Base::Auto));
        prop_assert_eq!(parse_i32(text.as_bytes()), model_i32(&text));
    }

    #[test]
    fn bytes_of_all_kinds_never_panic(text in proptest::collection::vec(any::<u8>(), 0..40)) {
        let _ = parse_u64(&text, Base::Auto);
        let _ = parse_i32(&text);
        let _ = parse_range(&text);
        let _ = parse_device_name(&text);
    }
}
