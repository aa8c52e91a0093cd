// SPDX-License-Identifier: GPL-2.0
//! `make guest` and `make shell`: one guest, as make's variables say.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{bail, Context, Result};

use crate::cache;
use crate::guest::{End, Guest, Load, Outcome, STILL_UP};
use crate::kernel::Kernel;
use crate::monitor;
use crate::progress::human;
use crate::root::Root;
use crate::settings::{self, Machine};
use crate::spec::Spec;

const TIMEOUT: u8 = 124;
const SPLAT: u8 = 99;
const DIED: u8 = 97;
const STAYS: u8 = 98;

/// Lines of the kernel log shown when a guest does not end well.
const TAIL: usize = 30;
/// Most lines of what a kernel that hangs reports.
const REPORT: usize = 200;

pub fn guest(repo: &Path) -> Result<ExitCode> {
    let Some(command) = settings::var("CMD")? else {
        bail!("no command for the guest: make guest CMD='uname -a' (make shell gives a prompt)");
    };
    let load = Load {
        command,
        files: settings::files()?,
        kunit: settings::flag("KUNIT")?,
        ..Load::default()
    };
    run(repo, &settings::spec()?, &settings::machine()?, &load)
}

/// Boots a guest, and prints what its command prints.
pub fn run(repo: &Path, spec: &Spec, machine: &Machine, load: &Load) -> Result<ExitCode> {
    let guest = {
        let root = Root::ensure(repo)?;
        let kernel = Kernel::ensure(repo, &root, spec)?;
        Guest::new(&root, &kernel, machine, load)?
    };
    eprintln!("{spec}, kernel log: {}", guest.log().display());
    let mut stdout = io::stdout();
    let outcome = guest.run(&mut |bytes| {
        stdout
            .write_all(bytes)
            .and_then(|()| stdout.flush())
            .context("cannot write the command's output")
    })?;
    Ok(report(&outcome, settings::flag("ALLOW_SPLAT")?))
}

pub fn shell(repo: &Path) -> Result<ExitCode> {
    let machine = settings::machine()?;
    let files = settings::files()?;
    let guest = {
        let root = Root::ensure(repo)?;
        let kernel = Kernel::ensure(repo, &root, &settings::spec()?)?;
        Guest::shell(&root, &kernel, &machine, &files)?
    };
    eprintln!(
        "kernel log: {}; leave with exit or ctrl-d",
        guest.log().display()
    );
    Ok(report(&guest.attach()?, settings::flag("ALLOW_SPLAT")?))
}

/// Says how a guest ended, and makes that an exit status.
pub fn report(outcome: &Outcome, allow_splat: bool) -> ExitCode {
    let took = human(outcome.took);
    if let (Some(splat), false) = (&outcome.splat, allow_splat) {
        eprintln!("the kernel complained (ALLOW_SPLAT=1 lets it):\n{splat}");
        eprintln!("the whole kernel log: {}", outcome.log.display());
    }
    match outcome.end {
        End::Timeout => {
            eprintln!(
                "timeout: the command had not ended after {took} (TIMEOUT=)\n{}",
                tail(&outcome.log)
            );
            ExitCode::from(TIMEOUT)
        }
        End::Exit(_) if outcome.splat.is_some() && !allow_splat => ExitCode::from(SPLAT),
        End::Exit(status) => {
            eprintln!("guest: exit status {status} after {took}");
            ExitCode::from(u8::try_from(status).unwrap_or(u8::MAX))
        }
        End::StillUp(status) => {
            eprintln!(
                "{STILL_UP}, and was stopped after {took}. Its exit status was {status}.\n\
                 The kernel log tells which tasks wait for ever: one of them may hold a device that \
                 cannot shut down then. If no task waits, this machine is too busy: try again\n{}",
                tail(&outcome.log)
            );
            let splat = outcome.splat.is_some() && !allow_splat;
            ExitCode::from(if splat { SPLAT } else { STAYS })
        }
        End::Died => {
            eprintln!(
                "the guest died after {took}, without an exit status\n{}",
                tail(&outcome.log)
            );
            if !outcome.qemu.is_empty() {
                eprintln!("QEMU said:\n{}", outcome.qemu);
            }
            let splat = outcome.splat.is_some() && !allow_splat;
            ExitCode::from(if splat { SPLAT } else { DIED })
        }
    }
}

/// The last lines of a kernel log, and what a kernel that hangs reported then.
pub fn tail(log: &Path) -> String {
    let data = cache::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&data);
    let lines: Vec<&str> = text.lines().collect();
    let report = lines.iter().position(|line| line.contains(monitor::REPORT));
    let (before, report) = lines.split_at(report.unwrap_or(lines.len()));
    let before = &before[before.len().saturating_sub(TAIL)..];
    let report = &report[..report.len().min(REPORT)];
    format!(
        "the last lines of {}:\n{}",
        log.display(),
        [before, report].concat().join("\n")
    )
}
