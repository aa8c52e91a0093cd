// SPDX-License-Identifier: GPL-2.0
//! Runs two guests at once, one with each driver, that do the same.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{channel, Sender};
use std::thread;
use std::time::Duration;

use anyhow::{anyhow, Context, Result};

use crate::cache;
use crate::cargo::Cargo;
use crate::guest::{End, Guest, Load, Outcome, STILL_UP};
use crate::kernel::Kernel;
use crate::progress::Step;
use crate::root::Root;
use crate::settings::{words, Machine};
use crate::spec::{Impl, Spec};

/// 2 GiB in a NUMA node of their own, since kmem needs one.
const APPEND: &str = "memmap=2G%6G+0xefffffff memory_hotplug.memmap_on_memory=1";
const QEMU: &str = "-object memory-backend-ram,id=ram0,size=4G \
                    -object memory-backend-ram,id=ram1,size=2G \
                    -numa node,nodeid=0,memdev=ram0,cpus=0 -numa node,nodeid=1,memdev=ram1";

/// The drivers, in the order in which they are compared.
const BOTH: [Impl; 2] = [Impl::C, Impl::Rust];

/// A machine with one CPU, so that the operations alone decide what happens.
pub fn machine(timeout: Duration) -> Result<Machine> {
    Ok(Machine {
        cpus: 1,
        append: APPEND.to_owned(),
        qemu: words(QEMU)?,
        timeout,
        ..Machine::default()
    })
}

/// The end of a guest, and all that its command printed.
pub struct Ran {
    pub imp: Impl,
    pub outcome: Outcome,
    pub text: String,
}

impl Ran {
    /// The error about a guest that did not end well. The C driver may fail what the guest's program
    /// does, for a known reason, and then the transcripts say so. The Rust driver may not.
    pub fn trouble(&self) -> Option<String> {
        let log = self.outcome.log.display();
        let why = match (self.outcome.end, &self.outcome.splat) {
            (_, Some(splat)) => format!("the kernel complained:\n{splat}\nsee {log}"),
            (End::Timeout, None) => format!("timeout; see {log}"),
            (End::Died, None) => format!("the guest died; see {log}"),
            (End::StillUp(_), None) if self.imp == Impl::Rust => format!("{STILL_UP}; see {log}"),
            (End::Exit(status), None) if status != 0 && self.imp == Impl::Rust => {
                format!("exit status {status}; see {log}")
            }
            (End::Exit(_) | End::StillUp(_), None) => return None,
        };
        Some(format!("{}: {why}", self.imp))
    }
}

/// Both kernels of a series, and what runs on them.
pub struct Pair<'a> {
    repo: &'a Path,
    spec: Spec,
    program: PathBuf,
    /// The directory of the transcripts.
    pub dir: PathBuf,
}

impl<'a> Pair<'a> {
    pub fn new(repo: &'a Path, cargo: &Cargo, spec: &Spec) -> Result<Self> {
        let built = cargo.build_for(spec.arch, spec.pages, "dax-guest")?;
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        let dir = cache::dir().join(format!("compare/{}", now.as_millis()));
        cache::mkdir(&dir)?;
        // Copy the program: a build meanwhile must not change what the next guest runs.
        let program = dir.join("dax-guest");
        fs::copy(&built, &program).with_context(|| format!("cannot copy {}", built.display()))?;
        Ok(Self {
            repo,
            spec: spec.clone(),
            program,
            dir,
        })
    }

    /// Runs a command in a C and in a Rust guest; lines are `step`'s unit.
    pub fn run(
        &self,
        label: &str,
        machine: &Machine,
        command: &str,
        files: &[PathBuf],
        step: &Step,
    ) -> Result<[Ran; 2]> {
        let machine = Machine {
            timeout: machine.timeout * self.spec.slowness(),
            ..machine.clone()
        };
        let mut guests = Vec::new();
        for imp in BOTH {
            let spec = Spec {
                imp,
                ..self.spec.clone()
            };
            let root = Root::ensure(self.repo)?;
            let kernel = Kernel::ensure(self.repo, &root, &spec)?;
            let load = Load {
                command: command.to_owned(),
                files: [std::slice::from_ref(&self.program), files].concat(),
                kunit: false,
                archives: Vec::new(),
            };
            guests.push((imp, Guest::new(&root, &kernel, &machine, &load)?));
        }
        let (lines, counted) = channel();
        let ran: Vec<Result<Ran>> = thread::scope(|scope| {
            let running: Vec<_> = guests
                .into_iter()
                .map(|(imp, guest)| {
                    let lines = lines.clone();
                    scope.spawn(move || follow(imp, guest, &lines))
                })
                .collect();
            drop(lines);
            for count in counted {
                step.advance(count);
            }
            running
                .into_iter()
                .map(|thread| {
                    thread
                        .join()
                        .unwrap_or_else(|_| Err(anyhow!("a thread panicked")))
                })
                .collect()
        });
        let mut ran = ran.into_iter();
        let mut next = || ran.next().context("two guests were started")?;
        let both = [next()?, next()?];
        for ran in &both {
            let path = self.dir.join(format!("{label}.{}", ran.imp));
            fs::write(&path, &ran.text)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(both)
    }
}

fn follow(imp: Impl, guest: Guest, lines: &Sender<u64>) -> Result<Ran> {
    let mut output = Vec::new();
    let outcome = guest.run(&mut |bytes| {
        let count = bytes.iter().filter(|&&b| b == b'\n').count();
        // Go on if nobody counts the lines.
        let _ = lines.send(count as u64);
        output.extend_from_slice(bytes);
        Ok(())
    })?;
    Ok(Ran {
        imp,
        outcome,
        text: String::from_utf8_lossy(&output).into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_c_driver_may_fail_what_the_program_does() {
        let trouble = |imp, end| {
            let outcome = Outcome {
                end,
                log: PathBuf::from("log"),
                splat: None,
                qemu: String::new(),
                took: Duration::ZERO,
            };
            let text = String::new();
            Ran { imp, outcome, text }.trouble()
        };
        for imp in BOTH {
            assert_eq!(trouble(imp, End::Exit(0)), None);
            assert!(trouble(imp, End::Timeout).is_some());
            assert!(trouble(imp, End::Died).is_some());
        }
        assert_eq!(trouble(Impl::C, End::Exit(1)), None);
        assert_eq!(trouble(Impl::C, End::StillUp(1)), None);
        assert!(trouble(Impl::Rust, End::StillUp(0)).is_some());
        let why = trouble(Impl::Rust, End::Exit(1));
        assert_eq!(why.as_deref(), Some("rust: exit status 1; see log"));
    }
}
