// SPDX-License-Identifier: GPL-2.0

//! Every short text, read by the driver and by a plain model of the C rules.

use proptest::prelude::*;

use crate::model::{model_i32, model_name, model_range, model_u64, until_nul};
use crate::ranges::parse::{
    parse_device_name, parse_i32, parse_range, parse_u64, Base, DeviceName,
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
        assert_eq!(parse_range(text), model_range(until_nul(text)), "{text:?}");
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
