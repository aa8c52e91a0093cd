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

use crate::guest::{End, Guest, Load, Outcome, STILL_UP};
use crate::interactive::tail;
use crate::kernel::Kernel;
use crate::ktap;
use crate::progress::{human, Step};
use crate::report::{Report, TestResult, QUIET};
use crate::root::Root;
use crate::settings;
use crate::spec::{Spec, SERIES};
use crate::table;

use list::{Align, Client, CLIENTS};
use rows::Rows;

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
                let (results, took) = guests.run(client, align, &name)?;
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
    let usual = !settings::flag("DEBUG")? && series == SERIES[0];
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
        results.push(match wrong(&outcome) {
            None => TestResult::passed(QUIET),
            Some(why) => {
                let text = format!(
                    "{}\nall of the output: {}\n{why}",
                    tail(&outcome.log),
                    log.display()
                );
                TestResult::failed(QUIET, &text)
            }
        });
        Ok((results, outcome.took))
    }
}

fn wrong(outcome: &Outcome) -> Option<String> {
    if let Some(splat) = &outcome.splat {
        return Some(format!("the kernel complained: {splat}"));
    }
    match outcome.end {
        End::Exit(0) => None,
        End::Exit(status) => Some(format!("the script ended with status {status}")),
        End::StillUp(_) => Some(STILL_UP.to_owned()),
        End::Timeout => Some(format!("it had not ended after {}", human(outcome.took))),
        End::Died => Some(format!("the guest died: {}", outcome.qemu)),
    }
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
    fn every_client_has_its_script() {
        let repo = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let files = scripts(&repo).unwrap();
        for client in CLIENTS {
            let script = format!("tests/clients/{}.sh", client.name);
            assert!(files.iter().any(|f| f.ends_with(&script)), "{script}");
        }
    }
}
