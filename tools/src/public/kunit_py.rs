// SPDX-License-Identifier: GPL-2.0
//! Runs the kernel's kunit.py on our directory. kunit.py configures a small kernel from our
//! .kunitconfig, builds it, boots it in QEMU and reads the suites' results.

use std::path::Path;

use anyhow::Result;

use crate::cache::{self, Key, Lock};
use crate::exec;
use crate::guest::{hardware_virtualisation, KVM};
use crate::in_tree;
use crate::kernel::{self, Builder};
use crate::kunit;
use crate::progress::Step;
use crate::report::Verdict;
use crate::root::Root;
use crate::source::Source;
use crate::spec::Spec;

use super::verdict::Outcome;

/// The directory that kunit.py builds in, inside the build root.
const BUILD: &str = "/usr/src/kunit";
/// The file in which kunit.py leaves the kernel's output.
const CONSOLE: &str = "test.log";

/// Seconds from the start of QEMU to its end; booting takes a few.
const TIMEOUT: u32 = 600;

/// kunit.py needs a source tree in which nothing was built, so it has its own. Tree and objects are
/// kept: a second run builds only what changed.
pub fn run(repo: &Path, base: &Root, spec: &Spec) -> Result<Outcome> {
    let builder = Builder::new(repo, base, spec)?;
    let source = Source::ensure(base, &spec.series)?;
    let patch = kernel::patch(repo, &spec.series)?;
    let key = Key::new("kunit.py")
        .text(&base.toolchain()?)
        .text(&source.version)
        .file(&patch)?
        .finish();
    let all = cache::dir().join("kunit");
    let name = format!("{}-{key}", spec.series);
    let dir = all.join(&name);
    let _lock = Lock::take(&name)?;
    if !dir.exists() {
        let part = cache::part_of(&dir);
        cache::remove(&part)?;
        cache::mkdir(&part)?;
        builder.unpack(&source, &part, &part.join("linux"))?;
        builder.patch(&patch, &part)?;
        cache::rename(&part, &dir)?;
        cache::prune(&all, &spec.series)?;
    }
    in_tree::update(repo, &dir.join("linux"))?;

    let build = dir.join("build");
    let (console, log) = (build.join(CONSOLE), dir.join("kunit.log"));
    cache::mkdir(&build)?;
    cache::remove(&console)?;
    cache::remove(&log)?;
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let script = format!(
        "tools/testing/kunit/kunit.py run --kunitconfig={} --arch=x86_64 --make_options {} \
         --build_dir={BUILD} --jobs={jobs} --timeout={TIMEOUT}",
        in_tree::DIRECTORY,
        spec.toolchain.make_variables(),
    );
    let mut command = builder.in_tree(&dir, &script).bind(&build, BUILD);
    // kunit.py's QEMU uses KVM if the device opens, even where a guest then hangs.
    if Path::new(KVM).exists() && !hardware_virtualisation() {
        command = command.bind(Path::new("/dev/null"), KVM);
    }
    let mut command = command.build()?;
    let step = Step::start(format!("kunit.py on {spec}"), 0);
    exec::logged(&mut command, &log, &step)?;
    step.done();
    read(&cache::read_text(&console)?, &log)
}

/// The result: kunit.py must succeed, and the kernel's own output must have all suites.
fn read(console: &str, log: &Path) -> Result<Outcome> {
    let results = kunit::results("kunit", console)?;
    let bad: Vec<&str> = results
        .iter()
        .filter(|p| p.verdict != Verdict::Passed)
        .map(|p| p.name.as_str())
        .collect();
    let all = results.len();
    let outcome = if bad.is_empty() {
        Outcome::passed(format!("{all} of {all}"))
    } else {
        Outcome::failed(format!("these did not pass: {}", bad.join(", ")))
    };
    Ok(Outcome {
        output: format!("all of it: {}", log.display()),
        ..outcome
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::public::verdict::End;

    #[test]
    fn a_suite_that_kunit_py_does_not_miss_is_missed() {
        let console = "KTAP version 1\n1..1\n    KTAP version 1\n    # Subtest: dax_range\n    1..1\n    ok 1 t\nok 1 dax_range\n";
        let outcome = read(console, Path::new("log")).unwrap();
        assert_eq!(outcome.end, End::Failed);
        assert!(
            outcome.detail.contains("dax_allocator"),
            "{}",
            outcome.detail
        );
        assert!(!outcome.detail.contains("dax_range"), "{}", outcome.detail);
    }
}
