// SPDX-License-Identifier: GPL-2.0
//! Each rule explains what its row allows, and no more.

use super::*;
use crate::compare::transcript::tests;
use std::collections::HashSet;

const DEVICE: &str = "/sys/devices/x/hmem.0/dax0.1";

/// A device with one range, 2 MiB at 6 GiB + 2 MiB, in a region of 2 GiB.
fn state() -> State {
    let attributes = [
        ("size", "2097152"),
        ("align", "2097152"),
        ("mapping0/start", "0x180200000"),
        ("mapping0/end", "0x1803fffff"),
    ];
    let mut state = State::new();
    for (name, value) in attributes {
        state.insert(
            format!("{DEVICE}/{name}"),
            format!("400 0:0 \"{value}\\n\""),
        );
    }
    state.insert("regions".into(), "0x180000000-0x1ffffffff".into());
    state
}

fn step(attribute: &str, text: &str, result: &str) -> Step {
    tests::step(
        Operation::write(format!("{DEVICE}/{attribute}"), text),
        result,
    )
}

fn name(attribute: &str, text: &str, c: &str, rust: &str) -> Option<&'static str> {
    let (c, rust) = (step(attribute, text, c), step(attribute, text, rust));
    explain(&state(), &c, &rust).map(|rule| rule.name)
}

#[test]
fn every_rule_has_its_row() {
    let text = include_str!("../../../../docs/deviations.md");
    let mut names = HashSet::new();
    for Rule { name, row, .. } in RULES.iter().chain([&MODULES]) {
        assert!(names.insert(name), "{name} twice");
        let there = text.lines().filter(|line| {
            let first = line.strip_prefix('|').and_then(|l| l.split('|').next());
            let ids: Vec<&str> = first.unwrap_or("?").trim().split(' ').collect();
            (ids.contains(&row.0) || ids.join(" ") == row.0) && line.contains(row.1)
        });
        assert_eq!(
            there.count(),
            1,
            "{name}: rows {row:?} of docs/deviations.md"
        );
    }
}

#[test]
fn mappings() {
    let rule = |text: &str, c: &str, rust: &str| name("mapping", text, c, rust);
    let taken = "0x180000000-0x1803fffff";
    assert_eq!(
        rule(taken, "ENOMEM", "EBUSY"),
        Some("mapping that is taken")
    );
    assert_eq!(
        rule("180400000-1805fffff", "ENOMEM", "EBUSY"),
        None,
        "it is free"
    );
    assert_eq!(rule(taken, "ENOMEM", "EINVAL"), None, "another answer");
    let outside = "0x200000000-0x2001fffff";
    assert_eq!(
        rule(outside, "ENOMEM", "ERANGE"),
        Some("mapping outside the region")
    );
    assert_eq!(rule(taken, "ENOMEM", "ERANGE"), None, "it is inside");
    let reversed = "0x1807fffff-0x180600000";
    assert_eq!(rule(reversed, "ENOMEM", "EINVAL"), Some("mapping reversed"));
    let odd = "0x180400000-0x1804fffff\n";
    let length = Some("mapping of no or misaligned length");
    assert_eq!(rule(odd, "wrote 24", "EINVAL"), length);
    assert_eq!(rule(odd, "wrote 24", "EBUSY"), None);
    assert_eq!(rule(odd, "wrote 24", "ERANGE"), None);
    assert_eq!(rule("0-ffffffffffffffff", "wrote 18", "ERANGE"), length);
    let start = "0x180401000-0x180600fff";
    assert_eq!(
        rule(start, "wrote 23", "EINVAL"),
        Some("mapping with misaligned start")
    );
    assert_eq!(rule("x-y", "EINVAL", "ERANGE"), None);
}

#[test]
fn an_explained_answer_explains_no_change() {
    let c = step("mapping", "0x180000000-0x1803fffff", "ENOMEM");
    let mut rust = step("mapping", "0x180000000-0x1803fffff", "EBUSY");
    assert!(explain(&state(), &c, &rust).is_some());
    rust.changed.insert("k".into(), None);
    assert!(explain(&state(), &c, &rust).is_none());
}

#[test]
fn devices_are_found_by_their_link() {
    let mut state = state();
    let link = "/sys/bus/dax/devices/dax0.1";
    state.insert(link.into(), "-> ../../../devices/x/hmem.0/dax0.1".into());
    let mut write = step("mapping", "0-1", "EBUSY");
    write.op = Operation::write(format!("{link}/mapping"), "0-1");
    assert_eq!(left_out_on_c(&state, &write), None, "it is not bound");
    state.insert(format!("{DEVICE}/driver"), "-> x/kmem".into());
    assert_eq!(left_out_on_c(&state, &write), Some(MAPPING_OF_BOUND));
    write.result = "EINVAL".into();
    assert_eq!(left_out_on_c(&state, &write), None);
}

#[test]
fn aligns() {
    let gib = "0x40000000";
    assert_eq!(
        name("align", gib, "wrote 10", "EINVAL"),
        Some("align of misplaced ranges")
    );
    assert_eq!(name("align", "4096", "wrote 4", "EINVAL"), None);
    let text = Some("align of text that is no number");
    assert_eq!(name("align", "2M", "ENXIO", "EINVAL"), text);
    assert_eq!(name("align", "2097152", "ENXIO", "EINVAL"), None);
}

#[test]
fn numbers_are_read_as_the_kernel_does() {
    let texts = ["0x10", "020", "16", "+16", "0X10"];
    assert!(texts.iter().all(|text| parse(text) == Some(16)));
    let bad = ["", "0x", "-1", " 1", "08", "18446744073709551616", "++1"];
    assert!(bad.iter().all(|text| parse(text).is_none()));
    assert_eq!(hexadecimal("0x1f\n\0"), Some(31));
    assert_eq!(hexadecimal("1g"), None);
}

#[test]
fn another_page_than_the_one_touched_is_unexplained() {
    let device = "dax0.1".to_owned();
    let across_unbind = Operation::TouchAcrossUnbind {
        device: device.clone(),
    };
    let touch = Operation::Touch {
        device,
        offset: 0,
        len: 2 << 20,
    };
    for op in [touch, across_unbind] {
        let one = tests::step(op.clone(), "data same, frame [Some(7)], 2048 kB present");
        for other in [
            "data same, frame [Some(7)], 4096 kB present",
            "data same, frame [Some(8)], 2048 kB present",
            "data OTHER, frame [Some(7)], 2048 kB present",
            "store: Signal(7)",
        ] {
            assert!(
                explain(&state(), &one, &tests::step(op.clone(), other)).is_none(),
                "{other}"
            );
        }
    }
}
