// SPDX-License-Identifier: GPL-2.0
//! The guests that measure.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{channel, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::{bail, Result};
pub use dax_protocol::bench::Mode;

use super::figures::Driver;
use crate::arch::{Arch, Pages};
use crate::cargo::Cargo;
use crate::guest::{End, Guest, Load};
use crate::interactive::tail;
use crate::kernel::Kernel;
use crate::progress::Step;
use crate::root::Root;
use crate::settings::Machine;
use crate::spec::{Impl, Spec};

const GIB: u64 = 1 << 30;
/// The pages of each kernel. Operations are named after these, and after pages of 2 MiB.
const PAGES: Pages = Pages::Of4k;
/// The bytes of a range and of the hole behind it.
const PIECE: u64 = 4 << 20;
/// The addresses at which the upper memory and the first region begin.
const UPPER: u64 = 4 * GIB;
const REGION: u64 = 6 * GIB;
/// The bytes of the lower memory.
const LOWER: u64 = 2 * GIB;
/// The bytes of the second region, and the distance between the two regions. Operations that are
/// done in two regions at once need the second.
const SECOND: u64 = GIB;
/// The longest that a guest may take.
const TIMEOUT: Duration = Duration::from_secs(3600);

/// The unit of a mode's figures, for people.
pub fn unit(mode: Mode) -> &'static str {
    match mode {
        Mode::Count => "instructions",
        Mode::Turns => "the emulator's time",
        Mode::Wall => "real time",
        Mode::Smoke => "a little of everything",
    }
}

/// The work of a guest.
pub struct Task<'a> {
    pub driver: Driver,
    pub mode: Mode,
    pub ranges: &'a [u64],
    /// Names of operations; all if there are none.
    pub only: Vec<&'static str>,
}

/// Both kernels of a series, and what runs on them.
pub struct Guests<'a> {
    repo: &'a Path,
    root: Root,
    program: PathBuf,
    series: &'a str,
    arch: Arch,
}

impl<'a> Guests<'a> {
    pub fn new(repo: &'a Path, cargo: &Cargo, spec: &'a Spec) -> Result<Self> {
        Ok(Self {
            repo,
            root: Root::ensure(repo)?,
            program: cargo.build_for(spec.arch, PAGES, "dax-guest")?,
            series: &spec.series,
            arch: spec.arch,
        })
    }

    /// The usual kernel of the architecture.
    fn spec(&self, imp: Impl) -> Spec {
        Spec::new(self.series, imp).on(self.arch)
    }

    /// Builds the kernels first, so that guests follow each other without a pause.
    pub fn build(&self) -> Result<()> {
        for imp in [Impl::C, Impl::Rust] {
            Kernel::ensure(self.repo, &self.root, &self.spec(imp))?;
        }
        Ok(())
    }

    /// Runs a guest to its end, and returns what it printed.
    pub fn run(&self, task: &Task<'_>, label: &str) -> Result<String> {
        let imp = match task.driver {
            Driver::C => Impl::C,
            Driver::Rust | Driver::RustAround => Impl::Rust,
        };
        let kernel = Kernel::ensure(self.repo, &self.root, &self.spec(imp))?;
        let load = Load {
            command: command(task),
            files: vec![self.program.clone()],
            ..Load::default()
        };
        let guest = Guest::new(&self.root, &kernel, &machine(task), &load)?;
        drop(kernel);
        let step = Step::start(label, 0);
        let (sender, ended) = channel();
        let (outcome, text) = thread::scope(|scope| {
            scope.spawn(move || {
                let mut text = Vec::new();
                let outcome = guest.run(&mut |bytes| {
                    text.extend_from_slice(bytes);
                    Ok(())
                });
                // The receiver waits for this message only.
                let _ = sender.send(outcome.map(|outcome| (outcome, text)));
            });
            loop {
                match ended.recv_timeout(Duration::from_secs(1)) {
                    Ok(result) => return result,
                    // A guest that counts prints nothing before its end.
                    Err(RecvTimeoutError::Timeout) => step.advance(0),
                    Err(RecvTimeoutError::Disconnected) => bail!("the guest's thread panicked"),
                }
            }
        })?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let log = outcome.log.display();
        match (&outcome.splat, outcome.end) {
            (Some(splat), _) => bail!("{label}: the kernel complained:\n{splat}\nsee {log}"),
            (None, End::Exit(0)) => {}
            (None, End::Exit(status)) => bail!("{label}: exit status {status}:\n{text}\nsee {log}"),
            (None, End::StillUp(_) | End::Timeout | End::Died) => bail!(
                "{label}: it did not end well\n{}\n{}\nsee {log}",
                outcome.qemu,
                tail(&outcome.log)
            ),
        }
        step.done();
        Ok(text)
    }
}

fn command(task: &Task<'_>) -> String {
    let ranges: Vec<String> = task.ranges.iter().map(u64::to_string).collect();
    let mode = task.mode.name();
    let only = task.only.join(",");
    format!("/dax-guest bench {mode} {} {only}", ranges.join(","))
}

/// A machine with a region that has room for the ranges, and a small second region.
fn machine(task: &Task<'_>) -> Machine {
    let most = task.ranges.iter().copied().max().unwrap_or(1);
    // The region must have room for a page of 1 GiB.
    let len = (most * PIECE).next_multiple_of(GIB).max(2 * GIB);
    let second = REGION + len + SECOND;
    let mem = LOWER + (second + SECOND - UPPER);
    let mut append = format!(
        "slab_nomerge norandmaps memmap={}G%{}G+0xefffffff memmap={}G%{}G+0xefffffff",
        len / GIB,
        REGION / GIB,
        SECOND / GIB,
        second / GIB
    );
    if task.driver == Driver::RustAround {
        append += " device_dax.fault_around_bytes=65536";
    }
    let mem = format!("{}G", mem / GIB);
    // Most of the memory is never touched, and the host need not have it.
    let backend = format!("memory-backend-ram,id=ram0,size={mem},reserve=off");
    let qemu = ["-object", &backend, "-machine", "memory-backend=ram0"];
    Machine {
        mem,
        cpus: if task.mode == Mode::Count { 1 } else { 2 },
        append,
        qemu: qemu.map(str::to_owned).to_vec(),
        timeout: TIMEOUT,
        counted: matches!(task.mode, Mode::Count | Mode::Turns),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_is_as_large_as_its_regions_ask_for() {
        let task = Task {
            driver: Driver::RustAround,
            mode: Mode::Count,
            ranges: &[1, 4096],
            only: vec!["bind", "shrink"],
        };
        let machine = machine(&task);
        assert_eq!((machine.mem.as_str(), machine.cpus), ("22G", 1));
        assert!(machine.append.contains("memmap=16G%6G+"));
        assert!(machine.append.contains("memmap=1G%23G+"));
        assert!(machine
            .append
            .ends_with(" device_dax.fault_around_bytes=65536"));
        assert_eq!(command(&task), "/dax-guest bench count 1,4096 bind,shrink");
    }
}
