// SPDX-License-Identifier: GPL-2.0
//! The tree that the mistakes are put into: a copy of the sources, built in a folder of its own,
//! so that no build of the checkout ever takes a mutant for its own.

use std::path::Path;

use anyhow::{Context, Result};

use super::{TREE, WORK};
use crate::cache;
use crate::rules;

/// The host tests' root.
const HOST: &str = "tests/host/src/lib.rs";

/// The first failure ends all, for one is enough. By its name this runs first.
const FIRST: &str = "
#[test]
fn a_failure_ends_all() {
    std::panic::set_hook(Box::new(|what| {
        eprintln!(\"{what}\");
        std::process::exit(101);
    }));
}
";

/// The host's stand-in for the kernel, where `warn_on!` is.
const SHIM: &str = "tests/host/src/shim.rs";

/// The same as a function.
const WARNED: &str = "
pub(crate) fn warned(cond: bool) -> bool {
    warn_on!(cond)
}
";

/// Makes it anew.
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

/// cargo-mutants leaves functions alone whose name is `new`, and the arguments of macros. Ours
/// check what is given to them, and whether what cannot be is so. So these functions get the same
/// name in another spelling, and the macro is a function.
fn prepared(text: &str) -> String {
    text.replace("fn new(", "fn r#new(")
        .replace("warn_on!(", "crate::prelude::warned(")
}
