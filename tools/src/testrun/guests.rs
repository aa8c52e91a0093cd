// SPDX-License-Identifier: GPL-2.0
//! Guests with tests: the kernel that each group boots, its files, and the time that it may take.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{bail, Result};

use crate::arch::Arch;
use crate::cache;
use crate::cargo::Cargo;
use crate::groups::{self, Group};
use crate::guest::{End, Guest, Load, Outcome, STILL_UP};
use crate::interactive::tail;
use crate::kernel::Kernel;
use crate::ktap;
use crate::kunit;
use crate::progress::{human, Step};
use crate::report::{Report, TestResult, Verdict, QUIET};
use crate::root::Root;
use crate::settings::Machine;
use crate::spec::{Impl, Spec, SERIES};

/// The groups that need a debug kernel. They run on one whichever kernel of the primary series is
/// tested.
pub(super) const CHECKED: [&str; 2] = ["inject", "stress"];

/// The groups whose guests have libnvdimm or CXL memory, which need a debug kernel of their own.
pub(super) const NVDIMM: [&str; 8] = [
    "overlap",
    "lifetimes-pmem",
    "pmem-between",
    "refused-pmem",
    "pmem",
    "nvdimm",
    "ramdax",
    "cxl",
];

/// Programs of this project that the tests of a group run.
pub(super) const PROGRAMS: [(&str, &str); 1] = [("layout", "daxlayout")];

/// A run that has taken so long does not begin to build a debug kernel. A first run builds all other
/// kernels, and has to end within the 90 minutes of CI.
const LATE: Duration = Duration::from_secs(18 * 60);

/// A run that has taken so long does not begin to build the kernels of arm64, of which there are
/// two: Rust's begins as a copy of C's.
pub(super) const LATE_FOR_ARM64: Duration = Duration::from_secs(50 * 60);

/// Turns kmemleak on. A group whose tests ask kmemleak has this on its command line. kmemleak notes
/// each allocation, which takes half of a debug kernel's time.
const KMEMLEAK: &str = "kmemleak=on";

/// A part of the kernel's message when it starts the first process.
const USER_SPACE: &str = "as init process";

/// Time that a guest for one test may take on a usual kernel: dax-guest gives up a test that hangs
/// after a minute, and the clean-up after another.
const ONE_TEST: Duration = Duration::from_secs(150);

/// The reason that nothing runs with the C driver on the debug kernel.
pub const C_ON_DEBUG: &str =
    "C driver: initialises a cdev again that the debug kernel releases late (A10)";

/// The end of a guest with tests.
pub struct Ran {
    pub outcome: Outcome,
    pub output: String,
    pub results: Vec<TestResult>,
}

/// The settings that all groups have in common.
#[derive(Clone)]
pub struct Tests<'a> {
    pub repo: &'a Path,
    pub spec: Spec,
    pub cargo: &'a Cargo,
    /// The time at which the run began.
    pub began: Instant,
}

