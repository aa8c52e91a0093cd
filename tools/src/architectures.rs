// SPDX-License-Identifier: GPL-2.0
//! `make architectures`: runs the groups of guest tests on another architecture. The row of a group
//! in docs/results/architectures.md is written as soon as the group ends, since all of them take
//! long.

use std::iter;
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

pub fn main(repo: &Path) -> Result<ExitCode> {
    let spec = settings::spec()?;
    if spec.arch == Arch::X86 {
        bail!("set ARCH=arm64; for x86 there is make test");
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
    let all = groups::list(&cargo.build_static("dax-guest")?)?;
    let all: Vec<Group> = all
        .into_iter()
        .filter(|group| group.is_for(tests.spec.imp))
        .collect();
    let names = iter::once(KUNIT).chain(all.iter().map(|group| group.group.as_str()));
    let names: Vec<&str> = names.collect();
    if let Some(only) = only.as_deref().filter(|only| !names.contains(only)) {
        return Err(settings::unknown("ONLY", only, "group", &names));
    }
    let document = repo.join(DOCUMENT);
    let mut report = Report::default();
    let mut add = |name: &str, results: Vec<TestResult>| -> Result<()> {
        let flavour = tests.spec.flavour();
        let old = table::current(&document, &flavour)?;
        let new = updated(&old, &names, row(name, &results));
        report.add(name, &human(tests.began.elapsed()), results);
        table::replace(&document, &flavour, &new.markdown())
    };
    if wanted(KUNIT) {
        add(KUNIT, tests.kunit()?)?;
    }
    for group in all.iter().filter(|group| wanted(&group.group)) {
        add(&group.group, results(&tests, group, &program))?;
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

/// The row of a group.
fn row(group: &str, results: &[TestResult]) -> Vec<String> {
    let notes = results.iter().filter_map(|result| {
        let test = result.name.rsplit(": ").next().unwrap_or_default();
        match &result.verdict {
            Verdict::Passed => None,
            Verdict::Skipped(why) if result.name == group => Some(why.clone()),
            Verdict::Skipped(why) => Some(format!("{test}: {why}")),
            Verdict::Failed => Some(format!("**{test} failed**")),
        }
    });
    let notes: Vec<String> = notes.collect();
    let ran = results
        .iter()
        .any(|result| !matches!(result.verdict, Verdict::Skipped(_)));
    let outcome = match ran {
        true => count(results).replace(", 0 failed", ""),
        false => "not run".to_owned(),
    };
    vec![group.to_owned(), outcome, notes.join("; ")]
}

/// The table with a new row. Groups have the order of `names`; those that are no more are left out.
fn updated(old: &str, names: &[&str], new: Vec<String>) -> Table {
    let mut rows: Vec<Vec<String>> = old
        .lines()
        .filter_map(|line| {
            let cells = line.strip_prefix("| ")?.strip_suffix(" |")?;
            Some(cells.split(" | ").map(str::to_owned).collect())
        })
        .filter(|row: &Vec<String>| row[0] != new[0])
        .collect();
    rows.push(new);
    rows.retain(|row| names.contains(&row[0].as_str()));
    rows.sort_by_key(|row| names.iter().position(|name| *name == row[0]));
    Table {
        head: ["group", "tests", "not passed, and why"]
            .map(str::to_owned)
            .to_vec(),
        rows,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_what_did_not_pass() {
        let results = [
            TestResult::passed("mmap: a"),
            TestResult::failed("mmap: b", "x"),
            TestResult::skipped("mmap: c", "no"),
        ];
        let expected = [
            "mmap",
            "1 passed, 1 failed, 1 skipped",
            "**b failed**; c: no",
        ];
        assert_eq!(row("mmap", &results), expected);
        let expected = ["cxl", "not run", "no CXL"];
        assert_eq!(
            row("cxl", &[TestResult::skipped("cxl", "no CXL")]),
            expected
        );
    }

    #[test]
    fn a_group_has_one_row() {
        let names = ["kunit", "mmap", "mm"];
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let table = updated("Not run so far.\n", &names, row(["mm", "1 passed", ""]));
        let text = table.markdown();
        let table = updated(&text, &names, row(["kunit", "2 passed", ""]));
        let text = table.markdown();
        let table = updated(&text, &names, row(["mm", "3 passed", "x"]));
        let expected = [row(["kunit", "2 passed", ""]), row(["mm", "3 passed", "x"])];
        assert_eq!(table.rows, expected);
        assert_eq!(
            updated(&text, &names[..1], row(["mm", "", ""])).rows.len(),
            1
        );
    }
}
