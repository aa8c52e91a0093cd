// SPDX-License-Identifier: GPL-2.0

//! Compares the driver's reading of every short device name with a plain model of the C rules.

use proptest::prelude::*;

use crate::model::model_name;
use crate::ranges::parse::{parse_device_name, split_range, DeviceName};

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
fn every_short_name() {
    let count = every_text(b"dax", b"0192+-. \n", 6, &mut |text| {
        let model = model_name(std::str::from_utf8(text).unwrap());
        assert_eq!(parse_device_name(text), model, "{text:?}");
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
        prop_assert_eq!(parse_device_name(text.as_bytes()), Some(name));
    }

    #[test]
    fn bytes_of_all_kinds_never_panic(text in proptest::collection::vec(any::<u8>(), 0..40)) {
        let _ = split_range(&text);
        let _ = parse_device_name(&text);
    }
}
