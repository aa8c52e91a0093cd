// SPDX-License-Identifier: GPL-2.0
//! Suspends the machine to idle, but for the idling itself. That would last for ever, because
//! QEMU's clock does not wake the machine.

use crate::errno::Errno;
use crate::sysfs::{self, Error, Result};
use std::path::Path;

/// Suspends.
const STATE: &str = "/sys/power/state";
/// How far it goes, for a test.
const TEST: &str = "/sys/power/pm_test";
/// Seconds that such a suspend lasts.
const TEST_DELAY: &str = "/sys/module/suspend/parameters/pm_test_delay";
/// Milliseconds that processes have to stop.
const FREEZE_TIMEOUT: &str = "/sys/power/pm_freeze_timeout";

/// How far it goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Depth {
    /// Processes stop, and devices.
    Devices,
    /// And interrupts.
    Interrupts,
}

/// Suspends the machine, which goes on a second later; or why it did not.
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

/// Whether this machine can.
pub fn can_suspend() -> Result<bool> {
    if !Path::new(STATE).exists() || !Path::new(TEST).exists() {
        return Ok(false);
    }
    Ok(sysfs::read(Path::new(STATE))?.contains("freeze"))
}

/// Does `work` while processes have so many milliseconds to stop; afterwards as many as before.
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
