// SPDX-License-Identifier: GPL-2.0
//! Guests: boots a kernel in QEMU, runs one command in it and hands out the
//! command's bytes, its exit status and the kernel's complaint.

mod directory;
mod qemu;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};

use crate::arch::Arch;
use crate::cache;
use crate::exit_marker::{self, ExitMarker};
use crate::kernel::Kernel;
use crate::monitor::Monitor;
use crate::progress::Step;
use crate::root::Root;
use crate::settings::Machine;
use crate::splat;
use crate::virt;

use directory::{run_dir, write_image, IMAGE, INITRD, LOG};
use qemu::{doubled_commas, emulator, output_port, qemu};

pub use qemu::{hardware_virtualisation, KVM};

/// Time that QEMU may run after the command ended, on a usual kernel: the guest only has to power
/// off. This is long, for the host may be busy, and only a guest that hangs takes all of it. The
/// guest's init waits up to a minute for the host before it powers off.
const GRACE: Duration = Duration::from_secs(180);
/// That time for a whole system, which stops its services first.
const SYSTEM_GRACE: Duration = Duration::from_secs(300);
/// Time that a guest that hangs has to say what it is doing.
const REPORT: Duration = Duration::from_secs(20);

/// The words for [`End::StillUp`].
pub const STILL_UP: &str = "the command ended, but the machine did not power off";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The command's own exit status. The machine was off soon afterwards.
    Exit(i32),
    /// The command's own exit status, but the machine did not power off.
    StillUp(i32),
    Timeout,
    /// QEMU ended before the command did.
    Died,
}

pub struct Outcome {
    pub end: End,
    pub log: PathBuf,
    /// The first lines of the kernel's complaint, if it complained.
    pub splat: Option<String>,
    /// QEMU's own messages.
    pub qemu: String,
    /// Time that QEMU ran.
    pub took: Duration,
}

pub struct Guest {
    dir: PathBuf,
    command: Command,
    timeout: Duration,
    /// Time that it may run after the command.
    grace: Duration,
    mark: Option<ExitMarker>,
}

/// A system that boots from a disk: its kernel and initrd, the disk, a second disk that is only
/// read, and the line that ends the output of its command.
pub struct System<'a> {
    pub kernel: &'a Path,
    pub initrd: &'a Path,
    pub disk: &'a Path,
    pub second: &'a Path,
    pub end: &'a str,
}

/// The command of a guest, and the files that it has besides the base image.
#[derive(Default)]
pub struct Load {
    pub command: String,
    pub files: Vec<PathBuf>,
    /// Whole cpio archives, unpacked in this order over all else.
    pub archives: Vec<PathBuf>,
    /// Let the KUnit suites run when the module is loaded.
    pub kunit: bool,
}

impl Guest {
    /// Prepares a guest that runs one command. It does not need `kernel` afterwards.
    pub fn new(root: &Root, kernel: &Kernel, machine: &Machine, load: &Load) -> Result<Self> {
        let end = exit_marker::new_line()?;
        let dir = run_dir()?;
        let emulator = emulator(root, kernel)?;
        let mut machine = machine.clone();
        virt::adapt(kernel.arch, &mut machine)?;
        kernel.pages.adapt(&mut machine)?;
        write_image(root, kernel, &dir, &load.archives, |archive| {
            archive.file(Path::new(".xtask/cmd"), 0o600, load.command.as_bytes())?;
            archive.file(Path::new(".xtask/end"), 0o600, end.as_bytes())?;
            for file in &load.files {
                let name = file
                    .file_name()
                    .with_context(|| format!("{} has no name", file.display()))?;
                let real = fs::canonicalize(file)
                    .with_context(|| format!("no file {}", file.display()))?;
                archive.copy(Path::new(name), &real)?;
            }
            Ok(())
        })?;
        let mut command = qemu(&emulator, kernel.arch, &machine, &dir, load.kunit);
        output_port(&mut command, &machine);
        Ok(Self {
            dir,
            command,
            timeout: machine.timeout,
            grace: GRACE * kernel.slowness,
            mark: Some(ExitMarker::new(&end)),
        })
    }

