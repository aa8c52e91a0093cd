// SPDX-License-Identifier: GPL-2.0
//! Mutants that cargo-mutants does not make. It changes operators, but the pure modules do most
//! arithmetic by calls like `checked_add()`, because no sum may wrap unnoticed.

use std::fs;
use std::path::Path;
use std::process::Output;

use anyhow::{bail, Context, Result};
use syn::visit::{self, Visit};
use syn::{Block, ImplItemFn, ItemFn, ItemImpl, Signature, Type};

use super::found::{numbered, Fate, Mutant, Placed};
use super::tool::{BUILD_TIMEOUT, SEED, TEST_TIMEOUT};
use super::TREE;
use crate::cache;
use crate::cargo::Cargo;
use crate::progress::Step;
use crate::rust_code;

/// Ends of calls' names, and what replaces them.
const SWAPS: [(&str, &str); 6] = [
    ("add", "sub"),
    ("sub", "add"),
    ("mul", "add"),
    ("div", "mul"),
    ("min", "max"),
    ("max", "min"),
];
/// Prefixes of methods that say what happens on overflow.
const FAMILIES: [&str; 3] = ["checked_", "saturating_", "wrapping_"];
/// The exit status of `timeout` after it ended a program.
const ENDED: i32 = 124;
/// The exit status of cargo if something did not compile, or a test failed.
const FAILED: i32 = 101;
/// Words of compilers that failed for another reason than the sources.
const HOST: [&str; 2] = ["signal: 9, SIGKILL", "No space left on device"];

/// A file with one call changed.
struct Change {
    /// Line and column, from 1 on.
    at: (usize, usize),
    what: String,
    text: String,
}

/// Runs the host tests on each mutant of `files`.
pub fn run(repo: &Path, cargo: &Cargo, files: &[String]) -> Result<Vec<Mutant>> {
    let tree = repo.join(TREE);
    let mut changes = Vec::new();
    for file in files {
        let text = cache::read_text(&tree.join(file))?;
        changes.extend(changed(&text)?.into_iter().map(|change| (file, change)));
    }
    let count = changes.len();
    let step = Step::start(
        format!("the host tests on {count} changed calls"),
        count as u64,
    );
    let unchanged = fate(cargo)?;
    if unchanged != Fate::Survived {
        bail!("the host tests do not pass on the unchanged sources: {unchanged:?}");
    }
    let mut placed = Vec::new();
    for (file, change) in changes {
        step.message(&change.what);
        let path = tree.join(file);
        let write = |data: &[u8]| {
            fs::write(&path, data).with_context(|| format!("cannot write {}", path.display()))
        };
        let original = cache::read(&path)?;
        write(change.text.as_bytes())?;
        let fate = fate(cargo);
        write(&original)?;
        let fate = fate.with_context(|| format!("{file}: {}", change.what))?;
        let mutant = Mutant {
            file: file.clone(),
            what: change.what,
            fate,
        };
        placed.push(Placed {
            at: change.at,
            mutant,
        });
        step.advance(1);
    }
    step.done();
    Ok(numbered(placed))
}

/// Runs the tests on the tree as it is.
fn fate(cargo: &Cargo) -> Result<Fate> {
    let build = test(cargo, BUILD_TIMEOUT, &["--no-run"])?;
    match build_fate(&build)? {
        Some(fate) => Ok(fate),
        None => test_fate(&test(cargo, TEST_TIMEOUT, &[])?),
    }
}

/// The fate of a mutant whose tests were built, if that says it already. Only what the compiler
/// refuses is no mutant: not what this machine had no time, memory or disk for.
fn build_fate(build: &Output) -> Result<Option<Fate>> {
    let text = String::from_utf8_lossy(&build.stderr);
    let host = HOST.iter().any(|words| text.contains(words));
    match build.status.code() {
        Some(0) => Ok(None),
        Some(FAILED) if !host => Ok(Some(Fate::Unviable)),
        _ => bail!("cannot build the host tests: {}\n{text}", build.status),
    }
}

/// The fate of a mutant whose tests ran.
fn test_fate(run: &Output) -> Result<Fate> {
    match run.status.code() {
        Some(0) => Ok(Fate::Survived),
        Some(ENDED) => Ok(Fate::TimedOut),
        Some(FAILED) => Ok(Fate::Failed),
        _ => {
            let text = String::from_utf8_lossy(&run.stderr);
            bail!("cannot run the host tests: {}\n{text}", run.status)
        }
    }
}

/// Runs `cargo test` on the host tests, for so many seconds at most.
fn test(cargo: &Cargo, seconds: &str, more: &[&str]) -> Result<Output> {
    let manifest = format!("{TREE}/tests/host/Cargo.toml");
    let target = format!("{TREE}/target");
    let mut args = vec![seconds, "cargo", "test", "--quiet", "--manifest-path"];
    args.push(&manifest);
    args.extend(more);
    let mut command = cargo.command("timeout", &args, &[("CARGO_TARGET_DIR", &target), SEED])?;
    command.output().context("cannot start timeout")
}

