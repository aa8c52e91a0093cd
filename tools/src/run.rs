// SPDX-License-Identifier: GPL-2.0
//! `make run`: builds all that is needed and boots a guest in which the Rust module shows its work.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::cargo::Cargo;
use crate::guest::{Guest, Load};
use crate::interactive;
use crate::kernel::Kernel;
use crate::progress::human;
use crate::root::Root;
use crate::settings;

/// The steps that were done, and how long each took.
#[derive(Default)]
struct Times(Vec<(&'static str, Duration)>);

impl Times {
    fn measure<T>(&mut self, what: &'static str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let start = Instant::now();
        let result = work()?;
        self.0.push((what, start.elapsed()));
        Ok(result)
    }
}

pub fn main(repo: &Path) -> Result<ExitCode> {
    let spec = settings::spec()?;
    let machine = settings::machine()?;
    eprintln!("1. build root: a Debian 13 tree with compilers and QEMU, in the cache");
    eprintln!("2. kernel: {spec}, with this checkout's sources");
    eprintln!("3. guest program: dax-guest, statically linked");
    eprintln!(
        "4. guest: {} of memory, {} CPUs; it runs /dax-guest demo",
        machine.mem, machine.cpus
    );
    eprintln!("What exists already is not made again; docs/testing.md has how long each takes.");

    let mut times = Times::default();
    let root = times.measure("build root", || Root::ensure(repo))?;
    let kernel = times.measure("kernel", || Kernel::ensure(repo, &root, &spec))?;
    let program = times.measure("guest program", || {
        Cargo::find(repo)?.build_for(spec.arch, spec.pages, "dax-guest")
    })?;
    let load = Load {
        command: "/dax-guest demo".to_owned(),
        files: vec![program],
        ..Load::default()
    };
    let guest = times.measure("guest image", || {
        Guest::new(&root, &kernel, &machine, &load)
    })?;
    drop(kernel);
    eprintln!("kernel log: {}", guest.log().display());
    let mut stdout = io::stdout();
    let mut first = None;
    let start = Instant::now();
    let outcome = times.measure("guest", || {
        guest.run(&mut |bytes| {
            first.get_or_insert_with(|| start.elapsed());
            stdout
                .write_all(bytes)
                .and_then(|()| stdout.flush())
                .context("cannot write to stdout")
        })
    })?;
    let code = interactive::report(&outcome, settings::flag("ALLOW_SPLAT")?);

    eprintln!("where the time went:");
    for (what, took) in &times.0 {
        eprintln!("  {what:14} {:>9}", human(*took));
    }
    if let Some(first) = first {
        eprintln!("  {:14} {:>9}", "  until output", human(first));
    }
    Ok(code)
}
