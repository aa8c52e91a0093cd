// SPDX-License-Identifier: GPL-2.0
//! `make matrix`: the tests of everybody who uses device-dax, on every kernel that there is: both
//! series, C and Rust, as modules and built in. A run of all of them writes the tables of
//! docs/results/consumers.md; KERNEL, IMPL, BUILTIN and ONLY pick some.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;

use crate::cargo::Cargo;
use crate::groups::{self, Group};
use crate::progress::human;
use crate::report::{count, Report, TestResult, Verdict, QUIET};
use crate::settings;
use crate::spec::{Impl, SERIES};
use crate::table::{self, Table};
use crate::testrun::Tests;

pub const DOCUMENT: &str = "docs/results/consumers.md";

/// The columns of a series' table.
const COLUMNS: [(Impl, bool); 4] = [
    (Impl::C, false),
    (Impl::Rust, false),
    (Impl::C, true),
    (Impl::Rust, true),
];

/// A group's results on a kernel.
struct Cell {
    series: &'static str,
    column: (Impl, bool),
    group: String,
    results: Vec<TestResult>,
}

/// The kernels and groups that the variables ask for.
struct Wanted {
    series: Vec<&'static str>,
    columns: Vec<(Impl, bool)>,
    groups: Vec<Group>,
    /// Whether the variables leave out nothing but, perhaps, a series.
    complete: bool,
}

pub fn main(repo: &Path) -> Result<ExitCode> {
    let cargo = Cargo::find(repo)?;
    let program = cargo.build_static("dax-guest")?;
    let wanted = wanted(groups::list(&program)?)?;
    let kernels = wanted.series.len() * wanted.columns.len();
    let total = kernels * wanted.groups.len();
    eprintln!(
        "{} groups of consumers' tests on {kernels} kernels: {total} guests",
        wanted.groups.len()
    );
    let mut run = Run {
        program,
        total,
        start: Instant::now(),
        report: Report::default(),
        cells: Vec::new(),
    };
    for &series in &wanted.series {
        for &column in &wanted.columns {
            let mut spec = settings::spec_for(series, column.0)?;
            spec.builtin = column.1;
            let tests = Tests {
                repo,
                spec,
                cargo: &cargo,
                began: run.start,
            };
            run.kernel(&tests, series, column, &wanted.groups);
        }
    }
    if wanted.complete {
        for &series in &wanted.series {
            let text = section(series, &wanted.groups, &run.cells);
            table::replace(&repo.join(DOCUMENT), &format!("consumers {series}"), &text)?;
            eprintln!("{DOCUMENT}: table of Linux {series} written");
        }
    } else {
        eprintln!("{DOCUMENT} is not written: only a run of everything writes it");
    }
    Ok(run.report.finish())
}

/// Reads the variables.
fn wanted(groups: Vec<Group>) -> Result<Wanted> {
    let only = settings::var("ONLY")?;
    let builtin = match settings::var("BUILTIN")? {
        None => None,
        Some(_) => Some(settings::flag("BUILTIN")?),
    };
    let impls = settings::all_impls()?;
    let asked = |(imp, built_in): &(Impl, bool)| {
        impls.contains(imp) && builtin.is_none_or(|only| only == *built_in)
    };
    let columns: Vec<(Impl, bool)> = COLUMNS.into_iter().filter(asked).collect();
    let consumers = || groups.iter().filter(|g| g.consumer.is_some());
    if let Some(only) = &only {
        if !consumers().any(|g| g.group == *only) {
            let names: Vec<&str> = consumers().map(|g| g.group.as_str()).collect();
            return Err(settings::unknown("ONLY", only, "consumer", &names));
        }
    }
    let usual = settings::spec_for(SERIES[0], Impl::Rust)?.is_usual_but_for_builtin();
    Ok(Wanted {
        series: settings::all_series(&SERIES)?,
        complete: columns.len() == COLUMNS.len() && only.is_none() && usual,
        columns,
        groups: groups
            .into_iter()
            .filter(|g| g.consumer.is_some())
            .filter(|g| only.as_ref().is_none_or(|only| *only == g.group))
            .collect(),
    })
}

/// A run that is under way.
struct Run {
    program: PathBuf,
    /// Number of guests of the whole run.
    total: usize,
    start: Instant,
    report: Report,
    cells: Vec<Cell>,
}

impl Run {
    /// Runs all groups on one kernel.
    fn kernel(
        &mut self,
        tests: &Tests<'_>,
        series: &'static str,
        column: (Impl, bool),
        groups: &[Group],
    ) {
        // Build once: a kernel that cannot be built is not tried again with each group.
        let built = tests.kernel().map(drop).map_err(|e| format!("{e:#}"));
        for group in groups.iter().filter(|g| g.is_for(column.0)) {
            let name = format!("{} on {}", group.group, tests.spec);
            let number = self.cells.len() + 1;
            let so_far = human(self.start.elapsed());
            eprintln!("{number} of {}, after {so_far}: {name}", self.total);
            let began = Instant::now();
            let results = match &built {
                Ok(()) => results(tests, group, &self.program, &name),
                Err(why) => vec![TestResult::failed(&*name, why)],
            };
            self.report
                .add(&name, &human(began.elapsed()), results.clone());
            self.cells.push(Cell {
                series,
                column,
                group: group.group.clone(),
                results,
            });
        }
    }
}

