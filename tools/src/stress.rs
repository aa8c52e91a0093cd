// SPDX-License-Identifier: GPL-2.0
//! `make stress`: does everything at once in a guest, for SECONDS; SEED fixes what each thread
//! does.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::cargo::Cargo;
use crate::guest::{Guest, Load};
use crate::interactive;
use crate::kernel::Kernel;
use crate::root::Root;
use crate::settings;

/// Time for the boot, for checks before and after, and for the report of a hang.
const SLACK: Duration = Duration::from_secs(600);

pub fn main(repo: &Path) -> Result<ExitCode> {
    let spec = settings::spec()?;
    let (seed, seconds) = settings::seed_and_seconds()?;
    let mut machine = settings::machine()?;
    if settings::var("TIMEOUT")?.is_none() {
        machine.timeout = Duration::from_secs(seconds) + SLACK;
    }
    let load = Load {
        command: format!("/dax-guest stress {seed} {seconds}"),
        files: vec![Cargo::find(repo)?.build_for(spec.arch, spec.pages, "dax-guest")?],
        ..Load::default()
    };
    let guest = {
        let root = Root::ensure(repo)?;
        let kernel = Kernel::ensure(repo, &root, &spec)?;
        Guest::new(&root, &kernel, &machine, &load)?
    };
    eprintln!("{spec}, kernel log: {}", guest.log().display());
    let mut stdout = io::stdout();
    let outcome = guest.run(&mut |bytes| {
        stdout
            .write_all(bytes)
            .and_then(|()| stdout.flush())
            .context("cannot write to stdout")
    })?;
    Ok(interactive::report(
        &outcome,
        settings::flag("ALLOW_SPLAT")?,
    ))
}
