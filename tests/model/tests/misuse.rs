// SPDX-License-Identifier: GPL-2.0

//! The compiler refuses safe code that misuses the wrappers of `src/sys`, for the reason that
//! `src/misuse.rs` names.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

const FILE: &str = include_str!("../src/misuse.rs");

/// A function of the file, and the error that its comment names.
#[derive(Debug)]
struct Misuse {
    name: &'static str,
    line: u64,
    code: &'static str,
    /// Words that the compiler must say, if any.
    words: &'static str,
}

fn misuses() -> Vec<Misuse> {
    let mut all = Vec::new();
    let mut error = None;
    for (line, text) in (1..).zip(FILE.lines()) {
        if text.starts_with("// E") {
            let text = text.trim_start_matches("// ");
            error = Some(text.split_once(' ').unwrap_or((text, "")));
        } else if let Some(rest) = text.strip_prefix("fn ") {
            let name = rest.split(['<', '(']).next().unwrap_or(rest);
            let error = error.take();
            let (code, words) =
                error.unwrap_or_else(|| panic!("{name} has no comment with an error"));
            all.push(Misuse {
                name,
                line,
                code,
                words,
            });
        }
    }
    all
}

/// An error of the compiler.
struct Refusal {
    code: String,
    file: String,
    line: u64,
    /// The whole message.
    text: String,
}

fn refusals() -> Vec<Refusal> {
    let output = Command::new(env!("CARGO"))
        .args(["check", "--package=dax-model", "--lib"])
        .args(["--message-format=json", "--offline", "--locked"])
        .args(["--target-dir", env!("CARGO_TARGET_TMPDIR")])
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env("RUSTFLAGS", "--cfg misuse")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo can be run");
    let text = String::from_utf8_lossy(&output.stdout);
    let messages = text.lines().filter_map(|line| {
        let message = serde_json::from_str::<Value>(line).expect("cargo prints JSON");
        let message = message.get("message")?;
        let text = message["rendered"].as_str().unwrap_or_default().to_owned();
        // The last one says how many there were.
        if message["level"] != "error" || text.contains("aborting due to") {
            return None;
        }
        let spans = message["spans"].as_array();
        let place = spans.and_then(|spans| spans.iter().find(|span| span["is_primary"] == true));
        let place = place.unwrap_or_else(|| panic!("an error without a place: {text}"));
        Some(Refusal {
            code: message["code"]["code"]
                .as_str()
                .unwrap_or("no code")
                .to_owned(),
            file: place["file_name"].as_str().unwrap_or_default().to_owned(),
            line: place["line_start"].as_u64().unwrap_or_default(),
            text,
        })
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
    let misuses = misuses();
    assert!(misuses.len() >= 15, "only {misuses:?}");
    let mut refused: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for refusal in refusals() {
        let Refusal {
            file, line, text, ..
        } = &refusal;
        assert!(file.ends_with("src/misuse.rs"), "{file}:{line}: {text}");
        let misuse = misuses.iter().rev().find(|misuse| misuse.line <= *line);
        let misuse = misuse.unwrap_or_else(|| panic!("{file}:{line}: {text}"));
        assert!(text.contains(misuse.words), "{}: {text}", misuse.name);
        refused.entry(misuse.name).or_default().push(refusal.code);
    }
    let expected: BTreeMap<&str, Vec<String>> = misuses
        .iter()
        .map(|misuse| (misuse.name, vec![misuse.code.to_owned()]))
        .collect();
    assert_eq!(
        refused, expected,
        "what the compiler refuses, and what it must"
    );
}
