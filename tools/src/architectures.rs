// SPDX-License-Identifier: GPL-2.0
//! `make architectures`: runs the groups of guest tests on another architecture. The row of a group
//! in docs/results/architectures.md is written as soon as the group ends, since all of them take
//! long.

use std::cmp::Reverse;
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
use crate::spec::Impl;
use crate::table::{self, Table};
use crate::testrun::{group_left_out, Tests};

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
    let program = tests.program("dax-guest")?;
    let all = groups::list(&cargo.build_static("dax-guest")?)?;
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
        let new = updated(&old, &names, row(name, tests.spec.imp, &results));
        report.add(name, &human(tests.began.elapsed()), results);
        table::replace(&document, &flavour, &new.markdown())
    };
    if wanted(KUNIT) && tests.spec.imp == Impl::Rust {
        add(KUNIT, tests.kunit()?)?;
    }
    let runs = |group: &&Group| wanted(&group.group) && group.is_for(tests.spec.imp);
    for group in all.iter().filter(runs) {
        add(&group.group, results(&tests, group, &program))?;
    }
    Ok(report.finish())
}

/// The results of a group, or why there are none.
fn results(tests: &Tests<'_>, group: &Group, program: &Path) -> Vec<TestResult> {
    if let Some(why) = group_left_out(group, &tests.spec) {
        return vec![TestResult::skipped(&*group.group, why)];
    }
    match tests.guest(group, &group.group, program) {
        Ok(results) => results,
        Err(error) => vec![TestResult::failed(&*group.group, &format!("{error:#}"))],
    }
}

/// The row of a group with a driver.
fn row(group: &str, imp: Impl, results: &[TestResult]) -> Vec<String> {
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
    vec![
        group.to_owned(),
        imp.name().to_owned(),
        outcome,
        notes.join("; "),
    ]
}

/// The table with a new row. Groups have the order of `names`; those that are no more are left out.
fn updated(old: &str, names: &[&str], new: Vec<String>) -> Table {
    let mut rows: Vec<Vec<String>> = old
        .lines()
        .filter_map(|line| {
            let cells = line.strip_prefix("| ")?.strip_suffix(" |")?;
            Some(cells.split(" | ").map(str::to_owned).collect())
        })
        .filter(|row: &Vec<String>| row[..2] != new[..2])
        .collect();
    rows.push(new);
    rows.retain(|row| names.contains(&row[0].as_str()));
    let place = |row: &Vec<String>| names.iter().position(|name| *name == row[0]);
    rows.sort_by_key(|row| (place(row), Reverse(row[1].clone())));
    Table {
        head: ["group", "driver", "tests", "not passed, and why"]
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
            "rust",
            "1 passed, 1 failed, 1 skipped",
            "**b failed**; c: no",
        ];
        assert_eq!(row("mmap", Impl::Rust, &results), expected);
        let expected = ["cxl", "c", "not run", "no CXL"];
        assert_eq!(
            row("cxl", Impl::C, &[TestResult::skipped("cxl", "no CXL")]),
            expected
        );
    }

    #[test]
    fn a_group_has_one_row_for_each_driver() {
        let names = ["kunit", "mmap", "mm"];
        let row = |cells: [&str; 4]| cells.map(str::to_owned).to_vec();
        let mut text = "Not run so far.\n".to_owned();
        for cells in [
            ["mm", "c", "1 passed", ""],
            ["mm", "rust", "1 passed", ""],
            ["kunit", "rust", "2 passed", ""],
            ["mm", "rust", "3 passed", "x"],
        ] {
            text = updated(&text, &names, row(cells)).markdown();
        }
        let expected = [
            row(["kunit", "rust", "2 passed", ""]),
            row(["mm", "rust", "3 passed", "x"]),
            row(["mm", "c", "1 passed", ""]),
        ];
        let again = updated(&text, &names, expected[0].clone());
        assert_eq!(again.rows, expected);
        let fewer = updated(&text, &names[..1], expected[1].clone());
        assert_eq!(fewer.rows, expected[..1]);
    }
}
