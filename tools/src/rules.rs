// SPDX-License-Identifier: GPL-2.0
//! The sources, and the project's own rule about them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use walkdir::WalkDir;

use crate::cache;

/// All our source files, relative to the repository, sorted.
pub fn sources(repo: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for start in [
        "src",
        "tools",
        "daxlayout",
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
    let by_extension = ["rs", "c", "h", "sh", "config", "toml", "py", "service"]
        .iter()
        .any(|e| extension == *e);
    let generated = name.ends_with(".mod.c");
    (by_extension && !generated)
        || matches!(
            &*name,
            "Kbuild"
                | "Kconfig"
                | ".kunitconfig"
                | "Makefile"
                | "init"
                | "inner-init"
                | "journalctl"
                | "run"
        )
}

pub fn rust(files: &[PathBuf]) -> impl Iterator<Item = &PathBuf> {
    files
        .iter()
        .filter(|f| f.extension().is_some_and(|e| e == "rs"))
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
