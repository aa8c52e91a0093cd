// SPDX-License-Identifier: GPL-2.0
//! The part of a package's version that tells when its sources were changed last. A build of later
//! sources is an upgrade.

use std::path::Path;
use std::process::Command;
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result};
use walkdir::WalkDir;

use crate::exec;

/// Files that go into the packages.
const INPUTS: [&str; 16] = [
    "Cargo.lock",
    "Cargo.toml",
    "Kbuild",
    "Kconfig",
    "README.md",
    "daxlayout",
    "docs/daxlayout.md",
    "docs/deviations.md",
    "docs/errors.md",
    "docs/install.md",
    "patches",
    "src",
    "tools/foreign",
    "tools/kernel",
    "tools/package",
    "tools/root.packages",
];

/// Seconds since 1970: the last commit's, or the newest file's if there are changes that are not
/// committed, or if there is no git.
pub fn seconds(repo: &Path) -> Result<u64> {
    match committed(repo) {
        Some(seconds) => Ok(seconds),
        None => newest(repo),
    }
}

fn committed(repo: &Path) -> Option<u64> {
    let git = |args: &[&str]| {
        let mut command = Command::new("git");
        command
            .arg("-C")
            .arg(repo)
            .args(args)
            .arg("--")
            .args(INPUTS);
        let text = exec::output(&mut command).ok()?;
        Some(String::from_utf8_lossy(&text).trim().to_owned())
    };
    if !git(&["status", "--porcelain"])?.is_empty() {
        return None;
    }
    git(&["log", "-1", "--format=%ct"])?.parse().ok()
}

fn newest(repo: &Path) -> Result<u64> {
    let mut newest = 0;
    for input in INPUTS {
        for entry in WalkDir::new(repo.join(input)) {
            let entry = entry.with_context(|| format!("cannot list {input}"))?;
            if entry.file_type().is_file() {
                let changed = entry.metadata().context("no metadata")?.modified()?;
                let age = changed.duration_since(UNIX_EPOCH).unwrap_or_default();
                newest = newest.max(age.as_secs());
            }
        }
    }
    Ok(newest)
}

/// Seconds since 1970 as `20261127062714`, in UTC.
pub fn date(seconds: u64) -> Result<String> {
    let mut date = Command::new("date");
    date.args(["--utc", &format!("--date=@{seconds}"), "+%Y%m%d%H%M%S"]);
    let text = exec::output(&mut date)?;
    Ok(String::from_utf8_lossy(&text).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_sources_have_a_later_stamp() {
        assert_eq!(date(0).unwrap(), "19700101000000");
        assert_eq!(date(1_795_760_834).unwrap(), "20261127062714");
        let repo = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        assert!(seconds(repo).unwrap() > 1_700_000_000);
    }
}
