// SPDX-License-Identifier: GPL-2.0
//! `make clients`: programs that people run on device-dax, as Debian ships them, on a device of
//! several ranges, with the C and with the Rust driver. A run of all of them writes the table of
//! docs/results/clients.md.

mod disk;
mod list;
mod rows;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::cache;
use crate::guest::{End, Guest, Load, Outcome, STILL_UP};
use crate::interactive::tail;
use crate::kernel::Kernel;
use crate::ktap;
use crate::progress::{human, Step};
use crate::report::{Report, TestResult, QUIET};
use crate::root::Root;
use crate::settings;
use crate::spec::{Impl, Spec, SERIES};
use crate::table;

use list::{Align, Client, CLIENTS, ENDED};
use rows::{Rows, BEGINS};

pub const DOCUMENT: &str = "docs/results/clients.md";

pub fn main(repo: &Path) -> Result<ExitCode> {
    let only = settings::var("ONLY")?;
    let wanted = |client: &&Client| only.as_ref().is_none_or(|only| only == client.name);
    let clients: Vec<&'static Client> = CLIENTS.iter().filter(wanted).collect();
    if let (Some(only), true) = (&only, clients.is_empty()) {
        let names: Vec<&str> = CLIENTS.iter().map(|c| c.name).collect();
        return Err(settings::unknown("ONLY", only, "client", &names));
    }
    let impls = settings::all_impls()?;
    let series = settings::series()?;
    let root = Root::ensure(repo)?;
    let disk = disk::ensure(repo, &root)?;
    let mut rows = Rows::default();
    let mut report = Report::default();
    for client in &clients {
        for &align in client.aligns {
            for &imp in &impls {
                let mut spec = settings::spec_for(series, imp)?;
                spec.clients = true;
                let name = format!("{} at {}, {spec}", client.name, align.text());
                let guests = Guests {
                    repo,
                    root: &root,
                    disk: &disk,
                    spec: &spec,
                };
                // The rows of other guests must not be lost with this one.
                let (results, took) = guests.run(client, align, &name).unwrap_or_else(|error| {
                    let failed = TestResult::failed(QUIET, &format!("{error:#}"));
                    (vec![failed], Duration::ZERO)
                });
                rows.add(client, align, imp, &results);
                let judge = |result| {
                    let result = rows::judged(client, imp, result);
                    TestResult {
                        name: format!("{name}: {}", result.name),
                        ..result
                    }
                };
                let results = results.into_iter().map(judge).collect();
                report.add(&name, &human(took), results);
            }
        }
    }
    let usual = settings::spec_for(series, Impl::Rust)?.is_usual() && series == SERIES[0];
    if only.is_none() && impls.len() == 2 && usual {
        table::replace(&repo.join(DOCUMENT), "clients", &rows.table().markdown())?;
        eprintln!("{DOCUMENT}: table written");
    } else {
        eprint!("{}", rows.table().markdown());
        eprintln!("{DOCUMENT} is not written: only a run of everything writes it");
    }
    Ok(report.finish())
}

/// The things that the guests of one kernel have in common.
struct Guests<'a> {
    repo: &'a Path,
    root: &'a Root,
    disk: &'a Path,
    spec: &'a Spec,
}

impl Guests<'_> {
    /// Runs a client in a guest.
    fn run(
        &self,
        client: &Client,
        align: Align,
        name: &str,
    ) -> Result<(Vec<TestResult>, Duration)> {
        let mut machine = client.machine(align);
        machine.timeout *= self.spec.slowness();
        let drive = self.disk.display().to_string().replace(',', ",,");
        machine.qemu.extend([
            "-drive".to_owned(),
            format!("file={drive},format=raw,if=virtio,snapshot=on"),
        ]);
        let kernel = Kernel::ensure(self.repo, self.root, self.spec)?;
        let mut files = scripts(self.repo)?;
        files.push(kernel.image());
        let load = Load {
            command: format!(". /start.sh && start {} {}", client.name, align.word()),
            files,
            ..Load::default()
        };
        let guest = Guest::new(self.root, &kernel, &machine, &load)?;
        drop(kernel);
        let step = Step::start(format!("{name}: {}", client.programs), 0);
        let (outcome, output, log) = guest.run_keeping_output(step)?;
        let mut results = ktap::parse("", &output)?;
        if let Some(name) = unfinished(&output) {
            results.push(TestResult::failed(name, ENDED));
        }
        results.push(match wrong(&outcome) {
            None => TestResult::passed(QUIET),
            Some(why) => {
                let text = format!(
                    "{why}\nall of the output: {}\n{}",
                    log.display(),
                    complaint(&outcome).unwrap_or_else(|| tail(&outcome.log))
                );
                TestResult::failed(QUIET, &text)
            }
        });
        Ok((results, outcome.took))
    }
}

/// The first line of why the guest did not end well.
fn wrong(outcome: &Outcome) -> Option<String> {
    if let Some(splat) = &outcome.splat {
        let first = splat.lines().next().unwrap_or_default();
        return Some(format!("the kernel complained: {first}"));
    }
    match outcome.end {
        End::Exit(0) => None,
        End::Exit(status) => Some(format!("the script ended with status {status}")),
        End::StillUp(_) => Some(STILL_UP.to_owned()),
        End::Timeout => Some(format!("it had not ended after {}", human(outcome.took))),
        End::Died => Some(format!("the guest died: {}", outcome.qemu)),
    }
}

/// The kernel's log from its complaint on, if there is one.
fn complaint(outcome: &Outcome) -> Option<String> {
    let first = outcome.splat.as_ref()?.lines().next()?;
    let log = cache::read(&outcome.log).ok()?;
    let log = String::from_utf8_lossy(&log);
    Some(log[log.find(first)?..].to_owned())
}

/// The name of the test in which the output ends.
fn unfinished(output: &str) -> Option<&str> {
    let (_, rest) = output.rsplit_once(BEGINS)?;
    let (name, rest) = rest.split_once('\n').unwrap_or((rest, ""));
    let is_result = |line: &str| line.starts_with("ok ") || line.starts_with("not ok ");
    (!rest.lines().any(is_result)).then(|| name.trim_end())
}

/// The files of tests/clients.
fn scripts(repo: &Path) -> Result<Vec<PathBuf>> {
    let dir = repo.join("tests/clients");
    let entries =
        std::fs::read_dir(&dir).with_context(|| format!("cannot list {}", dir.display()))?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_test_in_which_a_guest_ends_is_named() {
        let output = "# begins: a\nok 1 - a\n# begins: b, and c\n# seen: x\n";
        assert_eq!(unfinished(output), Some("b, and c"));
        assert_eq!(unfinished("# begins: a"), Some("a"));
        assert_eq!(unfinished("# begins: a\n# x\nnot ok 1 - a\n1..1\n"), None);
        assert_eq!(unfinished(""), None);
    }

    #[test]
    fn every_client_has_its_script() {
        let repo = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let files = scripts(&repo).unwrap();
        for client in CLIENTS {
            let script = format!("tests/clients/{}.sh", client.name);
            assert!(files.iter().any(|f| f.ends_with(&script)), "{script}");
        }
    }
}
