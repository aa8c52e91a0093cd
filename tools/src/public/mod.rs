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

use crate::progress::human;
use crate::report::Report;
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
    /// The outcomes by implementation, each if it was asked for.
    outcomes: [Option<Outcome>; 2],
    notes: Vec<String>,
}

pub fn main(repo: &Path) -> Result<ExitCode> {
    let only = settings::var("ONLY")?;
    let impls = settings::all_impls()?;
    let series = settings::all_series(&SERIES[..1])?;
    let wanted = |name: &str| only.as_deref().is_none_or(|only| only == name);
    if !TESTS.iter().any(|t| wanted(t.name)) {
        let names: Vec<&str> = TESTS.iter().map(|t| t.name).collect();
        let only = only.unwrap_or_default();
        return Err(settings::unknown("ONLY", &only, "test", &names));
    }

    let root = Root::ensure(repo)?;
    let mut report = Report::default();
    for series in series {
        let guests = Guests::new(repo, &root)?;
        let mut rows = Vec::new();
        for test in TESTS.iter().filter(|t| wanted(t.name)) {
            rows.push(row(test, series, &impls, &guests, &mut report));
        }
        if only.is_none() && impls.len() == 2 {
            let text = table(&rows).markdown();
            let text = format!("ndctl {}.\n\n{text}", guests.version());
            table::replace(
                &repo.join(DOCUMENT),
                &format!("public tests {series}"),
                &text,
            )?;
        }
    }
    Ok(report.finish())
}

/// Runs one test on each kernel that is asked for.
fn row(test: &Test, series: &str, impls: &[Impl], guests: &Guests<'_>, report: &mut Report) -> Row {
    let mut row = Row {
        name: test.name,
        on: test.on,
        from: test.from,
        outcomes: [None, None],
        notes: if test.note.is_empty() {
            Vec::new()
        } else {
            vec![test.note.to_owned()]
        },
    };
    for &imp in impls {
        let spec = Spec::new(series, imp);
        let name = format!("{} on {}, {spec}", test.name, test.on);
        let start = Instant::now();
        let outcome = guests
            .run(test, &spec)
            .unwrap_or_else(|error| Outcome::failed(format!("{error:#}")));
        let mut results = vec![judge(&name, &outcome)];
        if outcome.end == End::NotRun && !row.notes.contains(&outcome.detail) {
            row.notes.push(outcome.detail.clone());
        }
        row.outcomes[imp as usize] = Some(outcome);
        let [c, rust] = [Impl::C, Impl::Rust].map(|imp| row.outcomes[imp as usize].as_ref());
        if let (Some(c), Some(rust)) = (c, rust) {
            results.extend(judge_pair(&name, c, rust));
        }
        report.add(&name, &human(start.elapsed()), results);
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
                    cell(&row.outcomes[Impl::C as usize]),
                    cell(&row.outcomes[Impl::Rust as usize]),
                    row.notes.join("; "),
                ]
            })
            .collect(),
    }
}
