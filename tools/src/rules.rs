// SPDX-License-Identifier: GPL-2.0
//! The project's own rules about its sources, each a function from file to
//! complaints.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use regex::Regex;
use walkdir::WalkDir;

use crate::cache;
use crate::code::{only_code, without_test_modules};

/// All our source files, relative to the repository, sorted.
pub fn sources(repo: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for start in [
        "src",
        "tools",
        "tests",
        ".ci",
        "Kbuild",
        "Kconfig",
        ".kunitconfig",
        "Makefile",
    ] {
        let start = repo.join(start);
        if !start.exists() {
            continue;
        }
        let walk = WalkDir::new(&start)
            .into_iter()
            .filter_entry(|e| e.file_name() != "target");
        for entry in walk {
            let entry = entry.with_context(|| format!("cannot list {}", start.display()))?;
            let path = entry.path().strip_prefix(repo).unwrap_or(entry.path());
            if entry.file_type().is_file() && is_source(path) {
                found.push(path.to_owned());
            }
        }
    }
    found.sort();
    Ok(found)
}

fn is_source(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let extension = path.extension().unwrap_or_default();
    let by_extension = ["rs", "c", "h", "sh", "config", "toml"]
        .iter()
        .any(|e| extension == *e);
    let generated = name.ends_with(".mod.c");
    (by_extension && !generated)
        || matches!(
            &*name,
            "Kbuild" | "Kconfig" | ".kunitconfig" | "Makefile" | "init" | "run"
        )
}

pub fn rust(files: &[PathBuf]) -> impl Iterator<Item = &PathBuf> {
    files
        .iter()
        .filter(|f| f.extension().is_some_and(|e| e == "rs"))
}

fn module(files: &[PathBuf]) -> impl Iterator<Item = &PathBuf> {
    rust(files).filter(|f| f.starts_with("src"))
}

/// A licence on the first line, or on the second after `#!`.
pub fn licence(repo: &Path, files: &[PathBuf]) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    for file in files {
        let text = cache::read_text(&repo.join(file))?;
        let mut lines = text.lines();
        let first = match lines.next().unwrap_or_default() {
            line if line.starts_with("#!") => lines.next().unwrap_or_default(),
            line => line,
        };
        if !first.contains("SPDX-License-Identifier: GPL-2.0") {
            wrong.push(format!(
                "{}:1: no SPDX-License-Identifier: GPL-2.0",
                file.display()
            ));
        }
    }
    Ok(wrong)
}

/// May this file of src/ hold `unsafe`?
fn inside_the_fence(file: &Path) -> bool {
    file.starts_with("src/sys") || file == Path::new("src/abi.rs")
}

/// `unsafe` only inside the fence, and there with a SAFETY comment; all other
/// files forbid it themselves, so that the compiler sees to it as well.
pub fn unsafe_fence(repo: &Path, files: &[PathBuf]) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    for file in module(files) {
        let text = cache::read_text(&repo.join(file))?;
        wrong.extend(unsafe_in(file, &text)?);
    }
    Ok(wrong)
}

fn unsafe_in(file: &Path, text: &str) -> Result<Vec<String>> {
    let code = only_code(text);
    let mut wrong = Vec::new();
    if inside_the_fence(file) {
        let needs_reason = Regex::new(r"\bunsafe\s*(\{|impl\b)")?;
        let lines: Vec<&str> = text.lines().collect();
        let codes: Vec<&str> = code.lines().collect();
        for (at, line) in codes.iter().enumerate() {
            if needs_reason.is_match(line) && !has_reason(&lines, &codes, at) {
                wrong.push(format!(
                    "{}:{}: unsafe without a SAFETY comment",
                    file.display(),
                    at + 1
                ));
            }
        }
        return Ok(wrong);
    }
    let word = Regex::new(r"\bunsafe\b")?;
    for (at, line) in code.lines().enumerate() {
        if word.is_match(line) {
            wrong.push(format!(
                "{}:{}: unsafe outside src/sys/ and src/abi.rs",
                file.display(),
                at + 1
            ));
        }
    }
    let root = file == Path::new("src/dax.rs");
    if !root && !code.contains("#![forbid(unsafe_code)]") {
        wrong.push(format!("{}:1: no #![forbid(unsafe_code)]", file.display()));
    }
    Ok(wrong)
}

