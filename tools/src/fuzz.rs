// SPDX-License-Identifier: GPL-2.0
//! `lab fuzz`: what the driver reads from users, under a fuzzer that is guided by coverage.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{bail, Context, Result};

use crate::cargo::{Cargo, Output};
use crate::progress::Step;
use crate::report::Point;
use crate::settings;

const PACKAGE: &str = "dax-fuzz";
const CORPUS: &str = "tests/fuzz/corpus";
const DEFAULT_SECONDS: u64 = 60;
/// Counters of every edge, which the compiler adds and the fuzzer reads. Linked
/// statically, the program runs here whichever toolchain made it.
const FLAGS: &str = "-Ctarget-feature=+crt-static -Cpasses=sancov-module \
     -Cllvm-args=-sanitizer-coverage-level=3 \
     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters";

pub fn main(repo: &Path) -> Result<ExitCode> {
    let seconds = settings::count("SECONDS")?.unwrap_or(DEFAULT_SECONDS);
    let seed = settings::count("SEED")?.unwrap_or(1);
    if seconds == 0 {
        bail!("SECONDS=0: write how long it is to run");
    }
    let step = Step::start("building the fuzzer", 0);
    let program = Cargo::find(repo)?.build_with(PACKAGE, FLAGS)?;
    step.done();
    let status = Command::new(&program)
        .arg("run")
        .arg(repo.join(CORPUS))
        .args([seconds.to_string(), seed.to_string()])
        .status()
        .with_context(|| format!("cannot start {}", program.display()))?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Reads the corpus once more.
pub fn replay(cargo: &Cargo) -> Result<Point> {
    let name = "fuzz: every text of the corpus is read as the model does";
    let args = [
        "run",
        "--quiet",
        "--locked",
        "--package",
        PACKAGE,
        "--",
        "replay",
        CORPUS,
    ];
    let Output { success, text } = cargo.run("cargo", &args, &[])?;
    Ok(if success {
        Point::passed(name)
    } else {
        Point::failed(name, &text)
    })
}
