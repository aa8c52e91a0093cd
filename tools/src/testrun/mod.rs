// SPDX-License-Identifier: GPL-2.0
//! `make test`: everything, group by group; ONLY=name runs one.

mod guests;

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{anyhow, bail, Error, Result};

use crate::arch::Arch;
use crate::bench;
use crate::cargo::Cargo;
use crate::check::{self, Depth};
use crate::compare;
use crate::groups;
use crate::poweroff;
use crate::progress::human;
use crate::report::{Report, TestResult};
use crate::root::Root;
use crate::settings;
use crate::spec::{Impl, Spec, SERIES};
use crate::uniprocessor;
use crate::vanilla;

use guests::LATE_FOR_ARM64;
pub use guests::{left_out as group_left_out, Ran, Tests, C_ON_DEBUG};

/// The groups that run before the guest tests. dax-guest lists those.
const GROUPS: [(&str, Run); 8] = [
    ("rules", rules),
    ("host", host),
    ("vanilla", vanilla),
    ("uniprocessor", uniprocessor),
    ("kunit", kunit_suites),
    ("compare", side_by_side),
    ("bench", bench_smoke),
    ("poweroff", going_down),
];

/// The guest tests that `make test` also runs on the other series, after KUnit. `KERNEL=` with that
/// series runs all of them there.
const SHARE: [&str; 5] = ["sysfs", "mmap", "kmem", "zero", "layout"];

/// The guest tests that `make test` also runs on arm64, after KUnit. `make architectures` runs all of
/// them there.
const SMOKE: [&str; 2] = ["scenario", "sysfs"];

/// The name of the smoke test.
const ARM64: &str = "arm64";

/// The groups of QUICK=1, which judge a change quickly if the kernels are in the cache.
const QUICK: [&str; 8] = [
    "rules",
    "host",
    "kunit",
    "sysfs",
    "errors",
    "mmap",
    "kmem",
    "lifecycle",
];

/// The reason that a part that boots more kernels does not run.
const NOT_USUAL: &str = "it runs when the usual Rust kernel is tested";

/// ONLY=guest stands for all groups of guest tests.
const GUEST: &str = "guest";

type Run = fn(&Tests<'_>, &mut Report) -> Result<()>;

pub fn main(repo: &Path) -> Result<ExitCode> {
    let only = settings::var("ONLY")?;
    let quick = settings::flag("QUICK")?;
    if let (Some(only), true) = (&only, quick) {
        bail!("QUICK=1 is a choice of groups, and ONLY={only} is another: leave one out");
    }
    let cargo = Cargo::find(repo)?;
    let tests = Tests {
        repo,
        spec: settings::spec()?,
        cargo: &cargo,
        began: Instant::now(),
    };
    let wanted = |name: &str| match only.as_deref() {
        Some(only) => only == name,
        None => !quick || QUICK.contains(&name),
    };
    let mut report = Report::default();
    let mut known = false;
    for (name, run) in GROUPS {
        if wanted(name) {
            known = true;
            if let Some(why) = left_out(name, &tests.spec) {
                report.skip(&tests.name(name), why);
            } else if let Err(error) = run(&tests, &mut report) {
                not_run(name, &error, &mut report);
            }
        }
    }
    if only.is_none() || !known {
        let group = |name: &str| only.as_deref() == Some(GUEST) || wanted(name);
        match tests.guests(group, &mut report) {
            Ok(ran) => known |= ran,
            Err(error) => {
                known = true;
                not_run(GUEST, &error, &mut report);
            }
        }
    }
    for other in tests.other_series() {
        let name = other.spec.series.clone();
        if wanted(&name) {
            known = true;
            if !tests.has_share() {
                report.skip(&name, NOT_USUAL);
            } else if let Err(error) = other.share(&SHARE, &mut report) {
                not_run(&name, &error, &mut report);
            }
        }
    }
    if wanted(ARM64) {
        known = true;
        let arm = tests.arm64();
        if !tests.has_share() {
            report.skip(ARM64, NOT_USUAL);
        } else if let Some(why) = arm.too_late(LATE_FOR_ARM64)? {
            report.skip(ARM64, why);
        } else if let Err(error) = arm.share(&SMOKE, &mut report) {
            not_run(ARM64, &error, &mut report);
        }
    }
    if let (Some(only), false) = (only, known) {
        return Err(nothing(&tests, &only)?);
    }
    if quick {
        report.left_out("QUICK=1", tests.left_out()?);
    }
    Ok(report.finish())
}

/// The reason to leave out a group of [`GROUPS`] on a kernel, if there is one.
fn left_out(group: &str, spec: &Spec) -> Option<&'static str> {
    let of_module = "it is about the module, which the C kernel does not have";
    match group {
        "uniprocessor" | "kunit" if spec.imp == Impl::C => Some(of_module),
        "uniprocessor" if spec.arch != Arch::X86 => Some("a kernel of this architecture has SMP"),
        "compare" if spec.imp == Impl::C => Some("it runs when the Rust kernel is tested"),
        "compare" if spec.debug => Some(C_ON_DEBUG),
        "bench" if !(spec.is_usual() && spec.imp == Impl::Rust) => Some(NOT_USUAL),
        _ => None,
    }
    .or(spec.left_out(group))
}

