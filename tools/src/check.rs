// SPDX-License-Identifier: GPL-2.0
//! `make check`: the checks that need no guest.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;

use crate::cargo::{Cargo, Output};
use crate::checkpatch;
use crate::clippy;
use crate::floors;
use crate::libtest;
use crate::progress::human;
use crate::report::{Report, TestResult};
use crate::rules;
use crate::settings;

/// The depth to which the host tests search, here and in `make test`.
#[derive(Clone, Copy)]
pub enum Depth {
    Quick,
    Full,
}

pub fn main(repo: &Path) -> Result<ExitCode> {
    let mut report = Report::default();
    let cargo = Cargo::find(repo)?;
    rules_group(repo, &cargo, &mut report)?;
    host_group(&cargo, Depth::Quick, &mut report)?;
    Ok(report.finish())
}

/// Format, the project's rules, lints.
pub fn rules_group(repo: &Path, cargo: &Cargo, report: &mut Report) -> Result<()> {
    let start = Instant::now();
    let files = rules::sources(repo)?;
    let mut results = vec![
        format(cargo, &files)?,
        rule("licence on the first line", rules::licence(repo, &files)?),
    ];
    let args = [
        "clippy",
        "--quiet",
        "--locked",
        "--workspace",
        "--all-targets",
        "--",
        "-Dwarnings",
    ];
    results.push(result(
        "clippy on the host crates",
        &cargo.run("cargo", &args, &[])?,
    ));
    results.push(clippy::module(repo)?);
    results.push(floors::result(repo)?);
    results.push(checkpatch::result(repo)?);
    report.add("rules", &human(start.elapsed()), results);
    Ok(())
}

/// The packages whose tests run on the host, each with the features that it is built with.
const PACKAGES: [(&str, &str); 10] = [
    ("dax-host-tests", ""),
    // Other machines have other pages.
    ("dax-host-tests", "pages-16k"),
    ("dax-host-tests", "pages-64k"),
    ("dax-cache", ""),
    ("dax-protocol", ""),
    ("dax-guest", ""),
    ("xtask", ""),
    ("daxlayout", ""),
    ("dax-model", ""),
    ("dax-model-faults", ""),
];

/// The tests of the pure modules, of the model of a cache, of this tool, of the guest program, of
/// daxlayout, and of the driver on its model.
pub fn host_group(cargo: &Cargo, depth: Depth, report: &mut Report) -> Result<()> {
    for (package, features) in PACKAGES {
        let start = Instant::now();
        // The tests visit all states of regions with so many pages, or with 6 if it is not set.
        // The model only looks whether it is set.
        let deep = [("DAX_DEPTH", "7")];
        let envs: &[(&str, &str)] = match depth {
            Depth::Full if settings::var("DAX_DEPTH")?.is_none() => &deep,
            _ => &[],
        };
        let args = [
            "test",
            "--quiet",
            "--locked",
            "--package",
            package,
            "--features",
            features,
            "--",
            "--format=pretty",
        ];
        let out = cargo.run("cargo", &args, envs)?;
        let name = [package, features].join(" ");
        let name = name.trim_end();
        report.add(
            &format!("host tests of {name}"),
            &human(start.elapsed()),
            libtest::parse(name, &out),
        );
    }
    Ok(())
}

fn format(cargo: &Cargo, files: &[PathBuf]) -> Result<TestResult> {
    let names: Vec<String> = rules::rust(files)
        .map(|f| f.display().to_string())
        .collect();
    let mut args = vec!["--check", "-l", "--edition=2021"];
    args.extend(names.iter().map(String::as_str));
    let out = cargo.run("rustfmt", &args, &[])?;
    if out.success {
        return Ok(TestResult::passed("rustfmt"));
    }
    // rustfmt names a file once for each file that has it as a module.
    let wrong: BTreeSet<&str> = out.text.lines().collect();
    let wrong: Vec<&str> = wrong.into_iter().collect();
    let text = format!(
        "not as rustfmt --edition=2021 has it:\n{}",
        wrong.join("\n")
    );
    Ok(TestResult::failed("rustfmt", &text))
}

fn result(name: &str, output: &Output) -> TestResult {
    if output.success {
        TestResult::passed(name)
    } else {
        TestResult::failed(name, &output.text)
    }
}

fn rule(name: &str, wrong: Vec<String>) -> TestResult {
    if wrong.is_empty() {
        TestResult::passed(name)
    } else {
        TestResult::failed(name, &wrong.join("\n"))
    }
}
