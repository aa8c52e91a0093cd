// SPDX-License-Identifier: GPL-2.0
//! `make public`: runs the tests that others wrote, on the C and on the Rust kernel.

mod guests;
mod kunit_py;
mod list;
mod mocks;
mod ndctl;
mod verdict;

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;

use crate::arch::Arch;
use crate::progress::human;
use crate::report::{Report, TestResult};
use crate::root::Root;
use crate::settings;
use crate::spec::{Impl, Spec, SERIES};
use crate::table::{self, Table};

use guests::Guests;
use list::{Test, TESTS};
use verdict::{judge, judge_pair, End, Outcome};

pub const DOCUMENT: &str = "docs/results/public-tests.md";

/// One line of the table.
struct Row {
    name: &'static str,
    on: &'static str,
    from: &'static str,
    /// The outcomes, each if it was asked for.
    c: Option<Outcome>,
    rust: Option<Outcome>,
    notes: Vec<String>,
}

pub fn main(repo: &Path) -> Result<ExitCode> {
    let only = settings::var("ONLY")?;
    let impls = settings::all_impls()?;
    let series = settings::all_series(&SERIES[..1])?;
    let arch = settings::arch()?;
    let wanted = |name: &str| only.as_deref().is_none_or(|only| only == name);
    if !TESTS.iter().any(|t| wanted(t.name)) {
        let names: Vec<&str> = TESTS.iter().map(|t| t.name).collect();
        let only = only.unwrap_or_default();
        return Err(settings::unknown("ONLY", &only, "test", &names));
    }

    let root = Root::ensure(repo)?;
    let mut report = Report::default();
    for series in series {
        let guests = Guests::new(repo, &root, arch)?;
        let mut rows = Vec::new();
        for test in TESTS.iter().filter(|t| wanted(t.name)) {
            let run = |spec: &Spec| guests.run(test, spec);
            let add = |name: &str, took: &str, results| report.add(name, took, results);
            rows.push(row(test, (series, arch), &impls, run, add));
        }
        if only.is_none() && impls.len() == 2 {
            let text = table(&rows).markdown();
            let text = format!("ndctl {}.\n\n{text}", guests.version());
            table::replace(&repo.join(DOCUMENT), &marker(series, arch), &text)?;
        }
    }
    Ok(report.finish())
}

/// What is to be said about a test on an architecture.
fn notes(test: &Test, arch: Arch) -> Vec<String> {
    let own = match arch {
        Arch::Arm64 => test.note_for_arm64,
        Arch::X86 | Arch::Riscv => "",
    };
    let notes = [test.note, own].into_iter().filter(|n| !n.is_empty());
    notes.map(str::to_owned).collect()
}

/// The name of a table in the document.
fn marker(series: &str, arch: Arch) -> String {
    match arch {
        Arch::X86 => format!("public tests {series}"),
        other => format!("public tests {series} {}", other.name()),
    }
}

/// Runs one test on each kernel that is asked for, and adds what came of it.
fn row(
    test: &Test,
    (series, arch): (&str, Arch),
    impls: &[Impl],
    run: impl Fn(&Spec) -> Result<Outcome>,
    mut add: impl FnMut(&str, &str, Vec<TestResult>),
) -> Row {
    let mut row = Row {
        name: test.name,
        on: test.on,
        from: test.from,
        c: None,
        rust: None,
        notes: notes(test, arch),
    };
    for &imp in impls {
        let spec = Spec::new(series, imp).on(arch);
        let name = format!("{} on {}, {spec}", test.name, test.on);
        let start = Instant::now();
        let outcome = run(&spec).unwrap_or_else(|error| Outcome::failed(format!("{error:#}")));
        let mut results = vec![judge(&name, &outcome)];
        if outcome.end == End::NotRun && !row.notes.contains(&outcome.detail) {
            row.notes.push(outcome.detail.clone());
        }
        match imp {
            Impl::C => row.c = Some(outcome),
            Impl::Rust => row.rust = Some(outcome),
        }
        if let (Some(c), Some(rust)) = (&row.c, &row.rust) {
            results.extend(judge_pair(&name, c, rust));
        }
        add(&name, &human(start.elapsed()), results);
    }
    row
}

fn table(rows: &[Row]) -> Table {
    let cell = |outcome: &Option<Outcome>| outcome.as_ref().map_or("-".to_owned(), Outcome::cell);
    Table {
        head: ["test", "of", "machine", "C", "Rust", "note"]
            .map(str::to_owned)
            .to_vec(),
        rows: rows
            .iter()
            .map(|row| {
                vec![
                    row.name.to_owned(),
                    row.from.to_owned(),
                    row.on.to_owned(),
                    cell(&row.c),
                    cell(&row.rust),
                    row.notes.join("; "),
                ]
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Verdict;

    /// The failures of a test that passes on one of the drivers only.
    fn failures(impls: &[Impl], passes_on: Impl) -> Vec<String> {
        let mut failed = Vec::new();
        let run = |spec: &Spec| match spec.imp == passes_on {
            true => Ok(Outcome::passed("")),
            false => Ok(Outcome::failed("")),
        };
        row(
            &TESTS[0],
            (SERIES[0], Arch::X86),
            impls,
            run,
            |_, _, results| {
                let bad = results.into_iter().filter(|r| r.verdict == Verdict::Failed);
                failed.extend(bad.map(|result| result.name));
            },
        );
        failed
    }

    #[test]
    fn a_test_that_passes_on_c_only_is_worse_on_rust_in_either_order() {
        for impls in [[Impl::C, Impl::Rust], [Impl::Rust, Impl::C]] {
            let worse = |passes_on| {
                let failed = failures(&impls, passes_on);
                failed.iter().any(|name| name.ends_with("worse than on C"))
            };
            assert!(worse(Impl::C));
            assert!(!worse(Impl::Rust));
        }
    }
}