/// The error about a name that no group of this kernel has.
fn nothing(tests: &Tests<'_>, only: &str) -> Result<Error> {
    let guests = groups::list(&tests.cargo.build_static("dax-guest")?)?;
    let guests = guests.iter().map(|group| group.group.as_str());
    let names: Vec<&str> = GROUPS
        .into_iter()
        .map(|(name, _)| name)
        .chain([GUEST])
        .chain(guests)
        .chain(SERIES.into_iter().skip(1))
        .chain([ARM64])
        .collect();
    Ok(if names.contains(&only) {
        anyhow!("ONLY={only}: nothing of it is for {}", tests.spec)
    } else {
        settings::unknown("ONLY", only, "group", &names)
    })
}

fn not_run(name: &str, error: &anyhow::Error, report: &mut Report) {
    report.add(
        name,
        "not run",
        vec![TestResult::failed(name, &format!("{error:#}"))],
    );
}

fn rules(tests: &Tests<'_>, report: &mut Report) -> Result<()> {
    // The lints of the module need a kernel tree, so build one first.
    if tests.spec.imp == Impl::Rust {
        drop(tests.kernel()?);
    }
    check::rules_group(tests.repo, tests.cargo, report)
}

fn host(tests: &Tests<'_>, report: &mut Report) -> Result<()> {
    let depth = match settings::flag("QUICK")? {
        true => Depth::Quick,
        false => Depth::Full,
    };
    check::host_group(tests.cargo, depth, report)
}

fn vanilla(tests: &Tests<'_>, report: &mut Report) -> Result<()> {
    let start = Instant::now();
    let root = Root::ensure(tests.repo)?;
    let results = vanilla::results(tests.repo, &root, &tests.spec)?;
    report.add("vanilla", &human(start.elapsed()), results);
    Ok(())
}

fn uniprocessor(tests: &Tests<'_>, report: &mut Report) -> Result<()> {
    let start = Instant::now();
    let root = Root::ensure(tests.repo)?;
    let results = uniprocessor::results(tests.repo, &root, &tests.spec)?;
    report.add("uniprocessor", &human(start.elapsed()), results);
    Ok(())
}

fn kunit_suites(tests: &Tests<'_>, report: &mut Report) -> Result<()> {
    let start = Instant::now();
    let results = tests.kunit()?;
    report.add(&tests.name("kunit"), &human(start.elapsed()), results);
    Ok(())
}

/// Runs a small part of `make compare`.
fn side_by_side(tests: &Tests<'_>, report: &mut Report) -> Result<()> {
    let start = Instant::now();
    let results = compare::share(tests.repo, tests.cargo, &tests.spec)?;
    report.add("compare", &human(start.elapsed()), results);
    Ok(())
}

/// Runs the benchmark briefly, to see that it works.
fn bench_smoke(tests: &Tests<'_>, report: &mut Report) -> Result<()> {
    let start = Instant::now();
    let results = bench::smoke(tests.repo, tests.cargo, &tests.spec)?;
    report.add("bench", &human(start.elapsed()), results);
    Ok(())
}

/// Runs machines that go down. Each way down needs a guest of its own, so this is no group of
/// `dax-guest`.
fn going_down(tests: &Tests<'_>, report: &mut Report) -> Result<()> {
    let start = Instant::now();
    let program = tests.cargo.build_static("dax-guest")?;
    let name = tests.name("poweroff");
    let results = poweroff::results(tests, &name, &program)?;
    report.add(&name, &human(start.elapsed()), results);
    Ok(())
}