    /// Prepares a guest that boots a system, which runs its command by itself.
    pub fn system(root: &Root, machine: &Machine, system: &System<'_>) -> Result<Self> {
        let dir = run_dir()?;
        for (from, name) in [(system.kernel, IMAGE), (system.initrd, INITRD)] {
            fs::copy(from, dir.join(name))
                .with_context(|| format!("cannot copy {}", from.display()))?;
        }
        let mut command = qemu(root, Arch::X86, machine, &dir, false);
        for (disk, how) in [
            (system.disk, "cache=unsafe"),
            (system.second, "readonly=on"),
        ] {
            let path = doubled_commas(disk);
            let drive = format!("file={path},format=raw,if=virtio,{how}");
            command.arg("-drive").arg(drive);
        }
        output_port(&mut command, machine);
        Ok(Self {
            dir,
            command,
            timeout: machine.timeout,
            grace: SYSTEM_GRACE,
            mark: Some(ExitMarker::new(system.end)),
        })
    }

    /// Prepares a guest with a shell on this terminal.
    pub fn shell(
        root: &Root,
        kernel: &Kernel,
        machine: &Machine,
        files: &[PathBuf],
    ) -> Result<Self> {
        let dir = run_dir()?;
        let emulator = emulator(root, kernel)?;
        let mut machine = machine.clone();
        virt::adapt(kernel.arch, &mut machine)?;
        kernel.pages.adapt(&mut machine)?;
        let (rows, columns) = terminal_size();
        let term = std::env::var("TERM").unwrap_or_else(|_| "vt100".to_owned());
        let term: String = term
            .chars()
            .filter(|c| c.is_ascii_alphanumeric() || "-+.".contains(*c))
            .collect();
        let terminal = format!("rows={rows}\ncolumns={columns}\nexport TERM={term}\n");
        write_image(root, kernel, &dir, &[], |archive| {
            archive.file(Path::new(".xtask/terminal"), 0o600, terminal.as_bytes())?;
            for file in files {
                let name = file
                    .file_name()
                    .with_context(|| format!("{} has no name", file.display()))?;
                archive.copy(Path::new(name), file)?;
            }
            Ok(())
        })?;
        let mut command = qemu(&emulator, kernel.arch, &machine, &dir, false);
        command.args([
            "-chardev",
            "stdio,id=tty,signal=off",
            "-serial",
            "chardev:tty",
        ]);
        Ok(Self {
            dir,
            command,
            timeout: machine.timeout,
            grace: GRACE,
            mark: None,
        })
    }

    pub fn log(&self) -> PathBuf {
        self.dir.join(LOG)
    }

    /// Runs an interactive guest to its end.
    pub fn attach(mut self) -> Result<Outcome> {
        let start = Instant::now();
        let status = self.command.status();
        self.clean();
        let status = status.context("cannot start QEMU")?;
        let end = if status.success() {
            End::Exit(0)
        } else {
            End::Died
        };
        Ok(Outcome {
            end,
            log: self.log(),
            splat: self.splat(end)?,
            qemu: String::new(),
            took: start.elapsed(),
        })
    }

    /// Runs the guest to its end; `sink` gets the command's output as it comes.
    pub fn run(mut self, sink: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<Outcome> {
        let start = Instant::now();
        let errors = self.dir.join("qemu.err");
        let errors_file =
            File::create(&errors).with_context(|| format!("cannot make {}", errors.display()))?;
        self.command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors_file);
        let mut monitor = Monitor::add(&mut self.command)?;
        let child = self.command.spawn();
        let mut child = Running(child.context("cannot start QEMU")?);
        let end = self.watch(&mut child.0, start, sink);
        let took = start.elapsed();
        let ended = end.and_then(|end| Ok((end, self.splat(end)?)));
        if matches!(ended, Ok((End::Timeout | End::StillUp(_), _))) {
            child.report(&mut monitor);
        }
        drop(child);
        self.clean();
        let qemu = fs::read(&errors).unwrap_or_default();
        let qemu = String::from_utf8_lossy(&qemu).trim().to_owned();
        let (end, splat) = ended?;
        Ok(Outcome {
            end,
            log: self.log(),
            splat,
            qemu,
            took,
        })
    }