impl Tests<'_> {
    /// The build root and the kernel. Makes them if need be.
    pub fn kernel(&self) -> Result<(Root, Kernel)> {
        let root = Root::ensure(self.repo)?;
        let kernel = Kernel::ensure(self.repo, &root, &self.spec)?;
        Ok((root, kernel))
    }

    /// Runs the KUnit suites.
    pub fn kunit(&self) -> Result<Vec<TestResult>> {
        let load = Load {
            command: "modprobe device_dax".to_owned(),
            kunit: true,
            ..Load::default()
        };
        let name = self.name("kunit");
        let (outcome, output) = self.boot(&name, &Machine::default(), &load)?;
        let log = String::from_utf8_lossy(&cache::read(&outcome.log)?).into_owned();
        let mut results = kunit::results(&name, &log)?;
        results.push(ended(&name, &outcome, &output));
        Ok(results)
    }

    /// These tests on a debug kernel, if the kernel is a usual one of the primary series. For other
    /// kernels, a debug kernel is made only if DEBUG=1 asks for it.
    fn debug(&self) -> Self {
        let usual = self.spec == Spec::new(SERIES[0], self.spec.imp);
        let mut tests = self.clone();
        tests.spec.debug |= usual;
        tests
    }

    /// The reason to leave out a group that needs a debug kernel, if there is one.
    fn hindrance(&self, checked: bool) -> Result<Option<String>> {
        if !checked {
            return Ok(None);
        }
        if !self.spec.debug {
            return Ok(Some(format!("there is no debug kernel for {}", self.spec)));
        }
        if self.spec.imp == Impl::C {
            return Ok(Some(C_ON_DEBUG.to_owned()));
        }
        self.too_late(LATE)
    }

    /// Why the tests of this kernel are left to the next run, if they are: the kernel is not there,
    /// and the run has taken so long.
    pub(super) fn too_late(&self, late: Duration) -> Result<Option<String>> {
        let took = self.began.elapsed();
        let missing = took > late && Kernel::existing(self.repo, &self.spec)?.is_none();
        Ok(missing.then(|| {
            format!(
                "this run has taken {}, and no time is left to build Linux {}: run make test once \
                 more",
                human(took),
                self.spec
            )
        }))
    }

    /// A time limit for this kernel, from the limit for a usual one.
    pub fn slow(&self, usual: Duration) -> Duration {
        usual * self.spec.slowness()
    }

    /// Boots a guest. Returns how it ended, and all output of its command.
    ///
    /// If a busy host does not run an emulated CPU, the kernel may miss its first timer interrupts
    /// and wait for ever. A guest that hangs like that, before its first process, is booted once
    /// more.
    pub fn boot(&self, label: &str, machine: &Machine, load: &Load) -> Result<(Outcome, String)> {
        let (outcome, output) = self.boot_once(label, machine, load)?;
        let log = String::from_utf8_lossy(&cache::read(&outcome.log)?).into_owned();
        if outcome.end != End::Timeout || outcome.splat.is_some() || log.contains(USER_SPACE) {
            return Ok((outcome, output));
        }
        eprintln!(
            "guest: {label} did not get as far as user space; once more. Its log: {}",
            outcome.log.display()
        );
        self.boot_once(label, machine, load)
    }

    fn boot_once(&self, label: &str, machine: &Machine, load: &Load) -> Result<(Outcome, String)> {
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

    /// A group's name in the report.
    pub(super) fn name(&self, group: &str) -> String {
        if self.spec.arch != Arch::X86 {
            format!("{} {group}", self.spec.arch.name())
        } else if self.spec.series != SERIES[0] {
            format!("{} {group}", self.spec.series)
        } else {
            group.to_owned()
        }
    }

    /// Runs the wanted groups of guest tests. Returns whether there is any.
    pub(super) fn guests(
        &self,
        wanted: impl Fn(&str) -> bool,
        report: &mut Report,
    ) -> Result<bool> {
        let program = self.program("dax-guest")?;
        let mut found = false;
        for group in groups::list(&self.cargo.build_static("dax-guest")?)? {
            if !wanted(&group.group) {
                continue;
            }
            found = true;
            let name = self.name(&group.group);
            if let Some(why) = left_out(&group, &self.spec) {
                report.skip(&name, why);
                continue;
            }
            let start = Instant::now();
            let checked = CHECKED.contains(&group.group.as_str());
            let mut tests = if checked { self.debug() } else { self.clone() };
            tests.spec.nvdimm = tests.spec.debug && NVDIMM.contains(&group.group.as_str());
            if let Some(why) = tests.hindrance(checked)? {
                report.skip(&name, why);
                continue;
            }
            let results = tests
                .guest(&group, &name, &program)
                .unwrap_or_else(|error| {
                    vec![TestResult::failed(name.as_str(), &format!("{error:#}"))]
                });
            report.add(&name, &human(start.elapsed()), results);
        }
        Ok(found)
    }

    /// Runs one test of a group, even if it is left out on the C driver. The test may ask kmemleak.
    pub fn one(&self, group: &Group, test: &str, program: &Path) -> Result<Ran> {
        let (quoted, test) = (shlex::try_quote(&group.group)?, shlex::try_quote(test)?);
        let command = format!("DAX_GUEST_FORCE=1 /dax-guest test {quoted} {test}");
        let mut machine = groups::machine(group)?;
        machine.timeout = machine.timeout.min(ONE_TEST);
        if self.spec.debug {
            machine.append = format!("{} {KMEMLEAK}", machine.append);
        }
        let files = self.files(group, program)?;
        self.run(&format!("{test}"), machine, command, files)
    }

    /// Runs a command in a group's guest, which must end well; what it printed.
    pub fn command(
        &self,
        group: &Group,
        label: &str,
        program: &Path,
        command: &str,
    ) -> Result<String> {
        let machine = groups::machine(group)?;
        let files = self.files(group, program)?;
        let ran = self.run(label, machine, command.to_owned(), files)?;
        let ended = ended(label, &ran.outcome, &ran.output);
        match ended.verdict {
            Verdict::Passed => Ok(ran.output),
            _ => bail!("{label}: {}", ended.output.join("\n")),
        }
    }

    /// Builds a program for guests of this kernel.
    pub fn program(&self, package: &str) -> Result<PathBuf> {
        let Spec { arch, pages, .. } = self.spec;
        self.cargo.build_for(arch, pages, package)
    }

    /// Files for a group's guest: the program with the tests, and those that they run.
    fn files(&self, group: &Group, program: &Path) -> Result<Vec<PathBuf>> {
        let mut files = vec![program.to_owned()];
        for (_, package) in PROGRAMS.iter().filter(|(name, _)| *name == group.group) {
            files.push(self.program(package)?);
        }
        Ok(files)
    }

    /// Boots a guest for tests.
    fn run(
        &self,
        name: &str,
        mut machine: Machine,
        command: String,
        files: Vec<PathBuf>,
    ) -> Result<Ran> {
        let load = Load {
            command,
            files,
            ..Load::default()
        };
        machine.timeout = self.slow(machine.timeout);
        let (outcome, output) = self.boot(name, &machine, &load)?;
        let results = ktap::parse(name, &output)?;
        Ok(Ran {
            outcome,
            output,
            results,
        })
    }

    /// Runs a group of guest tests, under that name in the report. The last result is for the guest
    /// itself.
    pub fn guest(&self, group: &Group, name: &str, program: &Path) -> Result<Vec<TestResult>> {
        let quoted = shlex::try_quote(&group.group)?;
        let command = format!("/dax-guest test {quoted}");
        let mut machine = groups::machine(group)?;
        // The scenario writes all of its region.
        let times = if group.group == "scenario" { 1 } else { 2 };
        self.spec.pages.enlarge(&mut machine, times)?;
        let Ran {
            outcome,
            output,
            mut results,
        } = self.run(name, machine, command, self.files(group, program)?)?;
        if results.is_empty() {
            results.push(TestResult::failed(
                name,
                &format!("no test reported a result; it printed:\n{output}"),
            ));
        }
        let failed = results.iter().any(|p| p.verdict == Verdict::Failed);
        // The program exits with 1 if a test failed, and the results say so already.
        let outcome = match outcome.end {
            End::Exit(_) if failed => Outcome {
                end: End::Exit(0),
                ..outcome
            },
            _ => outcome,
        };
        results.push(ended(name, &outcome, &output));
        Ok(results)
    }
}