/// All changes of a file, except those of its tests.
fn changed(text: &str) -> Result<Vec<Change>> {
    let mut calls = Calls {
        text,
        owner: None,
        changes: Vec::new(),
    };
    for item in &rust_code::items(text)? {
        calls.visit_item(item);
    }
    Ok(calls.changes)
}

/// Looks for calls that can be changed.
struct Calls<'a> {
    text: &'a str,
    /// The type whose functions are being visited.
    owner: Option<String>,
    changes: Vec<Change>,
}

impl Calls<'_> {
    fn look(&mut self, function: &Signature, body: &Block) {
        let tokens = rust_code::tokens(body);
        let is = |at: Option<usize>, text: &str| {
            let token = at.and_then(|at| tokens.get(at));
            token.is_some_and(|token| token.text == text)
        };
        for (at, token) in tokens.iter().enumerate() {
            if !is(at.checked_add(1), "(") {
                continue;
            }
            let family = FAMILIES.into_iter().find(|f| token.text.starts_with(f));
            if family.is_none() && !is(at.checked_sub(1), ".") {
                continue;
            }
            let family = family.unwrap_or_default();
            let name = &token.text[family.len()..];
            let Some((old, new)) = SWAPS.into_iter().find(|(old, _)| *old == name) else {
                continue;
            };
            let place = rust_code::name(&function.ident);
            let owner = self.owner.as_ref().map(|owner| format!("{owner}::"));
            let place = owner.unwrap_or_default() + &place;
            let (line, column) = (token.at.0, token.at.1 + family.len());
            self.changes.push(Change {
                at: (line, column),
                what: format!("replace {family}{old} with {family}{new} in {place}"),
                text: swapped(self.text, (line - 1, column - 1), old, new),
            });
        }
    }
}

impl<'ast> Visit<'ast> for Calls<'_> {
    fn visit_item_impl(&mut self, item: &'ast ItemImpl) {
        if let Type::Path(of) = &*item.self_ty {
            let last = of.path.segments.last();
            self.owner = last.map(|segment| rust_code::name(&segment.ident));
        }
        visit::visit_item_impl(self, item);
        self.owner = None;
    }

    fn visit_item_fn(&mut self, function: &'ast ItemFn) {
        self.look(&function.sig, &function.block);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast ImplItemFn) {
        self.look(&function.sig, &function.block);
    }
}

/// `text` with `new` for `old` at a line and column.
fn swapped(text: &str, at: (usize, usize), old: &str, new: &str) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let line = &lines[at.0];
    let before: String = line.chars().take(at.1).collect();
    let after: String = line.chars().skip(at.1 + old.len()).collect();
    lines[at.0] = format!("{before}{new}{after}");
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_does_not_compile_is_unviable() {
        use std::os::unix::process::ExitStatusExt;
        use std::process::ExitStatus;

        let output = |raw: i32, stderr: &str| Output {
            status: ExitStatus::from_raw(raw),
            stdout: Vec::new(),
            stderr: stderr.as_bytes().to_vec(),
        };
        let exit = |code: i32| output(code << 8, "error: x");
        assert_eq!(build_fate(&exit(0)).unwrap(), None);
        assert_eq!(build_fate(&exit(FAILED)).unwrap(), Some(Fate::Unviable));
        assert!(build_fate(&exit(ENDED)).is_err(), "no time");
        for words in HOST {
            assert!(build_fate(&output(FAILED << 8, words)).is_err(), "{words}");
        }
        assert_eq!(test_fate(&exit(0)).unwrap(), Fate::Survived);
        assert_eq!(test_fate(&exit(FAILED)).unwrap(), Fate::Failed);
        assert_eq!(test_fate(&exit(ENDED)).unwrap(), Fate::TimedOut);
        for other in [exit(127), exit(137), output(9, "killed")] {
            assert!(build_fate(&other).is_err(), "{}", other.status);
            assert!(test_fate(&other).is_err(), "{}", other.status);
        }
    }

    #[test]
    fn calls_are_swapped_one_at_a_time() {
        let text = "\
impl<T> Room<T> {
    fn r#new(a: u64) -> u64 {
        // a.min(1) \u{e4}
        a.checked_add(1)
            .max(2)
    }
}
fn g(a: u64) {
    f(\"\u{e4}\", a.saturating_mul(3), a.size())
}
#[cfg(any(test, X))]
mod tests {
    fn t() { a.wrapping_sub(1) }
}
";
        let changes = changed(text).unwrap();
        let names: Vec<&str> = changes.iter().map(|c| c.what.as_str()).collect();
        assert_eq!(
            names,
            [
                "replace checked_add with checked_sub in Room::new",
                "replace max with min in Room::new",
                "replace saturating_mul with saturating_add in g",
            ]
        );
        assert_eq!(changes[0].text, text.replace("_add", "_sub"));
        assert_eq!(changes[1].text, text.replace(".max(", ".min("));
        assert_eq!(changes[2].text, text.replace("_mul", "_add"));
        assert_eq!(changes[1].at, (5, 14));
    }
}
