// SPDX-License-Identifier: GPL-2.0
//! Runs one public test in a guest of its own and reads its result.

use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};

use crate::arch::Arch;
use crate::cache::{self, Key, Lock};
use crate::cpio;
use crate::guest::{self, Guest, Load};
use crate::kernel::Kernel;
use crate::ktap;
use crate::progress::Step;
use crate::report::Verdict;
use crate::root::Root;
use crate::spec::Spec;

use super::list::{Test, With};
use super::ndctl::{self, Ndctl};
use super::verdict::Outcome;
use super::{kunit_py, mocks};

/// The exit status of a test of ndctl that cannot run here, as meson and automake have it.
const SKIPPED: i32 = 77;
/// The exit status of a kernel selftest that cannot run here.
const KSFT_SKIPPED: i32 = 4;

/// Lines kept of a test's output.
const TAIL: usize = 50;

/// The directory of the selftests, in the tree and in a guest.
const SELFTESTS: &str = "tools/testing/selftests";

pub struct Guests<'a> {
    repo: &'a Path,
    root: &'a Root,
    ndctl: Ndctl,
}

impl<'a> Guests<'a> {
    pub fn new(repo: &'a Path, root: &'a Root, arch: Arch) -> Result<Self> {
        let ndctl = ndctl::ensure(repo, root, arch)?;
        Ok(Self { repo, root, ndctl })
    }

    /// ndctl's version.
    pub fn version(&self) -> &str {
        &self.ndctl.version
    }

    pub fn run(&self, test: &Test, spec: &Spec) -> Result<Outcome> {
        if let Some(why) = test.exception(spec) {
            return Ok(Outcome::not_run(why));
        }
        if test.with == With::KunitPy {
            return kunit_py::run(self.repo, self.root, spec);
        }
        let kernel = Kernel::ensure(self.repo, self.root, spec)?;
        let mut archives = vec![self.ndctl.archive.clone(), self.scripts(test, &kernel)?];
        if let With::Mocks(mocks) = test.with {
            archives.push(mocks::ensure(self.root, &kernel, spec, mocks)?);
        }
        let load = Load {
            command: format!(". /public/prelude.sh\n{}", test.command),
            archives,
            ..Load::default()
        };
        let guest = Guest::new(self.root, &kernel, &test.machine()?, &load)?;
        drop(kernel);

        let step = Step::start(format!("{} on {}, {spec}", test.name, test.on), 0);
        let (outcome, output, log) = guest.run_keeping_output(step)?;
        Ok(read(&outcome, &output, &log))
    }

    /// tests/public, and the kernel's selftests if the test is one.
    fn scripts(&self, test: &Test, kernel: &Kernel) -> Result<PathBuf> {
        let mut files = Vec::new();
        for name in ["prelude.sh", "override.sh", "journalctl"] {
            files.push((
                self.repo.join("tests/public").join(name),
                Path::new("public").join(name),
            ));
        }
        if test.with == With::Selftests {
            for name in ["dax/dax-kmem-hotplug.sh", "kselftest/ktap_helpers.sh"] {
                let name = Path::new(SELFTESTS).join(name);
                let file = kernel.tree().join(&name);
                if !file.exists() {
                    bail!("this kernel has no {}", name.display());
                }
                files.push((file, name));
            }
        }
        let mut key = Key::new("public scripts").text(cpio::CODE);
        for (file, name) in &files {
            key = key.text(&name.to_string_lossy()).file(file)?;
        }
        let name = format!("scripts-{}.cpio", key.finish());
        let archive = cache::dir().join("public").join(&name);
        let _lock = Lock::take(&name)?;
        if !archive.exists() {
            let part = archive.with_extension("part");
            cache::remove(&part)?;
            let staged = part.join("staged");
            for (file, name) in &files {
                let to = staged.join(name);
                cache::mkdir(to.parent().unwrap_or(&staged))?;
                std::fs::copy(file, &to)
                    .with_context(|| format!("cannot copy {}", file.display()))?;
            }
            cpio::pack(&staged, &part.join("packed"))?;
            cache::rename(&part.join("packed"), &archive)?;
            cache::remove(&part)?;
        }
        Ok(archive)
    }
}

/// The outcome of a test, from the guest's end and output.
fn read(outcome: &guest::Outcome, output: &str, log: &Path) -> Outcome {
    let lines: Vec<&str> = output.lines().collect();
    let tail = lines[lines.len().saturating_sub(TAIL)..].join("\n");
    let logs = format!("all of it: {}, {}", log.display(), outcome.log.display());
    let tail = format!("{tail}\n{logs}");
    let result = match (outcome.end, &outcome.splat) {
        (_, Some(splat)) => Outcome::failed(format!("the kernel complained:\n{splat}")),
        (guest::End::Timeout, _) => Outcome::failed("it did not end in time"),
        (guest::End::StillUp(_), _) => Outcome::failed(guest::STILL_UP),
        (guest::End::Died, _) => Outcome::failed(format!("the guest died: {}", outcome.qemu)),
        (guest::End::Exit(SKIPPED | KSFT_SKIPPED), _) => Outcome::skipped("the test skips itself"),
        (guest::End::Exit(0), _) => counted(output),
        (guest::End::Exit(status), _) => Outcome::failed(format!("exit status {status}")),
    };
    Outcome {
        output: tail,
        ..result
    }
}

/// The outcome of a test with exit status 0. If it printed KTAP, no result may be a failure.
fn counted(output: &str) -> Outcome {
    // KUnit's results in a kernel log that a script prints do not count: a time stamp precedes
    // them.
    let speaks = |line: &str| line.starts_with("TAP version") || line.starts_with("KTAP version");
    if !output.lines().any(speaks) {
        return Outcome::passed("");
    }
    let results = match ktap::parse("", output) {
        Ok(results) => results,
        Err(error) => return Outcome::failed(format!("{error:#}")),
    };
    let of = |f: fn(&Verdict) -> bool| results.iter().filter(|p| f(&p.verdict)).count();
    let (passed, all) = (of(|v| *v == Verdict::Passed), results.len());
    if all == 0 || of(|v| *v == Verdict::Failed) > 0 {
        Outcome::failed(format!("{passed} of {all} pass, but its exit status is 0"))
    } else if passed == 0 {
        Outcome::skipped("all of it skips itself")
    } else {
        Outcome::passed(format!("{passed} of {all}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::public::verdict::End;

    #[test]
    fn a_test_that_speaks_ktap_is_taken_at_its_word() {
        let end = |output| counted(output).end;
        assert_eq!(end("TAP version 13\n1..1\nok 1 a\n"), End::Passed);
        assert_eq!(end("TAP version 13\n1..2\nok 1 a\n"), End::Failed);
        assert_eq!(end("TAP version 13\n1..1\nnot ok 1 a\n"), End::Failed);
        assert_eq!(
            end("TAP version 13\n1..1\nok 1 a # SKIP no\n"),
            End::Skipped
        );
        assert_eq!(end("done\n"), End::Passed);
        assert_eq!(
            end("+ log='[    1.1] KTAP version 1\n[    1.1] 1..0\n"),
            End::Passed
        );
    }
}
