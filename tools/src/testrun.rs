// SPDX-License-Identifier: GPL-2.0
//! `lab test`: everything, group by group; ONLY=name runs one.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{bail, Result};

use crate::cache;
use crate::cargo::Cargo;
use crate::check::{self, Depth};
use crate::compare;
use crate::groups::{self, Group};
use crate::guest::{End, Guest, Load, Outcome};
use crate::interactive::tail;
use crate::kernel::Kernel;
use crate::ktap;
use crate::kunit;
use crate::progress::{human, Step};
use crate::report::{Point, Report};
use crate::root::Root;
use crate::settings::{self, Machine};
use crate::spec::{Impl, Spec};
use crate::vanilla;

/// The groups before the guest tests, which bring a list of their own.
const GROUPS: [(&str, Run); 5] = [
    ("rules", rules),
    ("host", host),
    ("vanilla", vanilla),
    ("kunit", kunit_suites),
    ("compare", side_by_side),
];

/// ONLY=guest stands for all groups of guest tests.
const GUEST: &str = "guest";

type Run = fn(&Tests<'_>, &mut Report) -> Result<()>;

/// How much longer a group may take on a debug kernel, as dax-guest has it too.
const DEBUG_SLOWDOWN: u32 = 4;

struct Tests<'a> {
    repo: &'a Path,
    spec: Spec,
    cargo: Cargo,
}

pub fn main(repo: &Path) -> Result<ExitCode> {
    let only = settings::var("ONLY")?;
    let tests = Tests {
        repo,
        spec: settings::spec()?,
        cargo: Cargo::find(repo)?,
    };
    let wanted = |name: &str| only.as_deref().is_none_or(|only| only == name);
    let mut report = Report::default();
    let mut known = false;
    for (name, run) in GROUPS {
        if wanted(name) {
            known = true;
            if let Err(error) = run(&tests, &mut report) {
                report.add(
                    name,
                    "not run",
                    vec![Point::failed(name, &format!("{error:#}"))],
                );
            }
        }
    }
    if only.is_none() || !known {
        match tests.guests(only.as_deref().filter(|&o| o != GUEST), &mut report) {
            Ok(ran) => known |= ran,
            Err(error) => {
                known = true;
                report.add(
                    GUEST,
                    "not run",
                    vec![Point::failed(GUEST, &format!("{error:#}"))],
                );
            }
        }
    }
    if let (Some(only), false) = (only, known) {
        let names = GROUPS.map(|(name, _)| name).join(", ");
        bail!("ONLY={only}: no such group; there are {names}, {GUEST} and what `dax-guest list` prints");
    }
    Ok(report.finish())
}

fn rules(tests: &Tests<'_>, report: &mut Report) -> Result<()> {
    // Lints of the module need a kernel tree, so there is one from here on.
    if tests.spec.imp == Impl::Rust {
        drop(tests.kernel()?);
    }
    check::rules_group(tests.repo, &tests.cargo, report)
}

fn host(tests: &Tests<'_>, report: &mut Report) -> Result<()> {
    check::host_group(&tests.cargo, Depth::Full, report)
}

fn vanilla(tests: &Tests<'_>, report: &mut Report) -> Result<()> {
    let start = Instant::now();
    let root = Root::ensure(tests.repo)?;
    let points = vanilla::points(tests.repo, &root, &tests.spec)?;
    report.add("vanilla", &human(start.elapsed()), points);
    Ok(())
}

fn kunit_suites(tests: &Tests<'_>, report: &mut Report) -> Result<()> {
    if tests.spec.imp == Impl::C {
        return Ok(());
    }
    let start = Instant::now();
    let load = Load {
        command: "modprobe device_dax".to_owned(),
        kunit: true,
        ..Load::default()
    };
    let (outcome, output) = tests.boot("kunit", &Machine::default(), &load)?;
    let log = String::from_utf8_lossy(&cache::read(&outcome.log)?).into_owned();
    let mut points = kunit::points(&log);
    points.push(ended("kunit", &outcome, &output));
    report.add("kunit", &human(start.elapsed()), points);
    Ok(())
}

