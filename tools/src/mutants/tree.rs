// SPDX-License-Identifier: GPL-2.0
//! The tree that the mistakes are put into: a copy of the sources, built in a directory of its own,
//! so that no build of the checkout ever takes a mutant for its own.

use std::path::Path;

use anyhow::{Context, Result};

use super::{TREE, WORK};
use crate::cache;
use crate::rules;

/// The host tests' root.
const HOST: &str = "tests/host/src/lib.rs";

/// A test that makes the first failure end the program: one is enough. It runs first, by its name.
const FIRST: &str = "
#[test]
fn a_failure_ends_all() {
    std::panic::set_hook(Box::new(|what| {
        eprintln!(\"{what}\");
        std::process::exit(101);
    }));
}
";

/// The host's stand-in for the kernel, which has `warn_on!`.
const SHIM: &str = "tests/host/src/shim.rs";

/// `warn_on!` as a function.
const WARNED: &str = "
pub(crate) fn warned(cond: bool) -> bool {
    warn_on!(cond)
}
";

/// Makes the tree anew.
pub fn make(repo: &Path) -> Result<()> {
    cache::remove(&repo.join(WORK))?;
    let tree = repo.join(TREE);
    let mut files = rules::sources(repo)?;
    files.extend(["Cargo.toml", "Cargo.lock", "rust-toolchain.toml"].map(Into::into));
    for file in files {
        let to = tree.join(&file);
        cache::mkdir(to.parent().unwrap_or(&tree))?;
        let text = cache::read_text(&repo.join(&file))?;
        let text = match file.to_str() {
            Some(HOST) => text + FIRST,
            Some(SHIM) => text + WARNED,
            _ if file.starts_with("src") => prepared(&text),
            _ => text,
        };
        std::fs::write(&to, text).with_context(|| format!("cannot write {}", to.display()))?;
    }
    Ok(())
}

/// Renames functions and replaces a macro, for cargo-mutants skips functions with the name `new`
/// and the arguments of macros. Our `new` functions check their arguments, and our macro checks
/// what cannot happen. So the functions get another name, and the macro becomes a function.
fn prepared(text: &str) -> String {
    text.replace("fn new(", "fn r#new(")
        .replace("warn_on!(", "crate::prelude::warned(")
}