/// Is there a SAFETY comment on this line, or above it within the statement?
fn has_reason(lines: &[&str], codes: &[&str], at: usize) -> bool {
    if lines[at].contains("SAFETY:") {
        return true;
    }
    for above in (0..at).rev() {
        let comment = lines[above].trim_start().starts_with("//");
        if comment && lines[above].contains("SAFETY:") {
            return true;
        }
        let code = codes[above].trim_end();
        let goes_on = !code.ends_with([';', '}', '{']) && !code.trim().is_empty();
        let attribute = code.trim_start().starts_with("#[");
        if !(comment || goes_on || attribute) {
            return false;
        }
    }
    false
}

/// Nothing in the module may bring the kernel down by its own decision.
pub fn no_panics(repo: &Path, files: &[PathBuf]) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    for file in module(files) {
        wrong.extend(panics_in(file, &cache::read_text(&repo.join(file))?)?);
    }
    Ok(wrong)
}

fn panics_in(file: &Path, text: &str) -> Result<Vec<String>> {
    let word =
        Regex::new(r"(\.\s*(unwrap|expect)\s*\(|\b(panic|todo|unimplemented|unreachable)!)")?;
    let code = without_test_modules(&only_code(text));
    let found = code.lines().enumerate().filter_map(|(at, line)| {
        let found = word.find(line)?.as_str().trim_end_matches('(').to_owned();
        Some(format!("{}:{}: {found}", file.display(), at + 1))
    });
    Ok(found.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fence(file: &str, text: &str) -> Vec<String> {
        unsafe_in(Path::new(file), text).unwrap()
    }

    #[test]
    fn outside_the_fence() {
        assert!(fence(
            "src/space.rs",
            "#![forbid(unsafe_code)]\n// unsafe\nfn f() {}\n"
        )
        .is_empty());
        assert_eq!(fence("src/space.rs", "fn f() {}\n").len(), 1);
        let text = "#![forbid(unsafe_code)]\nfn f() { unsafe { g() } }\n";
        assert_eq!(
            fence("src/space.rs", text),
            ["src/space.rs:2: unsafe outside src/sys/ and src/abi.rs"]
        );
        assert!(fence("src/dax.rs", "#![deny(unsafe_code)]\nmodule! {}\n").is_empty());
    }

    #[test]
    fn inside_the_fence_reasons_are_given() {
        let file = "src/sys/cdev.rs";
        assert!(fence(file, "// SAFETY: fine\nlet a = unsafe { f() };").is_empty());
        assert!(fence(file, "// SAFETY: long,\n// very\nunsafe impl Send for A {}").is_empty());
        assert!(fence(file, "// SAFETY: x\nlet a =\n    unsafe { f() };").is_empty());
        assert!(fence(file, "unsafe extern \"C\" fn f() {}").is_empty());
        assert_eq!(
            fence(file, "// SAFETY: x\nf();\nlet a = unsafe { f() };").len(),
            1
        );
        assert_eq!(fence(file, "unsafe impl Send for A {}").len(), 1);
        assert_eq!(
            fence(file, "let s = \"SAFETY:\";\nlet a = unsafe { f() };").len(),
            1
        );
    }

    #[test]
    fn panics_are_found() {
        let file = Path::new("src/a.rs");
        let text = "fn f() { a.unwrap(); b.unwrap_or(1); todo!() }\n#[cfg(test)]\nmod t { fn g() { c.expect(\"\") } }\n";
        assert_eq!(panics_in(file, text).unwrap(), ["src/a.rs:1: .unwrap"]);
        assert_eq!(
            panics_in(file, "fn f() {\n panic!(\"x\") }").unwrap(),
            ["src/a.rs:2: panic!"]
        );
    }
}
