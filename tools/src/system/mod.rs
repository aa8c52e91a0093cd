// SPDX-License-Identifier: GPL-2.0
//! `make system`: Debian 13 in a guest, which installs the packages of `make deb`, boots them, and
//! removes them. Each step is a boot; the disk stays from one to the next. CONFIG= names the
//! configuration of the packages, the small one if it is not set.

mod disk;

use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{bail, Context, Result};

use crate::arch::Arch;
use crate::cache;
use crate::exec;
use crate::exit_marker;
use crate::guest::{End, Guest, Outcome, System, STILL_UP};
use crate::interactive::tail;
use crate::ktap;
use crate::package::{self, Config, Packages, Request};
use crate::progress::{human, Step};
use crate::report::{Report, TestResult, QUIET};
use crate::root::Root;
use crate::settings::{self, Machine};
use disk::Disk;

/// The steps, files of tests/system/. `ours`: the newest kernel of the disk must be ours, or
/// Debian's. Debian's kernel gets the region empty by `append`, ours by the package daxlayout.
struct Boot {
    step: &'static str,
    ours: bool,
    append: &'static str,
}

const DEBIAN: &str = "dax_hmem.region_idle=1";

/// The command line of every step. Memory that kmem adds stays offline, whatever the kernel's
/// configuration says.
const COMMON: &str = "root=/dev/vda rw udev.event_timeout=600 memhp_default_state=offline";

const BOOTS: [Boot; 5] = [
    Boot {
        step: "1-debian.sh",
        ours: false,
        append: DEBIAN,
    },
    Boot {
        step: "2-first.sh",
        ours: true,
        append: "",
    },
    Boot {
        step: "3-again.sh",
        ours: true,
        append: "",
    },
    Boot {
        step: "4-second.sh",
        ours: true,
        append: "",
    },
    Boot {
        step: "5-back.sh",
        ours: false,
        append: DEBIAN,
    },
];

/// Time that a step may take. An emulated machine boots in one to two minutes on an idle host.
const LIMIT: Duration = Duration::from_secs(25 * 60);

pub fn main(repo: &Path) -> Result<ExitCode> {
    let series = settings::spec()?.series;
    let mut machine = settings::machine()?;
    if settings::var("TIMEOUT")?.is_none() {
        machine.timeout = LIMIT;
    }
    let config = settings::var("CONFIG")?;
    let config = Config::parse(config.as_deref().unwrap_or("small"))?;
    let root = Root::ensure(repo)?;
    let build = |revision| {
        let mut request = Request::new(&series, Arch::X86, config.clone());
        request.revision = revision;
        package::ensure(repo, &root, &request)
    };
    let builds = [build(1)?, build(2)?];
    let disk = Disk::fresh(repo, &root)?;
    let mut report = Report::default();
    let mut boots = BOOTS.iter();
    for boot in boots.by_ref() {
        let (results, took, go_on) = run(repo, &root, &disk, &builds, &machine, boot)?;
        report.add(boot.step, &human(took), results);
        if !go_on {
            break;
        }
    }
    let left: Vec<String> = boots.map(|boot| boot.step.to_owned()).collect();
    if !left.is_empty() {
        report.left_out("a step that did not end", left);
    }
    eprintln!(
        "the disk as it is now: {} (the next run replaces it)",
        disk.image().display()
    );
    Ok(report.finish())
}

/// Boots one step. Returns its results, how long it took, and whether the next one can follow.
fn run(
    repo: &Path,
    root: &Root,
    disk: &Disk<'_>,
    builds: &[Packages; 2],
    machine: &Machine,
    boot: &Boot,
) -> Result<(Vec<TestResult>, Duration, bool)> {
    let name = boot.step;
    let release = disk.newest()?;
    if (release == builds[0].release) != boot.ours {
        let text = format!("the newest kernel on the disk is {release}, which is the wrong one");
        return Ok((vec![TestResult::failed(name, &text)], Duration::ZERO, false));
    }
    let (kernel, initrd) = disk.extract(&release)?;
    let end = exit_marker::new_line()?;
    let second = second_disk(repo, &disk.dir, name, &end, builds)?;
    let machine = Machine {
        append: format!("{COMMON} {} {}", machine.append, boot.append),
        ..machine.clone()
    };
    let system = System {
        kernel: &kernel,
        initrd: &initrd,
        disk: &disk.image(),
        second: &second,
        end: &end,
    };
    let guest = Guest::system(root, &machine, &system)?;
    let step = Step::start(format!("{name} on {release}"), 0);
    let mut output = Vec::new();
    let outcome = guest.run(&mut |bytes| {
        output.extend_from_slice(bytes);
        for _ in bytes.iter().filter(|byte| **byte == b'\n') {
            step.advance(1);
        }
        Ok(())
    })?;
    step.done();
    let output = String::from_utf8_lossy(&output).into_owned();
    let mut results = ktap::parse(name, &output)?;
    let ended = outcome.end == End::Exit(0);
    match wrong(&outcome) {
        None => results.push(TestResult::passed(format!("{name}: {QUIET}"))),
        Some(why) => {
            let text = format!(
                "{why}\n{}\n{}\nthe whole log: {}",
                output.trim_end(),
                tail(&outcome.log),
                outcome.log.display()
            );
            results.push(TestResult::failed(format!("{name}: {QUIET}"), &text));
        }
    }
    Ok((results, outcome.took, ended))
}

fn wrong(outcome: &Outcome) -> Option<String> {
    let took = human(outcome.took);
    match outcome.end {
        End::Exit(0) => {}
        End::Exit(status) => return Some(format!("the step ended with status {status}")),
        End::StillUp(_) => return Some(STILL_UP.to_owned()),
        End::Timeout => return Some(format!("the step had not ended after {took} (TIMEOUT=)")),
        End::Died => {
            return Some(format!(
                "the machine was gone after {took}\n{}",
                outcome.qemu
            ))
        }
    }
    let splat = outcome.splat.as_ref()?;
    Some(format!("the kernel complained:\n{splat}"))
}

/// Makes the second disk of a step: a tar archive with all steps, the name of the one to run, the
/// line that ends its output, and the packages.
fn second_disk(
    repo: &Path,
    dir: &Path,
    name: &str,
    end: &str,
    builds: &[Packages; 2],
) -> Result<std::path::PathBuf> {
    let tree = dir.join("step");
    cache::remove(&tree)?;
    cache::mkdir(&tree)?;
    let tests = repo.join("tests/system");
    let entries =
        std::fs::read_dir(&tests).with_context(|| format!("cannot list {}", tests.display()))?;
    for entry in entries.flatten() {
        copy(&entry.path(), &tree)?;
    }
    for (directory, build) in ["first", "second"].into_iter().zip(builds) {
        let to = tree.join(directory);
        cache::mkdir(&to)?;
        for file in &build.files {
            copy(file, &to)?;
        }
        let version = tree.join(format!("{directory}.version"));
        cache::write_whole(&version, build.version.as_bytes())?;
    }
    cache::write_whole(&tree.join("name"), name.as_bytes())?;
    cache::write_whole(&tree.join("end"), end.as_bytes())?;
    let archive = dir.join("step.tar");
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(&tree).arg("-cf").arg(&archive).arg(".");
    exec::output(&mut tar)?;
    Ok(archive)
}

fn copy(file: &Path, to: &Path) -> Result<()> {
    let Some(name) = file.file_name() else {
        bail!("{} has no name", file.display());
    };
    std::fs::copy(file, to.join(name))
        .with_context(|| format!("cannot copy {}", file.display()))?;
    Ok(())
}
