// SPDX-License-Identifier: GPL-2.0
//! `make model`: runs the driver on a model of the kernel, random operations in random orders. The
//! model runs here, or for another architecture in a guest.

use std::path::Path;
use std::process::{Child, ExitCode, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{bail, Context, Result};

use crate::arch::Arch;
use crate::cargo::Cargo;
use crate::guest::Load;
use crate::interactive;
use crate::progress::Step;
use crate::settings::{self, Machine};
use crate::spec::{Impl, Spec, SERIES};

const PACKAGE: &str = "dax-model";
/// Time for the boot of a guest, and for the last scenario.
const SLACK: Duration = Duration::from_secs(120);

pub fn main(repo: &Path) -> Result<ExitCode> {
    let (seed, seconds) = settings::seed_and_seconds()?;
    let arch = settings::arch()?;
    let code = match arch {
        Arch::X86 => here(repo, seed, seconds)?,
        other => in_guest(repo, other, seed, seconds)?,
    };
    if code != ExitCode::SUCCESS {
        let arch = arch.name();
        eprintln!("to repeat it: make model ARCH={arch} SEED=N SECONDS=1, with N as above");
    }
    Ok(code)
}

/// Runs the model in a guest of an architecture.
fn in_guest(repo: &Path, arch: Arch, seed: u64, seconds: u64) -> Result<ExitCode> {
    let spec = Spec::new(SERIES[0], Impl::Rust).on(arch);
    let program = Cargo::find(repo)?.build_for(arch, spec.pages, PACKAGE)?;
    let load = Load {
        command: format!("/{PACKAGE} {seed} {seconds}"),
        files: vec![program],
        ..Load::default()
    };
    let machine = Machine {
        timeout: Duration::from_secs(seconds) + SLACK * spec.slowness(),
        ..Machine::default()
    };
    interactive::run(repo, &spec, &machine, &load)
}

/// Runs the model on this machine.
fn here(repo: &Path, seed: u64, seconds: u64) -> Result<ExitCode> {
    let cargo = Cargo::find(repo)?;
    let package = ["--quiet", "--locked", "--release", "--package", PACKAGE];
    let step = Step::start("building the model", 0);
    let built = cargo.run("cargo", &[&["build"], &package[..]].concat(), &[])?;
    if !built.success {
        bail!("cannot build {PACKAGE}:\n{}", built.text.trim_end());
    }
    step.done();
    let [seed, time] = [seed, seconds].map(|number| number.to_string());
    let args = [&["run"], &package[..], &["--", &seed, &time]].concat();
    let child = cargo
        .command("cargo", &args, &[])?
        .stdin(Stdio::null())
        .spawn()
        .context("cannot start the model")?;
    let status = watch(child, &format!("the model from seed {seed} on"), seconds)?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Waits for the end, and shows how much of the time is over.
fn watch(mut child: Child, label: &str, seconds: u64) -> Result<ExitStatus> {
    let step = Step::start(label, seconds);
    loop {
        if let Some(status) = child.try_wait().context("cannot wait for the model")? {
            if status.success() {
                step.done();
            }
            return Ok(status);
        }
        thread::sleep(Duration::from_secs(1));
        step.advance(1);
    }
}
