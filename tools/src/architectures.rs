// SPDX-License-Identifier: GPL-2.0
//! `lab architectures`: which groups of guest tests run on another architecture, and what came of
//! them. A run of all groups writes the table of that architecture in
//! docs/results/architectures.md.

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{bail, Result};

use crate::arch::Arch;
use crate::cargo::Cargo;
use crate::groups::{self, Group};
use crate::progress::human;
use crate::report::{count, Report, TestResult, Verdict};
use crate::settings;
use crate::table::{self, Table};
use crate::testrun::Tests;

pub const DOCUMENT: &str = "docs/results/architectures.md";
/// The row of the KUnit suites, which are no group of guest tests.
const KUNIT: &str = "kunit";

/// A group, and what came of it.
struct Row {
    group: String,
    outcome: String,
    /// The tests that did not pass, and why.
    notes: Vec<String>,
}

pub fn main(repo: &Path) -> Result<ExitCode> {
    let spec = settings::spec()?;
    if spec.arch == Arch::X86 {
        bail!("ARCH=arm64 or ARCH=riscv: make test is for x86");
    }
    let cargo = Cargo::find(repo)?;
    let only = settings::var("ONLY")?;
    let wanted = |name: &str| only.as_deref().is_none_or(|only| only == name);
    let tests = Tests {
        repo,
        spec,
        cargo: &cargo,
        began: Instant::now(),
    };
    let program = cargo.build_for(tests.spec.arch, "dax-guest")?;
    let mut report = Report::default();
    let mut rows = Vec::new();
    if wanted(KUNIT) {
        rows.push(row(KUNIT, &tests.kunit()?, &mut report, &tests));
    }
    for group in groups::list(&cargo.build_static("dax-guest")?)? {
        if !wanted(&group.group) || !group.is_for(tests.spec.imp) {
            continue;
        }
        let results = results(&tests, &group, &program);
        rows.push(row(&group.group, &results, &mut report, &tests));
    }
    if only.is_none() {
        let name = tests.spec.flavour();
        table::replace(&repo.join(DOCUMENT), &name, &table(&rows).markdown())?;
        eprintln!("{DOCUMENT}: the table of {name} is written");
    } else {
        eprintln!("{DOCUMENT} is left as it is: not all was asked for");
    }
    Ok(report.finish())
}

/// The results of a group, or why there are none.
fn results(tests: &Tests<'_>, group: &Group, program: &Path) -> Vec<TestResult> {
    if let Some(why) = tests.spec.left_out(&group.group) {
        return vec![TestResult::skipped(&*group.group, why)];
    }
    match tests.guest(group, &group.group, program) {
        Ok(results) => results,
        Err(error) => vec![TestResult::failed(&*group.group, &format!("{error:#}"))],
    }
}

fn row(group: &str, results: &[TestResult], report: &mut Report, tests: &Tests<'_>) -> Row {
    report.add(group, &human(tests.began.elapsed()), results.to_vec());
    let notes = results.iter().filter_map(|result| {
        let test = result.name.rsplit(": ").next().unwrap_or_default();
        match &result.verdict {
            Verdict::Passed => None,
            Verdict::Skipped(why) if result.name == group => Some(why.clone()),
            Verdict::Skipped(why) => Some(format!("{test}: {why}")),
            Verdict::Failed => Some(format!("**{test} failed**")),
        }
    });
    let ran = results
        .iter()
        .any(|result| !matches!(result.verdict, Verdict::Skipped(_)));
    Row {
        group: group.to_owned(),
        outcome: match ran {
            true => count(results).replace(", 0 failed", ""),
            false => "not run".to_owned(),
        },
        notes: notes.collect(),
    }
}

fn table(rows: &[Row]) -> Table {
    let cells = |row: &Row| {
        let notes = row.notes.join("; ");
        vec![row.group.clone(), row.outcome.clone(), notes]
    };
    Table {
        head: ["group", "tests", "not passed, and why"]
            .map(str::to_owned)
            .to_vec(),
        rows: rows.iter().map(cells).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_what_did_not_pass() {
        let rows = [Row {
            group: "mmap".to_owned(),
            outcome: "9 passed, 1 failed".to_owned(),
            notes: vec!["**a failed**".to_owned(), "b: no".to_owned()],
        }];
        let text = table(&rows).markdown();
        assert!(text.ends_with("| mmap | 9 passed, 1 failed | **a failed**; b: no |\n"));
    }
}
