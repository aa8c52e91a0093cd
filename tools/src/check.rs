// SPDX-License-Identifier: GPL-2.0
//! `lab check`: what needs no guest and takes seconds.

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;

use crate::cargo::{Cargo, Output};
use crate::clippy;
use crate::libtest;
use crate::progress::human;
use crate::report::{Point, Report};
use crate::rules;

/// How much the host tests search, here and in `make test`.
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
    let mut points = vec![
        format(cargo, &files)?,
        rule("licence on the first line", rules::licence(repo, &files)?),
        rule(
            "unsafe only inside the fence",
            rules::unsafe_fence(repo, &files)?,
        ),
        rule(
            "no unwrap, expect or panic in the module",
            rules::no_panics(repo, &files)?,
        ),
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
    points.push(point(
        "clippy on the host crates",
        &cargo.run("cargo", &args, &[])?,
    ));
    points.push(clippy::module(repo)?);
    report.add("rules", &human(start.elapsed()), points);
    Ok(())
}

/// The tests of the pure modules and of this tool.
pub fn host_group(cargo: &Cargo, depth: Depth, report: &mut Report) -> Result<()> {
    for package in ["dax-host-tests", "lab"] {
        let start = Instant::now();
        // Tests that search look at these; without them they search fully.
        let quick = [
            ("DAX_EXHAUSTIVE_SECS", "2"),
            ("DAX_DEPTH", "3"),
            ("PROPTEST_CASES", "64"),
        ];
        let envs: &[(&str, &str)] = match depth {
            Depth::Quick => &quick,
            Depth::Full => &[],
        };
        let args = [
            "test",
            "--quiet",
            "--locked",
            "--package",
            package,
            "--",
            "--format=pretty",
        ];
        let out = cargo.run("cargo", &args, envs)?;
        report.add(
            &format!("host tests of {package}"),
            &human(start.elapsed()),
            libtest::parse(package, &out),
        );
    }
    Ok(())
}

fn format(cargo: &Cargo, files: &[std::path::PathBuf]) -> Result<Point> {
    let names: Vec<String> = rules::rust(files)
        .map(|f| f.display().to_string())
        .collect();
    let mut args = vec!["--check", "--edition=2021"];
    args.extend(names.iter().map(String::as_str));
    Ok(point("rustfmt", &cargo.run("rustfmt", &args, &[])?))
}

fn point(name: &str, output: &Output) -> Point {
    if output.success {
        Point::passed(name)
    } else {
        Point::failed(name, &output.text)
    }
}

fn rule(name: &str, wrong: Vec<String>) -> Point {
    if wrong.is_empty() {
        Point::passed(name)
    } else {
        Point::failed(name, &wrong.join("\n"))
    }
}