/// A small share of `make compare`. It boots both kernels, so it belongs to one of them.
fn side_by_side(tests: &Tests<'_>, report: &mut Report) -> Result<()> {
    if tests.spec.imp == Impl::C {
        return Ok(());
    }
    let start = Instant::now();
    let points = compare::share(tests.repo, &tests.cargo, &tests.spec)?;
    report.add("compare", &human(start.elapsed()), points);
    Ok(())
}

impl Tests<'_> {
    fn kernel(&self) -> Result<(Root, Kernel)> {
        let root = Root::ensure(self.repo)?;
        let kernel = Kernel::ensure(self.repo, &root, &self.spec)?;
        Ok((root, kernel))
    }

    /// Boots a guest and gives how it ended and all of its command's output.
    fn boot(&self, label: &str, machine: &Machine, load: &Load) -> Result<(Outcome, String)> {
        let guest = {
            let (root, kernel) = self.kernel()?;
            Guest::new(&root, &kernel, machine, load)?
        };
        let step = Step::start(format!("guest: {label}"), 0);
        let mut output = Vec::new();
        let outcome = guest.run(&mut |bytes| {
            let lines = bytes.iter().filter(|&&b| b == b'\n').count();
            step.advance(lines as u64);
            output.extend_from_slice(bytes);
            Ok(())
        })?;
        step.done();
        Ok((outcome, String::from_utf8_lossy(&output).into_owned()))
    }

    /// Runs the guest tests, or the one group; was there any?
    fn guests(&self, only: Option<&str>, report: &mut Report) -> Result<bool> {
        let program = self.cargo.build_static("dax-guest")?;
        let mut ran = false;
        for group in groups::list(&program)? {
            if only.is_some_and(|only| only != group.group) || !group.is_for(self.spec.imp) {
                continue;
            }
            ran = true;
            let start = Instant::now();
            let points = self.guest(&group, &program).unwrap_or_else(|error| {
                vec![Point::failed(group.group.as_str(), &format!("{error:#}"))]
            });
            report.add(&group.group, &human(start.elapsed()), points);
        }
        Ok(ran)
    }

    fn guest(&self, group: &Group, program: &Path) -> Result<Vec<Point>> {
        let name = group.group.as_str();
        let quoted = shlex::try_quote(name)?;
        let load = Load {
            command: format!("/dax-guest test {quoted}"),
            files: vec![PathBuf::from(program)],
            ..Load::default()
        };
        let mut machine = group.machine()?;
        if self.spec.debug {
            machine.timeout *= DEBUG_SLOWDOWN;
        }
        let (outcome, output) = self.boot(name, &machine, &load)?;
        let mut points = ktap::parse(name, &output);
        if points.is_empty() {
            points.push(Point::failed(
                name,
                &format!("no test reported a result; it printed:\n{output}"),
            ));
        }
        let failed = points
            .iter()
            .any(|p| p.verdict == crate::report::Verdict::Failed);
        // A failed test makes the program fail; that is no news.
        let outcome = match outcome.end {
            End::Exit(_) if failed => Outcome {
                end: End::Exit(0),
                ..outcome
            },
            _ => outcome,
        };
        points.push(ended(name, &outcome, &output));
        Ok(points)
    }
}

/// One point for the guest itself: it ended well, and its kernel was quiet.
fn ended(name: &str, outcome: &Outcome, output: &str) -> Point {
    let label = format!("{name}: the guest ends well and its kernel is quiet");
    let why = match (&outcome.splat, outcome.end) {
        (Some(splat), _) => format!("the kernel complained:\n{splat}"),
        (None, End::Exit(0)) => return Point::passed(label),
        (None, End::Exit(status)) => format!("exit status {status}; it printed:\n{output}"),
        (None, End::Timeout) => format!(
            "timeout after {}\n{}",
            human(outcome.took),
            tail(&outcome.log)
        ),
        (None, End::Died) => format!("the guest died\n{}\n{}", outcome.qemu, tail(&outcome.log)),
    };
    Point::failed(
        label,
        &format!("{why}\nthe whole kernel log: {}", outcome.log.display()),
    )
}
