// SPDX-License-Identifier: GPL-2.0
//! Suspends the machine to idle, but for the idling itself. That would last for ever, because
//! QEMU's clock does not wake the machine.

use crate::errno::Errno;
use crate::sysfs::{self, Error, Result};
use std::path::Path;

/// A write to this file suspends the machine.
const STATE: &str = "/sys/power/state";
/// The file that limits the depth of a suspend, for tests.
const TEST: &str = "/sys/power/pm_test";
/// The file with the number of seconds that such a suspend lasts.
const TEST_DELAY: &str = "/sys/module/suspend/parameters/pm_test_delay";
/// The file with the number of milliseconds in which all processes must stop.
const FREEZE_TIMEOUT: &str = "/sys/power/pm_freeze_timeout";

/// The depth of a suspend.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Depth {
    /// Processes stop, and devices are suspended.
    Devices,
    /// Interrupts are suspended, too.
    Interrupts,
}

/// Suspends the machine, which resumes a second later. Returns the kernel's answer.
pub fn suspend(depth: Depth) -> Result<std::result::Result<(), Errno>> {
    let level = match depth {
        Depth::Devices => "devices",
        Depth::Interrupts => "platform",
    };
    sysfs::write(Path::new(TEST), level)?;
    sysfs::write(Path::new(TEST_DELAY), "1")?;
    let suspended = sysfs::try_write(Path::new(STATE), b"freeze");
    sysfs::write(Path::new(TEST), "none")?;
    Ok(suspended.map(drop))
}

/// Whether this machine can suspend to idle.
pub fn can_suspend() -> Result<bool> {
    if !Path::new(STATE).exists() || !Path::new(TEST).exists() {
        return Ok(false);
    }
    Ok(sysfs::read(Path::new(STATE))?.contains("freeze"))
}

/// Does `work` while all processes must stop within `ms` milliseconds. Sets the former time again.
pub fn with_freeze_timeout<T>(ms: u32, work: impl FnOnce() -> T) -> Result<T> {
    let file = Path::new(FREEZE_TIMEOUT);
    let before = sysfs::read(file)?;
    if before.parse::<u32>().is_err() {
        return Err(Error::state(format!("{FREEZE_TIMEOUT}: {before:?}")));
    }
    sysfs::write(file, &ms.to_string())?;
    let done = work();
    sysfs::write(file, &before)?;
    Ok(done)
}
