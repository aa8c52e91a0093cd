// SPDX-License-Identifier: GPL-2.0
//! `make colours`: counts how often two tenants push each other's data out of a cache. A guest with
//! a memory-side cache makes their devices in several ways, on C and on Rust, and tells their page
//! frames. A model of the cache, and one of flat memory mode, does the rest here. A run of both
//! drivers writes docs/results/colours.md, the JSON and the charts beside it.

mod chart;
mod document;
mod figures;

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{bail, Context, Result};
use serde_json::json;

use crate::bench;
use crate::cache;
use crate::cargo::Cargo;
use crate::groups;
use crate::progress::human;
use crate::report::{Report, TestResult};
use crate::settings;
use crate::spec::{Impl, SERIES};
use crate::table;
use crate::testrun::Tests;
use figures::{Case, Guest};

pub const DOCUMENT: &str = "docs/results/colours.md";
const JSON: &str = "docs/results/colours.json";
const CHARTS: &str = "docs/results/charts";

/// The group whose guest has a memory-side cache.
const GROUP: &str = "layout";
/// Number of times that the devices grow in turns, each time by other amounts.
const TIMES: u64 = 3;

pub fn main(repo: &Path) -> Result<ExitCode> {
    let impls = settings::all_impls()?;
    let seed = settings::count("SEED")?.unwrap_or(1);
    let [series] = settings::all_series(&[SERIES[0]])?[..] else {
        bail!("KERNEL=all: {DOCUMENT} is about one series; name one, or leave KERNEL out");
    };
    let usual = settings::spec_for(series, Impl::Rust)?.is_usual() && series == SERIES[0];
    let complete = usual && impls.len() == 2 && seed == 1;
    let cargo = Cargo::find(repo)?;
    let program = cargo.build_static("dax-guest")?;
    let groups = groups::list(&program)?;
    let group = groups.iter().find(|g| g.group == GROUP);
    let group = group.with_context(|| format!("dax-guest list: no group {GROUP}"))?;
    eprintln!("{} guests, one after the other", impls.len());

    let mut report = Report::default();
    let mut guests = Vec::new();
    let mut cases = Vec::new();
    for &imp in &impls {
        let began = Instant::now();
        let tests = Tests {
            repo,
            spec: settings::spec_for(series, imp)?,
            cargo: &cargo,
            began,
        };
        let seeds: Vec<String> = (seed..seed + TIMES).map(|s| s.to_string()).collect();
        let command = format!("/dax-guest colours {}", seeds.join(","));
        let label = format!("colours on {}", tests.spec);
        let text = tests.command(group, &label, &program, &command)?;
        let guest = Guest::read(&text)?;
        let new = guest.cases(seed);
        let results = new.iter().map(result).collect();
        report.add(&label, &human(began.elapsed()), results);
        cases.extend(new);
        guests.push(guest);
    }
    let section = document::section(&bench::commit(repo)?, &guests, &cases);
    println!("{section}");
    if complete {
        let all = json!({ "guests": guests, "cases": cases });
        let all = serde_json::to_string(&all).context("cannot write JSON")? + "\n";
        cache::write_whole(&repo.join(JSON), all.as_bytes())?;
        let charts = repo.join(CHARTS);
        cache::mkdir(&charts)?;
        chart::write_all(&charts, &cases)?;
        table::replace(&repo.join(DOCUMENT), "colours", &section)?;
        eprintln!("{DOCUMENT}, {JSON} and {CHARTS} written");
    } else {
        eprintln!("{DOCUMENT} is not written: only a run with the usual settings writes it");
    }
    Ok(report.finish())
}

/// The result of a case. It has passed if tenants whose memory daxlayout chose do not push each
/// other out, and others do.
fn result(case: &Case) -> TestResult {
    let name = format!("{}, {}: {}", case.driver, case.kind.name(), case.title());
    let trouble = case.trouble();
    match trouble.is_empty() {
        true => TestResult::passed(name),
        false => TestResult::failed(name, &trouble.join("\n")),
    }
}