    fn watch(
        &mut self,
        child: &mut Child,
        start: Instant,
        sink: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<End> {
        let (Some(mut output), Some(mut input), Some(mut mark)) =
            (child.stdout.take(), child.stdin.take(), self.mark.take())
        else {
            bail!("this guest has no output channel");
        };
        let mut deadline = start + self.timeout;
        // The command's exit status.
        let mut status = None;
        let mut buffer = vec![0; 64 << 10];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(status.map_or(End::Timeout, End::StillUp));
            }
            let wait = PollTimeout::try_from(left.min(Duration::from_secs(60)))
                .unwrap_or(PollTimeout::ZERO);
            let ready = match poll(&mut [PollFd::new(output.as_fd(), PollFlags::POLLIN)], wait) {
                Err(nix::errno::Errno::EINTR) => 0,
                other => other.context("cannot wait for QEMU")?,
            };
            if ready == 0 {
                continue;
            }
            let count = output.read(&mut buffer).context("cannot read from QEMU")?;
            if count == 0 {
                return Ok(status.map_or(End::Died, End::Exit));
            }
            if status.is_none() {
                let bytes;
                (bytes, status) = mark.feed(&buffer[..count]);
                sink(&bytes)?;
                if status.is_some() {
                    deadline = Instant::now() + self.grace;
                    // The guest may be gone; then nobody reads this.
                    let _ = input.write_all(b"\n");
                }
            }
        }
    }

    /// The complaint of the kernel, if there is one.
    fn splat(&self, end: End) -> Result<Option<String>> {
        let log = self.log();
        let text = match fs::read(&log) {
            // QEMU ended before it made the log.
            Err(_) if end == End::Died => Vec::new(),
            other => other.with_context(|| format!("cannot read {}", log.display()))?,
        };
        splat::find(&String::from_utf8_lossy(&text))
    }

    /// Runs the guest to its end, and keeps its output beside the kernel's log. Returns the output
    /// and that file.
    pub fn run_keeping_output(self, step: Step) -> Result<(Outcome, String, PathBuf)> {
        let log = self.log().with_file_name("output");
        let mut output = Vec::new();
        let outcome = self.run(&mut |bytes| {
            output.extend_from_slice(bytes);
            step.advance(bytes.len() as u64);
            Ok(())
        })?;
        step.done();
        cache::write_whole(&log, &output)?;
        let output = String::from_utf8_lossy(&output).into_owned();
        Ok((outcome, output, log))
    }

    /// Removes the images, which are large and made for one guest. The logs stay.
    fn clean(&self) {
        for name in [IMAGE, INITRD] {
            let _ = fs::remove_file(self.dir.join(name));
        }
    }
}

/// A running QEMU. Dropping the value kills it.
struct Running(Child);

impl Running {
    /// Makes the kernel report into its log what it is doing, and end, if it still can.
    fn report(&mut self, monitor: &mut Monitor) {
        if monitor.interrupt().is_err() {
            return;
        }
        let start = Instant::now();
        while matches!(self.0.try_wait(), Ok(None)) && start.elapsed() < REPORT {
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn terminal_size() -> (String, String) {
    let size = Command::new("stty")
        .arg("size")
        .stdin(Stdio::inherit())
        .output();
    let text = size
        .map(|o| String::from_utf8_lossy(&o.stdout).into_owned())
        .unwrap_or_default();
    match text.split_once(' ') {
        Some((rows, columns)) => (rows.trim().to_owned(), columns.trim().to_owned()),
        None => ("24".to_owned(), "80".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How a guest ends whose QEMU is this shell script.
    fn end(script: &str) -> End {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = Running(command.spawn().unwrap());
        let mut guest = Guest {
            dir: PathBuf::new(),
            command,
            timeout: Duration::from_secs(if script.contains("early") { 1 } else { 60 }),
            grace: Duration::from_secs(if script.contains("sleep") { 1 } else { 60 }),
            mark: Some(ExitMarker::new("end")),
        };
        let mut sink = |_: &[u8]| Ok(());
        guest
            .watch(&mut child.0, Instant::now(), &mut sink)
            .unwrap()
    }

    #[test]
    fn a_machine_that_stays_up_is_told_from_one_that_powers_off() {
        assert_eq!(end("printf '\\0end 0\\n'; read answer"), End::Exit(0));
        assert_eq!(end("printf '\\0end 3\\n'; read answer"), End::Exit(3));
        assert_eq!(end("printf '\\0end 0\\n'; exec sleep 60"), End::StillUp(0));
        assert_eq!(end("printf '\\0end 3\\n'; exec sleep 60"), End::StillUp(3));
        assert_eq!(end("echo early; exec sleep 60"), End::Timeout);
        assert_eq!(end("echo"), End::Died);
    }
}
