// SPDX-License-Identifier: GPL-2.0
//! The running kernel: which driver it has, its modules, its health.

use crate::compare::transcribe::around;
use crate::errno::Errno;
use crate::sysfs::{self, Error, Result};
use dax_protocol::compare::Operation;
pub use dax_protocol::Impl;
use dax_protocol::{DEBUG_SLOWDOWN, FOREIGN_SLOWDOWN};
use flate2::read::GzDecoder;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The driver of the running kernel, found out by [`detect`].
pub fn driver() -> Impl {
    *DRIVER.get().expect("main detects the driver first")
}

/// Asks `DAX_IMPL` (the kernel hands unknown boot parameters to init as environment),
/// then the kernel's configuration.
pub fn detect() -> Result<Impl> {
    let found = match std::env::var("DAX_IMPL").as_deref() {
        Ok("rust") => Impl::Rust,
        Ok("c") => Impl::C,
        Ok(other) => return Err(Error::state(format!("DAX_IMPL={other}: not rust or c"))),
        Err(_) if config()?.lines().any(|line| RUST_CONFIG.contains(&line)) => Impl::Rust,
        Err(_) => Impl::C,
    };
    Ok(*DRIVER.get_or_init(|| found))
}

/// The driver of the running kernel.
static DRIVER: OnceLock<Impl> = OnceLock::new();
/// The lines of the kernel's configuration that the Rust driver has one of.
const RUST_CONFIG: [&str; 2] = ["CONFIG_DEV_DAX_RUST=y", "CONFIG_DEV_DAX_RUST=m"];

/// The kernel's configuration, from `/proc/config.gz`.
fn config() -> Result<String> {
    let path = "/proc/config.gz";
    let read = || -> io::Result<String> {
        let mut text = String::new();
        GzDecoder::new(File::open(path)?).read_to_string(&mut text)?;
        Ok(text)
    };
    read().map_err(|e| Error::new(format!("read {path}"), Errno::from(e)))
}

/// The factor by which the kernel is slower than usual: a debug kernel has KASAN, and another
/// architecture than x86 is emulated.
pub fn slowness() -> u32 {
    static SLOWNESS: OnceLock<u32> = OnceLock::new();
    *SLOWNESS.get_or_init(|| {
        let emulated = match cfg!(target_arch = "x86_64") {
            true => 1,
            false => FOREIGN_SLOWDOWN,
        };
        match has("CONFIG_KASAN=y") {
            true => emulated * DEBUG_SLOWDOWN,
            false => emulated,
        }
    })
}

/// Whether the kernel waits for seconds before it releases what nobody refers to any more.
///
/// A node then keeps the cdev of the last binding for that long, and cannot be opened; and a driver
/// of C that initialises its cdev again by then, as `fsdev_dax` does, breaks the kernel.
pub fn releases_late() -> bool {
    static LATE: OnceLock<bool> = OnceLock::new();
    *LATE.get_or_init(|| has("CONFIG_DEBUG_KOBJECT_RELEASE=y"))
}

/// Whether the kernel unbinds each driver once, right after it was bound, and binds it again.
pub fn unbinds_at_once() -> bool {
    static AT_ONCE: OnceLock<bool> = OnceLock::new();
    *AT_ONCE.get_or_init(|| has("CONFIG_DEBUG_TEST_DRIVER_REMOVE=y"))
}

/// Whether a line is in the kernel's configuration.
pub fn has(option: &str) -> bool {
    config()
        .unwrap_or_default()
        .lines()
        .any(|line| line == option)
}

/// Whether a module is in the kernel, loaded or built in.
pub fn has_module(name: &str) -> bool {
    Path::new("/sys/module").join(name).exists()
}

/// Runs a program and insists on success; its standard output.
pub fn run(program: &str, args: &[&str]) -> Result<String> {
    let what = || format!("{program} {}", args.join(" "));
    let output = try_run(program, args)?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(Error::state(format!(
            "{}: {}: {said}",
            what(),
            output.status
        )))
    }
}

/// Runs a program; its output, whether it succeeded or not.
pub fn try_run(program: &str, args: &[&str]) -> Result<Output> {
    let run = || Command::new(program).args(args).output();
    let op = || Operation::run(&[&[program], args].concat());
    let output = around(op, run, |ran| match ran {
        Ok(output) => said(output),
        Err(error) => format!("cannot start: {error}"),
    });
    output.map_err(|e| Error::new(format!("{program} {}", args.join(" ")), Errno::from(e)))
}

/// Exit status and all that a program says.
pub fn said(output: &Output) -> String {
    format!(
        "{}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Loads a module with parameters. Succeeds if it is loaded already.
pub fn modprobe(args: &[&str]) -> Result<()> {
    run("modprobe", args).map(drop)
}

/// Removes a module and the modules that only it used.
pub fn modprobe_remove(name: &str) -> Result<()> {
    run("modprobe", &["-r", name]).map(drop)
}

/// Time that the kernel may take for its background work.
const PATIENCE: Duration = Duration::from_secs(10);

/// Looks again and again until there is `what`.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + PATIENCE * slowness();
    loop {
        match look()? {
            Some(found) => return Ok(found),
            None if Instant::now() > deadline => {
                return Err(Error::state(format!("there is not {what}")))
            }
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// Puts a line into the kernel log, so that what follows there can be attributed.
pub fn log(line: &str) {
    // The log is a courtesy: a guest without /dev/kmsg is still tested.
    let _ = fs::write("/dev/kmsg", format!("dax-guest: {line}\n"));
}

/// Counts of events that must not happen: warnings, oopses, corrupted pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Health {
    warnings: u64,
    oopses: u64,
    bad_page: bool,
}

impl Health {
    /// These counts with no warnings. Memory management warns of allocations that are made to fail;
    /// the host reads these warnings in the log.
    pub fn but_for_warnings(mut self) -> Health {
        self.warnings = 0;
        self
    }

    /// Reads the counters.
    pub fn now() -> Health {
        let read = |path: &str| sysfs::read_number(Path::new(path)).unwrap_or(0);
        // TAINT_BAD_PAGE is bit 5 of the taint mask.
        let bad_page = read("/proc/sys/kernel/tainted") & (1 << 5) != 0;
        Health {
            warnings: read("/sys/kernel/warn_count"),
            oopses: read("/sys/kernel/oops_count"),
            bad_page,
        }
    }
}
