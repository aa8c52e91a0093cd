// SPDX-License-Identifier: GPL-2.0
//! The tree that the mistakes are put into: a copy of the sources, built in a folder of its own,
//! so that no build of the checkout ever takes a mutant for its own.

use std::path::Path;

use anyhow::{Context, Result};

use super::WORK;
use crate::cache;
use crate::rules;

/// Makes it anew.
pub fn make(repo: &Path) -> Result<()> {
    let work = repo.join(WORK);
    cache::remove(&work)?;
    let tree = work.join("tree");
    let mut files = rules::sources(repo)?;
    files.extend(["Cargo.toml", "Cargo.lock", "rust-toolchain.toml"].map(Into::into));
    for file in files {
        let to = tree.join(&file);
        cache::mkdir(to.parent().unwrap_or(&tree))?;
        let text = cache::read_text(&repo.join(&file))?;
        let text = if file.starts_with("src") {
            prepared(&text)
        } else {
            text
        };
        std::fs::write(&to, text).with_context(|| format!("cannot write {}", to.display()))?;
    }
    Ok(())
}

/// cargo-mutants leaves functions alone whose name is `new`. Ours check what is given to them, so
/// they get the same name in another spelling.
fn prepared(text: &str) -> String {
    text.replace("fn new(", "fn r#new(")
}
