// SPDX-License-Identifier: GPL-2.0
//! Decides which CPU runs a task, and when.
//!
//! A task that sleeps or is preempted while it holds a lock makes everybody else wait. Tests that
//! look for such waits cause them here, and do not depend on luck.

use crate::child::Child;
use crate::errno::Errno;
use crate::kernel;
use crate::ktap::{check, Failure, Outcome};
use crate::mmap::Map;
use crate::sysfs;
use crate::units::PAGE;
use nix::sched::{sched_setaffinity, CpuSet};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::time::ClockId;
use nix::unistd::Pid;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

/// The calling thread, for the scheduler.
const CALLER: Pid = Pid::from_raw(0);

/// Keeps the calling thread on a CPU.
pub fn stay_on(cpu: usize) -> Result<(), Errno> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    Ok(sched_setaffinity(CALLER, &set)?)
}

/// Lets the calling thread run only when no other wants to, and only on a CPU.
pub fn yield_to_all_on(cpu: usize) -> Result<(), Errno> {
    stay_on(cpu)?;
    schedule(libc::SCHED_IDLE, 0)
}

/// Lets the calling thread run before all ordinary tasks on a CPU. The thread must not outlive the
/// process that would stop it.
fn run_before_all_on(cpu: usize, sched_priority: i32) -> Result<(), Errno> {
    set_pdeathsig(Signal::SIGKILL)?;
    stay_on(cpu)?;
    schedule(libc::SCHED_FIFO, sched_priority)
}

/// Sets the policy of the calling thread.
fn schedule(policy: i32, sched_priority: i32) -> Result<(), Errno> {
    let param = libc::sched_param { sched_priority };
    // SAFETY: `param` is valid for the call.
    Errno::result(unsafe { libc::sched_setscheduler(CALLER.as_raw(), policy, &param) }).map(drop)
}

/// A process that takes a CPU away from all ordinary tasks until it is dropped.
pub struct Hog {
    child: Child,
    _unfair: Unfair,
}

impl Hog {
    /// Takes the CPU in turns with the others there, so that each of them loses it in the middle
    /// of something again and again.
    pub fn in_turns(cpu: usize) -> Result<Hog, Failure> {
        let turn = Duration::from_micros(300) * kernel::slowness();
        Hog::start(cpu, turn, turn / 3)
    }

    /// Takes the CPU for `busy` at a time, and leaves it to others for `pause`. The process has the
    /// CPU when this returns.
    pub fn start(cpu: usize, busy: Duration, pause: Duration) -> Result<Hog, Failure> {
        let failed = |errno: Errno| Failure::Fail(format!("hog: {errno}"));
        let unfair = Unfair::new(cpu);
        let started = Map::anonymous(PAGE).map_err(failed)?;
        let mut child = Child::spawn(|| {
            if run_before_all_on(cpu, 1).is_err() || started.store(0, 1).is_err() {
                return 1;
            }
            loop {
                let start = Instant::now();
                while start.elapsed() < busy {
                    std::hint::spin_loop();
                }
                if !pause.is_zero() {
                    thread::sleep(pause);
                }
            }
        })
        .map_err(failed)?;
        let word = kernel::eventually("a process that takes a CPU", || match started.load(0) {
            Ok(0) if child.poll().is_none() => Ok(None),
            word => Ok(Some(word)),
        })?;
        check("a process that takes a CPU", word, Ok(1))?;
        Ok(Hog {
            child,
            _unfair: unfair,
        })
    }

    /// Leaves the CPU to the others. Fails if the process did not take it to the end.
    pub fn end(self) -> Outcome {
        self.child.end()
    }
}

/// A process that takes a CPU away from all other tasks at moments that its owner chooses.
pub struct Switch {
    /// The start and the end of the time in which the CPU is taken, in nanoseconds of the monotonic
    /// clock.
    times: Map,
    _child: Child,
    _unfair: Unfair,
}

/// Time between two looks of the process at the clock.
const LOOK: Duration = Duration::from_micros(50);

impl Switch {
    /// The CPU is left alone at first.
    pub fn new(cpu: usize) -> Result<Switch, Failure> {
        let failed = |errno: Errno| Failure::Fail(format!("switch: {errno}"));
        let unfair = Unfair::new(cpu);
        let times = Map::anonymous(PAGE).map_err(failed)?;
        let child = Child::spawn(|| {
            if run_before_all_on(cpu, 50).is_err() {
                return 1;
            }
            loop {
                let (Ok(from), Ok(until)) = (times.load(0), times.load(8)) else {
                    return 1;
                };
                if !(from..until).contains(&now()) {
                    thread::sleep(LOOK);
                }
            }
        });
        Ok(Switch {
            times,
            _child: child.map_err(failed)?,
            _unfair: unfair,
        })
    }

    /// Takes the CPU after `delay`, for `most` at most.
    pub fn take(&self, delay: Duration, most: Duration) -> Result<(), Failure> {
        let from = now() + delay.as_nanos() as u64;
        self.set(from, from + most.as_nanos() as u64)
    }

    /// Leaves the CPU to others.
    pub fn leave(&self) -> Result<(), Failure> {
        self.set(0, 0)
    }

    fn set(&self, from: u64, until: u64) -> Result<(), Failure> {
        // Store the end first, so that a reader in between sees an empty time span.
        let set = self
            .times
            .store(8, 0)
            .and_then(|()| self.times.store(0, from));
        set.and_then(|()| self.times.store(8, until))
            .map_err(|signal| Failure::Fail(format!("switch: {signal:?}")))
    }
}

/// Nanoseconds of the clock that all processes share.
pub fn now() -> u64 {
    let time = ClockId::CLOCK_MONOTONIC.now().map(Duration::from);
    time.unwrap_or_default().as_nanos() as u64
}

/// A CPU on which the scheduler gives starving tasks no time of their own.
struct Unfair {
    /// The file that says how many nanoseconds of a second real-time tasks may run, and its former
    /// content.
    file: PathBuf,
    before: Option<String>,
}

impl Unfair {
    fn new(cpu: usize) -> Unfair {
        let file = format!("/sys/kernel/debug/sched/fair_server/cpu{cpu}/runtime");
        let file = PathBuf::from(file);
        // A kernel that does not have the file keeps nothing.
        let before = sysfs::read(&file).ok();
        let _ = sysfs::try_write(&file, b"0");
        Unfair { file, before }
    }
}

impl Drop for Unfair {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = sysfs::try_write(&self.file, before.as_bytes());
        }
    }
}
