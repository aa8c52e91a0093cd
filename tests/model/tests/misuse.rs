// SPDX-License-Identifier: GPL-2.0

//! The compiler refuses safe code that misuses the wrappers of `src/sys`, for the reason that
//! `src/misuse.rs` names.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

const FILE: &str = include_str!("../src/misuse.rs");

/// The functions of the file: the line at which each begins, its name, and the error that its
/// comment names.
fn expected() -> Vec<(u64, String, String)> {
    let mut all = Vec::new();
    let mut error = None;
    for (number, line) in (1..).zip(FILE.lines()) {
        if let Some(code) = line.strip_prefix("// E") {
            error = Some(format!("E{code}"));
        } else if let Some(rest) = line.strip_prefix("fn ") {
            let name = rest.split(['<', '(']).next().unwrap_or(rest);
            let error = error.take();
            let error = error.unwrap_or_else(|| panic!("{name} has no comment with an error"));
            all.push((number, name.to_owned(), error));
        }
    }
    all
}

/// The errors of the compiler: the code, file and line of each.
fn errors() -> Vec<(String, String, u64)> {
    let output = Command::new(env!("CARGO"))
        .args(["check", "--package=dax-model", "--lib"])
        .args(["--message-format=json", "--offline", "--target-dir"])
        .arg(env!("CARGO_TARGET_TMPDIR"))
        .env("RUSTFLAGS", "--cfg misuse")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo can be run");
    let text = String::from_utf8_lossy(&output.stdout);
    let messages = text.lines().filter_map(|line| {
        let message = serde_json::from_str::<Value>(line).expect("cargo prints JSON");
        let message = message.get("message")?.clone();
        let code = message["code"]["code"].as_str()?.to_owned();
        let place = message["spans"].as_array()?.iter();
        let place = place.clone().find(|span| span["is_primary"] == true)?;
        let file = place["file_name"].as_str()?.to_owned();
        (message["level"] == "error").then_some((code, file, place["line_start"].as_u64()?))
    });
    let found: Vec<_> = messages.collect();
    assert!(
        !found.is_empty(),
        "no errors, but: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    found
}

#[test]
fn l8_safe_code_cannot_misuse_the_wrappers() {
    let expected = expected();
    assert!(expected.len() >= 15, "only {expected:?}");
    let mut refused: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (code, file, line) in errors() {
        assert!(file.ends_with("src/misuse.rs"), "{code} at {file}:{line}");
        let within = expected.iter().rev().find(|(first, ..)| *first <= line);
        let (_, name, _) = within.unwrap_or_else(|| panic!("{code} at line {line}"));
        refused.entry(name.clone()).or_default().push(code);
    }
    let expected: BTreeMap<String, Vec<String>> = expected
        .into_iter()
        .map(|(_, name, code)| (name, vec![code]))
        .collect();
    assert_eq!(
        refused, expected,
        "what the compiler refuses, and what it must"
    );
}