impl Tests<'_> {
    /// Whether a part of these tests also runs on the other series.
    fn has_share(&self) -> bool {
        self.spec == Spec::new(SERIES[0], Impl::Rust)
    }

    /// These tests for the series, but the primary one, that they are not for.
    fn other_series(&self) -> Vec<Self> {
        let others = SERIES.iter().skip(1);
        others
            .filter(|series| **series != self.spec.series)
            .map(|series| Self {
                repo: self.repo,
                spec: Spec::new(series, Impl::Rust),
                cargo: self.cargo,
                began: self.began,
            })
            .collect()
    }

    /// The groups of `make test` that QUICK=1 does not run.
    fn left_out(&self) -> Result<Vec<String>> {
        let guests = groups::list(&self.cargo.build_static("dax-guest")?)?.into_iter();
        let all = GROUPS
            .into_iter()
            .map(|(name, _)| name.to_owned())
            .chain(guests.map(|group| group.group))
            .chain(self.other_series().into_iter().map(|t| t.spec.series))
            .chain([ARM64.to_owned()]);
        Ok(all.filter(|name| !QUICK.contains(&name.as_str())).collect())
    }

    /// These tests for arm64.
    fn arm64(&self) -> Self {
        Self {
            spec: Spec::new(SERIES[0], Impl::Rust).on(Arch::Arm64),
            ..self.clone()
        }
    }

    /// Runs KUnit and those groups of guest tests, which another kernel must pass too.
    fn share(&self, names: &[&str], report: &mut Report) -> Result<()> {
        kunit_suites(self, report)?;
        let there = groups::list(&self.cargo.build_static("dax-guest")?)?;
        let is_there = |name: &str| there.iter().any(|group| group.group == name);
        if let Some(missing) = names.iter().find(|name| !is_there(name)) {
            bail!("{missing}: no such group");
        }
        self.guests(|name| names.contains(&name), report)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::guests::{CHECKED, NVDIMM, PROGRAMS};
    use super::*;
    use crate::spec::Toolchain;

    #[test]
    fn every_list_of_groups_names_groups() {
        let guests = [
            include_str!("../../../tests/guest/src/groups/mod.rs"),
            include_str!("../../../tests/guest/src/groups/consumers/mod.rs"),
            include_str!("../../../tests/guest/src/groups/lifetimes/mod.rs"),
        ]
        .concat();
        let own = |name: &str| GROUPS.iter().any(|(group, _)| *group == name);
        let guest = |name: &str| guests.contains(&format!("name: \"{name}\","));
        for name in QUICK {
            assert!(own(name) || guest(name), "{name}");
        }
        let programs = PROGRAMS.map(|(group, _)| group);
        for name in [&SHARE[..], &SMOKE, &CHECKED, &NVDIMM, &programs].concat() {
            assert!(guest(name), "{name}");
        }
    }

    #[test]
    fn what_a_kernel_leaves_out_has_a_reason() {
        let left_out = |spec: &Spec| -> Vec<&str> {
            let names = GROUPS.into_iter().map(|(name, _)| name);
            names
                .filter(|name| left_out(name, spec).is_some())
                .collect()
        };
        let usual = Spec::new(SERIES[0], Impl::Rust);
        assert_eq!(left_out(&usual), [""; 0]);
        assert_eq!(left_out(&Spec::new(SERIES[1], Impl::Rust)), [""; 0]);
        let c = Spec::new(SERIES[0], Impl::C);
        assert_eq!(left_out(&c), ["uniprocessor", "kunit", "compare", "bench"]);
        let debug = Spec {
            debug: true,
            ..usual.clone()
        };
        assert_eq!(left_out(&debug), ["compare", "bench"]);
        let builtin = Spec {
            builtin: true,
            ..usual.clone()
        };
        assert_eq!(left_out(&builtin), ["bench"]);
        let gcc = Spec {
            toolchain: Toolchain::Gcc,
            ..usual.clone()
        };
        assert_eq!(left_out(&gcc), ["bench"]);
        let arm = Spec {
            arch: Arch::Arm64,
            ..usual
        };
        let all = left_out(&arm);
        assert!(
            all.contains(&"uniprocessor") && all.contains(&"bench"),
            "{all:?}"
        );
    }
}
