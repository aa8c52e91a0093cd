// SPDX-License-Identifier: GPL-2.0
//! Guests: boots a kernel in QEMU, runs one command in it and hands out the
//! command's bytes, its exit status and what the kernel had to say.

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
use crate::cpio::Archive;
use crate::exit_marker::{self, ExitMarker};
use crate::initramfs;
use crate::kernel::Kernel;
use crate::monitor::{self, Monitor};
use crate::progress::Step;
use crate::root::Root;
use crate::settings::Machine;
use crate::splat;

/// Time that QEMU may run after the command ended: the guest only has to power off.
const GRACE: Duration = Duration::from_secs(20);
/// The same for a whole system, which stops its services first.
const SYSTEM_GRACE: Duration = Duration::from_secs(300);
/// Time that a guest that hangs has to say what it is doing.
const REPORT: Duration = Duration::from_secs(20);

/// The name of the kernel in the folder of a run.
const IMAGE: &str = "kernel";

/// Number of guests' logs that are kept.
const KEPT_RUNS: usize = 60;
/// Time that the folder of a guest that has not ended is kept. A guest that runs longer may lose its
/// log.
const LONGEST_RUN: Duration = Duration::from_secs(24 * 3600);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The command's own exit status.
    Exit(i32),
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
        kernel.arch.adapt(&mut machine)?;
        write_image(root, kernel, &dir, &load.archives, |archive| {
            archive.file(Path::new(".lab/cmd"), 0o600, load.command.as_bytes())?;
            archive.file(Path::new(".lab/end"), 0o600, end.as_bytes())?;
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
            grace: GRACE,
            mark: Some(ExitMarker::new(&end)),
        })
    }

    /// Prepares a guest that boots a system, which runs its command by itself.
    pub fn system(root: &Root, machine: &Machine, system: &System<'_>) -> Result<Self> {
        let dir = run_dir()?;
        for (from, name) in [(system.kernel, IMAGE), (system.initrd, "initrd")] {
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
        kernel.arch.adapt(&mut machine)?;
        let (rows, columns) = terminal_size();
        let term = std::env::var("TERM").unwrap_or_else(|_| "vt100".to_owned());
        let term: String = term
            .chars()
            .filter(|c| c.is_ascii_alphanumeric() || "-+.".contains(*c))
            .collect();
        let terminal = format!("rows={rows}\ncolumns={columns}\nexport TERM={term}\n");
        write_image(root, kernel, &dir, &[], |archive| {
            archive.file(Path::new(".lab/terminal"), 0o600, terminal.as_bytes())?;
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
        self.dir.join("kernel.log")
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
        if matches!(ended, Ok((End::Timeout, _))) {
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
        let mut end = None;
        let mut buffer = vec![0; 64 << 10];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(end.unwrap_or(End::Timeout));
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
                return Ok(end.unwrap_or(End::Died));
            }
            if end.is_none() {
                let (bytes, status) = mark.feed(&buffer[..count]);
                sink(&bytes)?;
                if let Some(status) = status {
                    end = Some(End::Exit(status));
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
        for name in [IMAGE, "initrd"] {
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

/// The name of the port for the device that carries the command's output, if the machine has a
/// port.
const PORT: &str = "lab.port";

/// The QEMU options that place the device which carries the command's output. The machine may have
/// more buses, on which the device would not work, so the bus is always named.
///
/// A guest that is suspended resets the device, unless the device is behind a port and says that it
/// needs no reset. After a reset Linux 7.3 does not notice that the host listens.
fn serial_bus(machine: &Machine) -> String {
    let port = format!("id={PORT},");
    if machine.qemu.iter().any(|option| option.contains(&port)) {
        format!("bus={PORT},x-pcie-pm-no-soft-reset=on")
    } else {
        "bus=pcie.0".to_owned()
    }
}

/// Adds the port that carries the output of the guest's command to QEMU's stdout.
fn output_port(command: &mut Command, machine: &Machine) {
    let serial = format!("virtio-serial-pci,{},max_ports=2", serial_bus(machine));
    command.args(["-chardev", "stdio,id=out,signal=off", "-device", &serial]);
    command.args(["-device", "virtserialport,nr=1,chardev=out,name=lab.out"]);
}

/// A path in an option of QEMU, which wants its commas doubled.
fn doubled_commas(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

/// The root with QEMU for a kernel.
fn emulator(root: &Root, kernel: &Kernel) -> Result<Root> {
    let elsewhere = kernel.elsewhere(root)?;
    Ok(elsewhere.map_or_else(|| root.clone(), |(emulator, _)| emulator))
}

/// QEMU of the root, run where it lies by the loader it was made for, so that paths in QEMU= mean
/// this machine's files.
fn qemu(root: &Root, arch: Arch, machine: &Machine, dir: &Path, kunit: bool) -> Command {
    let board = arch.board();
    let inside = |name: &str| root.path.join(name);
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]);
    command.arg(inside("usr/lib64/ld-linux-x86-64.so.2"));
    let libraries = [
        "usr/lib/x86_64-linux-gnu",
        "usr/lib/x86_64-linux-gnu/pulseaudio",
    ];
    let libraries = libraries.map(|l| inside(l).display().to_string()).join(":");
    command
        .arg("--library-path")
        .arg(libraries)
        .arg(inside("usr/bin").join(board.qemu));
    for data in ["usr/share/qemu", "usr/share/seabios"] {
        command.arg("-L").arg(inside(data));
    }
    command.args([
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
        "-no-reboot",
    ]);
    command.args(["-machine", board.machine]);
    if machine.counted {
        // The kernel seeds hash functions and addresses with the CPU's random numbers. Counts are
        // the same in each run only if these numbers are.
        command.args(["-accel", "tcg,thread=single", "-cpu", board.counting_cpu]);
        command.args(["-icount", "shift=0,sleep=off", "-seed", "1"]);
        command.args(["-rtc", "base=2026-01-01T00:00:00,clock=vm"]);
    } else if arch == Arch::X86 && hardware_virtualisation() {
        command.args(["-accel", "kvm", "-cpu", "host"]);
    } else {
        command.args(["-accel", "tcg,thread=multi", "-cpu", board.cpu]);
    }
    command.args(["-m", &machine.mem, "-smp", &machine.cpus.to_string()]);
    command
        .arg("-kernel")
        .arg(dir.join(IMAGE))
        .arg("-initrd")
        .arg(dir.join("initrd"));
    let kunit = if kunit {
        "kunit.filter_glob=dax_* "
    } else {
        "kunit.enable=0 "
    };
    let append = format!("{}{}", board.append, machine.append);
    let console = board.console;
    // The host may not run a CPU for a minute. That is no stall of the guest.
    let stall = "rcupdate.rcu_cpu_stall_timeout=300";
    command.arg("-append").arg(format!(
        "console={console} ignore_loglevel nokaslr panic=-1 {} {stall} {kunit}{append}",
        monitor::APPEND
    ));
    let log = doubled_commas(&dir.join("kernel.log"));
    command
        .arg("-chardev")
        .arg(format!("file,id=log,path={log}"))
        .args(["-serial", "chardev:log"]);
    command.args(&machine.qemu);
    command
}

/// The device by which the kernel offers hardware virtualisation.
pub const KVM: &str = "/dev/kvm";

/// Whether KVM works. The device also opens on CPUs without virtualisation, so the CPU's flags are
/// checked too.
pub fn hardware_virtualisation() -> bool {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flags = cpu
        .lines()
        .find(|l| l.starts_with("flags"))
        .unwrap_or_default();
    let able = flags.split_whitespace().any(|f| f == "vmx" || f == "svm");
    able && File::options().read(true).write(true).open(KVM).is_ok()
}

/// Makes a folder for one run, and removes old ones.
fn run_dir() -> Result<PathBuf> {
    let runs = cache::dir().join("runs");
    cache::mkdir(&runs)?;
    let mut old: Vec<PathBuf> = fs::read_dir(&runs)
        .with_context(|| format!("cannot list {}", runs.display()))?
        .flatten()
        .map(|e| e.path())
        .collect();
    old.sort_by_key(|path| fs::metadata(path).and_then(|m| m.modified()).ok());
    for path in old
        .iter()
        .rev()
        .skip(KEPT_RUNS)
        .filter(|path| !in_use(path))
    {
        // Another run may be cleaning as well.
        let _ = fs::remove_dir_all(path);
    }
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    let dir = runs.join(format!("{}-{}", now.as_millis(), std::process::id()));
    cache::mkdir(&dir)?;
    Ok(dir)
}

/// Whether a guest may be running in the folder: a guest that ends removes its kernel, unless it
/// was killed.
fn in_use(dir: &Path) -> bool {
    let began = fs::metadata(dir).and_then(|m| m.modified());
    let age = began.map(|began| began.elapsed().unwrap_or_default());
    dir.join(IMAGE).exists() && age.is_ok_and(|age| age < LONGEST_RUN)
}

/// Writes the initrd: the base image, the kernel's modules, further archives, and the files of this
/// run.
fn write_image(
    root: &Root,
    kernel: &Kernel,
    dir: &Path,
    more: &[PathBuf],
    own: impl FnOnce(&mut Archive<Vec<u8>>) -> Result<()>,
) -> Result<()> {
    let image = dir.join(IMAGE);
    fs::hard_link(kernel.image(), &image)
        .or_else(|_| fs::copy(kernel.image(), &image).map(drop))
        .with_context(|| format!("cannot copy the kernel to {}", image.display()))?;
    let path = dir.join("initrd");
    let why = || format!("cannot write {}", path.display());
    let mut initrd = File::create(&path).with_context(why)?;
    let elsewhere = kernel.elsewhere(root)?;
    let other = elsewhere.as_ref().map(|(_, other)| (other, kernel.arch));
    let base = [initramfs::ensure(root, other)?, kernel.modules()];
    for part in base.iter().chain(more) {
        let mut part =
            File::open(part).with_context(|| format!("cannot open {}", part.display()))?;
        std::io::copy(&mut part, &mut initrd).with_context(why)?;
    }
    let mut archive = Archive::new(Vec::new());
    own(&mut archive)?;
    initrd.write_all(&archive.finish()?).with_context(why)
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

    #[test]
    fn output_is_behind_the_port_if_there_is_one() {
        let mut machine = Machine::default();
        assert_eq!(serial_bus(&machine), "bus=pcie.0");
        machine.qemu = vec![
            "-device".into(),
            format!("pcie-root-port,id={PORT},bus=pcie.0"),
        ];
        assert!(serial_bus(&machine).starts_with("bus=lab.port,"));
    }
}
