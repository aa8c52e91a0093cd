// SPDX-License-Identifier: GPL-2.0
//! `make mutants`: mistakes are put into the pure modules, one at a time, and the host tests must
//! see each. Those that no test can see are in docs/mutants.md, each with the reason;
//! ONLY=allocator picks one file.

mod calls;
mod found;
mod judge;
mod tool;
mod tree;

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{bail, Context, Result};

use crate::cache::{self, Lock};
use crate::cargo::Cargo;
use crate::progress::human;
use crate::report::Report;
use crate::settings;
use crate::table;
use found::{Mutant, Score};

/// The table of survivors, which people write.
const SURVIVORS: &str = "docs/mutants.md";
/// The scores, which a whole run writes.
pub const DOCUMENT: &str = "docs/results/mutants.md";
/// The directory of the modules, as the host tests' `#[path]` has it.
const PURE: &str = "tests/host/src/../../../src/ranges";
/// The directory for all of this. It is in the checkout, so that the build root has it too.
const WORK: &str = "target/mutants";
/// The tree that the mistakes are put into.
const TREE: &str = "target/mutants/tree";

pub fn main(repo: &Path) -> Result<ExitCode> {
    let start = Instant::now();
    let only = settings::var("ONLY")?;
    let cargo = Cargo::find(repo)?;
    let program = tool::ensure(&cargo)?;
    let _lock = Lock::take("mutants")?;
    tree::make(repo)?;
    let mut mutants = tool::run(repo, &cargo, &program, only.as_deref())?;
    if mutants.is_empty() {
        bail!("ONLY={}: no such module", only.unwrap_or_default());
    }
    mutants.extend(calls::run(repo, &cargo, &files(&mutants))?);

    let survivors = repo.join(SURVIVORS);
    let rows = judge::rows(&cache::read_text(&survivors)?)
        .with_context(|| format!("in {}", survivors.display()))?;
    let mut report = Report::default();
    for file in files(&mutants) {
        let results = judge::results(&file, &mutants, &rows);
        let score = Score::of(&mutants, Some(&file)).to_string();
        report.add(&file, &score, results);
    }
    if only.is_none() {
        report.add("the table", SURVIVORS, judge::of_no_file(&mutants, &rows));
        let text = judge::scores(&mutants).markdown();
        table::replace(&repo.join(DOCUMENT), "mutants", &text)?;
    }
    let score = Score::of(&mutants, None);
    println!("all: {score}, after {}", human(start.elapsed()));
    Ok(report.finish())
}

/// The files that have mutants, sorted.
fn files(mutants: &[Mutant]) -> Vec<String> {
    let mut files: Vec<String> = mutants.iter().map(|m| m.file.clone()).collect();
    files.sort();
    files.dedup();
    files
}
