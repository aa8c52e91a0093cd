// SPDX-License-Identifier: GPL-2.0
//! `make stress`: does everything at once in a guest, for SECONDS; SEED fixes what each thread
//! does.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;

use crate::cargo::Cargo;
use crate::guest::Load;
use crate::interactive;
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
    interactive::run(repo, &spec, &machine, &load)
}
