// SPDX-License-Identifier: GPL-2.0
//! cargo-mutants: makes the mutants and runs the tests on them.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{bail, Context, Result};

use super::found::{self, Mutant};
use super::{PURE, TREE, WORK};
use crate::cache::{self, Lock};
use crate::cargo::Cargo;
use crate::exec;
use crate::progress::Step;

/// The newest version that cargo 1.85 can build.
const VERSION: &str = "26.0.0";
/// Number of lines that its build prints, for the progress.
const BUILD_LINES: u64 = 340;
/// Seconds after which a build, or the tests, count as endless. The tests take a tenth of the time.
pub const BUILD_TIMEOUT: &str = "300";
pub const TEST_TIMEOUT: &str = "120";
/// A fixed seed for the random tests, so that the survivors are the same in each run.
pub const SEED: (&str, &str) = ("PROPTEST_RNG_SEED", "1");

/// Finds cargo-mutants in the cache, or builds it. Returns its path as `cargo` sees it.
pub fn ensure(cargo: &Cargo) -> Result<PathBuf> {
    let name = format!("cargo-mutants-{VERSION}-{}", cargo.place());
    let program = |cache: PathBuf| cache.join(&name).join("bin/cargo-mutants");
    let _lock = Lock::take(&name)?;
    if !program(cache::dir()).exists() {
        build(cargo, &name)?;
    }
    Ok(program(cargo.cache()))
}

fn build(cargo: &Cargo, name: &str) -> Result<()> {
    let made = cache::dir().join(name);
    let part = cache::part_of(&made);
    let log = cache::dir().join(format!("{name}.log"));
    cache::remove(&part)?;
    cache::remove(&log)?;
    let inside = text(&cargo.cache().join(part.file_name().unwrap_or_default()))?;
    let args = [
        "install",
        "--locked",
        "--root",
        &inside,
        &format!("cargo-mutants@{VERSION}"),
    ];
    let certificates = text(&cargo.cache().join("certificates.crt"))?;
    let mut envs = vec![("CARGO_TARGET_DIR", format!("{inside}/target"))];
    if cargo.place() == "root" {
        // Other builds in the root need no network.
        envs.push(("CARGO_NET_OFFLINE", "false".to_owned()));
        envs.push(("CARGO_HTTP_CAINFO", certificates));
    }
    let envs: Vec<(&str, &str)> = envs.iter().map(|(n, v)| (*n, v.as_str())).collect();
    let step = Step::start(format!("building cargo-mutants {VERSION}"), BUILD_LINES);
    exec::logged(&mut cargo.command("cargo", &args, &envs)?, &log, &step)?;
    step.done();
    cache::remove(&part.join("target"))?;
    cache::rename(&part, &made)
}

/// Runs the host tests on each mutant of all files, or of one.
pub fn run(repo: &Path, cargo: &Cargo, program: &Path, only: Option<&str>) -> Result<Vec<Mutant>> {
    let program = text(program)?;
    let files = format!("{PURE}/{}.rs", only.unwrap_or("*"));
    let out = repo.join(WORK);
    let log = out.join("log");
    let listed = exec::output(&mut command(cargo, &program, &files, &["--list"])?)?;
    let count = listed.iter().filter(|&&byte| byte == b'\n').count();
    if count == 0 {
        return Ok(Vec::new());
    }
    let mut command = command(
        cargo,
        &program,
        &files,
        &[
            "--in-place",
            "--output",
            WORK,
            "--caught",
            "--unviable",
            "--colors=never",
            "--build-timeout",
            BUILD_TIMEOUT,
            "--timeout",
            TEST_TIMEOUT,
        ],
    )?;
    let step = Step::start(format!("the host tests on {count} mutants"), count as u64);
    let status = exec::logged_to_end(&mut command, &log, &step)?;
    // 2: some survived; 3: the tests of some did not end.
    if !matches!(status.code(), Some(0 | 2 | 3)) {
        bail!(exec::failure(&command, status, &log)?);
    }
    step.done();
    let mutants = found::read(&out.join("mutants.out"))?;
    if mutants.len() != count {
        bail!("{} of {count} mutants were tried", mutants.len());
    }
    Ok(mutants)
}

fn command(cargo: &Cargo, program: &str, files: &str, more: &[&str]) -> Result<Command> {
    let dir = format!("{TREE}/tests/host");
    let mut args = vec![
        "mutants",
        "--dir",
        &dir,
        "--no-config",
        "--file",
        files,
        // Leave out the tests in these files.
        "--exclude-re",
        r"\btests::",
    ];
    args.extend(more);
    // cargo-mutants runs cargo in the tree.
    cargo.command(program, &args, &[("CARGO_TARGET_DIR", "target"), SEED])
}

fn text(path: &Path) -> Result<String> {
    path.to_str()
        .map(str::to_owned)
        .with_context(|| format!("{}: a path that is not UTF-8", path.display()))
}
