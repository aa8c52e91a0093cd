// SPDX-License-Identifier: GPL-2.0
//! Checks that the kernel does not expedite RCU grace periods for everybody. It must stop doing so
//! when the task that asked for it is done.
//!
//! The kernel does not show that state, but it shows who does the work: an expedited grace period
//! wakes a thread of its own, an ordinary one does not. So this needs no timing.

use crate::errno::Errno;
use crate::ktap::{check, Outcome};
use crate::sysfs::{self, Error};
use std::fs;
use std::path::{Path, PathBuf};

/// The thread that is woken.
const WORKER: &str = "rcu_exp_gp_kthread_worker";
/// `MEMBARRIER_CMD_GLOBAL`: one grace period.
const GLOBAL: libc::c_long = 1;
/// Number of grace periods to ask for. Others may ask for an expedited one meanwhile, but not for
/// so many.
const ROUNDS: u64 = 12;

/// The thread's directory in /proc.
fn worker() -> sysfs::Result<PathBuf> {
    for name in sysfs::names(Path::new("/proc"))? {
        let dir = Path::new("/proc").join(name);
        if sysfs::read(&dir.join("comm")).is_ok_and(|comm| comm == WORKER) {
            return Ok(dir);
        }
    }
    Err(Error::state(format!("there is no {WORKER}")))
}

/// Number of times that the thread has gone to sleep.
fn sleeps(worker: &Path) -> sysfs::Result<u64> {
    let path = worker.join("status");
    let failed = |e| Error::new(path.display().to_string(), Errno::from(e));
    let text = fs::read_to_string(&path).map_err(failed)?;
    let count = text
        .lines()
        .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))
        .and_then(|count| count.trim().parse().ok());
    count.ok_or_else(|| Error::state(format!("{}: no count", path.display())))
}

/// Waits for a grace period of RCU.
pub fn wait() -> sysfs::Result<()> {
    // SAFETY: Numbers only.
    Errno::result(unsafe { libc::syscall(libc::SYS_membarrier, GLOBAL, 0, 0) })
        .map(drop)
        .map_err(|errno| Error::new("membarrier", errno))
}

/// Fails unless grace periods are as they are by default: not expedited.
pub fn check_ordinary(when: &str) -> Outcome {
    let worker = worker()?;
    let before = sleeps(&worker)?;
    for _ in 0..ROUNDS {
        wait()?;
    }
    let expedited = sleeps(&worker)? - before;
    let what = format!("{when}: of {ROUNDS} grace periods {expedited} were expedited; all");
    check(what, expedited >= ROUNDS, false)
}