/// The reason to leave out a group on a kernel, if there is one.
pub fn left_out(group: &Group, spec: &Spec) -> Option<&'static str> {
    if group.is_for(spec.imp) {
        let no_room = !spec.pages.has_room(&group.append, &group.qemu);
        let why = no_room.then_some("its memory has room for few large pages");
        return spec.left_out(&group.group).or(why);
    }
    Some(match spec.imp {
        Impl::C => "it is for the Rust driver only",
        Impl::Rust => "it is for the C driver only",
    })
}

/// The result for the guest itself: whether it ended well, and its kernel did not complain.
fn ended(name: &str, outcome: &Outcome, output: &str) -> TestResult {
    let label = format!("{name}: {QUIET}");
    let why = match (&outcome.splat, outcome.end) {
        (Some(splat), _) => format!("the kernel complained:\n{splat}"),
        (None, End::Exit(0)) => return TestResult::passed(label),
        (None, End::Exit(status)) => format!("exit status {status}; it printed:\n{output}"),
        (None, End::StillUp(_)) => format!("{STILL_UP}\n{}", tail(&outcome.log)),
        (None, End::Timeout) => format!(
            "timeout after {}\n{}",
            human(outcome.took),
            tail(&outcome.log)
        ),
        (None, End::Died) => format!("the guest died\n{}\n{}", outcome.qemu, tail(&outcome.log)),
    };
    TestResult::failed(
        label,
        &format!("{why}\nthe whole kernel log: {}", outcome.log.display()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_has_to_power_off() {
        let verdict = |end| {
            let outcome = Outcome {
                end,
                log: PathBuf::new(),
                splat: None,
                qemu: String::new(),
                took: Duration::ZERO,
            };
            ended("mmap", &outcome, "").verdict
        };
        assert_eq!(verdict(End::Exit(0)), Verdict::Passed);
        for end in [End::StillUp(0), End::Exit(1), End::Timeout, End::Died] {
            assert_eq!(verdict(end), Verdict::Failed, "{end:?}");
        }
    }

    #[test]
    fn a_group_of_the_other_driver_is_left_out_with_a_reason() {
        let group = Group {
            group: "fault-around".to_owned(),
            append: String::new(),
            mem: "6G".to_owned(),
            cpus: 2,
            qemu: String::new(),
            implementations: vec![Impl::Rust],
            timeout: 9,
            consumer: None,
        };
        let why = |imp| left_out(&group, &Spec::new(SERIES[0], imp));
        assert_eq!(why(Impl::Rust), None);
        assert_eq!(why(Impl::C), Some("it is for the Rust driver only"));
    }
}