/// Runs a group. If no test of it ran, that is a failure.
fn results(tests: &Tests<'_>, group: &Group, program: &Path, name: &str) -> Vec<TestResult> {
    let mut results = match tests.guest(group, &group.group, program) {
        Ok(results) => results,
        Err(error) => vec![TestResult::failed("guest", &format!("{error:#}"))],
    };
    let quiet = |p: &TestResult| p.name.ends_with(QUIET) && p.verdict == Verdict::Passed;
    results.retain(|p| !quiet(p));
    if !results.iter().any(ran) {
        results.push(TestResult::failed("tests", "not one of them was run"));
    }
    let prefix = format!("{}: ", group.group);
    for result in &mut results {
        let own = result.name.strip_prefix(&prefix).unwrap_or(&result.name);
        result.name = format!("{name}: {own}");
    }
    results
}

/// Whether the test was run, passed or not.
fn ran(result: &TestResult) -> bool {
    !matches!(result.verdict, Verdict::Skipped(_))
}

/// A series' table, and what was skipped.
fn section(series: &str, groups: &[Group], cells: &[Cell]) -> String {
    let cells: Vec<&Cell> = cells.iter().filter(|c| c.series == series).collect();
    let mut text = results_table(groups, &cells).markdown();
    let skips = skips(&cells);
    if !skips.rows.is_empty() {
        text += "\nSkipped:\n\n";
        text += &skips.markdown();
    }
    text
}

/// The heading of a column.
fn heading((imp, built_in): (Impl, bool)) -> String {
    let imp = match imp {
        Impl::C => "C",
        Impl::Rust => "Rust",
    };
    let kind = if built_in { "built in" } else { "modules" };
    format!("{imp}, {kind}")
}

fn results_table(groups: &[Group], cells: &[&Cell]) -> Table {
    let head = ["group", "what is exercised"].map(str::to_owned);
    let cell = |group: &str, column| {
        let found = cells
            .iter()
            .find(|c| c.group == group && c.column == column);
        found.map_or("-".to_owned(), |c| outcome(&c.results))
    };
    let row = |group: &Group| {
        let about = group.consumer.clone().unwrap_or_default();
        let outcomes = COLUMNS.map(|column| cell(&group.group, column));
        [group.group.clone(), about]
            .into_iter()
            .chain(outcomes)
            .collect()
    };
    Table {
        head: head.into_iter().chain(COLUMNS.map(heading)).collect(),
        rows: groups.iter().map(row).collect(),
    }
}

/// The text of a cell: `12 passed`, with failures in bold.
fn outcome(results: &[TestResult]) -> String {
    let counts = count(results);
    let green = counts.replace(", 0 failed", "");
    if green == counts {
        format!("**{counts}**")
    } else {
        green
    }
}

/// Each test that was skipped, on which kernels, and why: a line for each reason.
fn skips(cells: &[&Cell]) -> Table {
    let mut rows: Vec<[String; 3]> = Vec::new();
    for cell in cells {
        for result in &cell.results {
            let Verdict::Skipped(why) = &result.verdict else {
                continue;
            };
            let test = result.name.rsplit(": ").next().unwrap_or_default();
            let test = format!("{}/{test}", cell.group);
            let place = heading(cell.column);
            match rows.iter_mut().find(|r| r[0] == test && r[2] == *why) {
                Some(row) => row[1] += &format!("; {place}"),
                None => rows.push([test, place, why.clone()]),
            }
        }
    }
    Table {
        head: ["test", "on", "why"].map(str::to_owned).to_vec(),
        rows: rows.into_iter().map(Vec::from).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(column: (Impl, bool), results: Vec<TestResult>) -> Cell {
        Cell {
            series: "7.3",
            column,
            group: "cxl".to_owned(),
            results,
        }
    }

    #[test]
    fn a_failure_stands_out() {
        let good = [TestResult::passed("a"), TestResult::skipped("b", "no")];
        assert_eq!(outcome(&good), "1 passed, 1 skipped");
        let bad = [TestResult::passed("a"), TestResult::failed("b", "x")];
        assert_eq!(outcome(&bad), "**1 passed, 1 failed**");
        let many: Vec<TestResult> = (0..10).map(|_| TestResult::failed("b", "x")).collect();
        assert!(outcome(&many).starts_with("**"));
    }

    #[test]
    fn a_skip_is_listed_once_with_all_its_places() {
        let skipped = || vec![TestResult::skipped("cxl on Linux: unload", "built in")];
        let cells = [
            cell((Impl::C, true), skipped()),
            cell((Impl::Rust, true), skipped()),
            cell((Impl::C, false), vec![TestResult::passed("unload")]),
        ];
        let cells: Vec<&Cell> = cells.iter().collect();
        let expected = ["cxl/unload", "C, built in; Rust, built in", "built in"];
        assert_eq!(skips(&cells).rows, [expected.map(str::to_owned).to_vec()]);
    }
}
