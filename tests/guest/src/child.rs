// SPDX-License-Identifier: GPL-2.0
//! Child processes, whose crash or hang does not take the test program along.

use crate::errno::Errno;
use crate::kernel;
use crate::ktap::{check, Outcome};
use nix::sys::signal::{kill, Signal};
use nix::sys::wait::{waitpid, WaitPidFlag, WaitStatus};
use nix::unistd::{fork, ForkResult, Pid};
use std::fs;
use std::io::{self, Write};
use std::panic::{self, AssertUnwindSafe};
use std::time::{Duration, Instant};

/// The end of a child.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// The process exited with this status.
    Exit(i32),
    /// A signal killed it.
    Signal(i32),
    /// The process did not end in time and was killed.
    TimedOut,
    /// The process did not end in time, nor when it was killed: it hangs in the kernel.
    Stuck,
}

/// The exit status of a child that panicked, as Rust has it.
const PANICKED: i32 = 101;
/// Time that a killed process may take to end, on a kernel that is not slow.
const KILL_GRACE: Duration = Duration::from_secs(10);

/// Time that a killed process may take to end.
fn kill_grace() -> Duration {
    KILL_GRACE * kernel::slowness()
}

/// A running child; killed and reaped when dropped.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    ended: Option<End>,
}

impl Child {
    /// Forks. The child runs `body` and exits with what it returns. The caller must have no
    /// other threads.
    pub fn spawn(body: impl FnOnce() -> i32) -> Result<Child, Errno> {
        let _ = io::stdout().flush();
        // SAFETY: The callers are single-threaded, so the child may use everything that its
        // parent could; it leaves through `_exit` and returns to no frame of the parent.
        match unsafe { fork() }? {
            ForkResult::Child => {
                let status = panic::catch_unwind(AssertUnwindSafe(body)).unwrap_or(PANICKED);
                let _ = io::stdout().flush();
                // SAFETY: Ends the child at once, without the parent's exit handlers.
                unsafe { libc::_exit(status) }
            }
            ForkResult::Parent { child } => Ok(Child {
                pid: child,
                ended: None,
            }),
        }
    }

    /// The end of the child, or none if it still runs.
    pub fn poll(&mut self) -> Option<End> {
        if self.ended.is_none() {
            self.ended = match waitpid(self.pid, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(_, status)) => Some(End::Exit(status)),
                Ok(WaitStatus::Signaled(_, signal, _)) => Some(End::Signal(signal as i32)),
                _ => None,
            };
        }
        self.ended
    }

    /// Waits for the end. Kills the child when the limit is over, which is longer on a slow kernel.
    pub fn wait(mut self, limit: Duration) -> End {
        if let Some(end) = self.wait_for(limit * kernel::slowness()) {
            return end;
        }
        let report = self.where_it_hangs();
        match self.killed() {
            End::Stuck => {
                print!("{report}");
                End::Stuck
            }
            _ => End::TimedOut,
        }
    }

    /// Kills the child. Its end, which is [`End::Stuck`] if it does not end.
    fn killed(&mut self) -> End {
        self.kill();
        // A child that cannot be reaped is forgotten, instead of waiting for it in drop.
        let end = self.wait_for(kill_grace()).unwrap_or(End::Stuck);
        self.ended = Some(end);
        end
    }

    /// Kills the child, which must still run, and must end of that.
    pub fn end(mut self) -> Outcome {
        check("a child before it is killed", self.poll(), None)?;
        let end = self.killed();
        if end == End::Stuck {
            print!("{}", self.where_it_hangs());
        }
        check("a child that is killed", end, End::Signal(libc::SIGKILL))
    }

    /// Waits for the end, but no longer than the limit. The child runs on.
    pub fn wait_for(&mut self, limit: Duration) -> Option<End> {
        let deadline = Instant::now() + limit;
        loop {
            let end = self.poll();
            if end.is_some() || Instant::now() >= deadline {
                return end;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Sends SIGKILL.
    pub fn kill(&self) {
        self.signal(Signal::SIGKILL);
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        // An unreaped child: the number names no other process.
        let _ = kill(self.pid, signal);
    }

    /// The letter in which `ps` has its state: `D` for a wait that only SIGKILL can end, if that.
    pub fn state(&self) -> Option<char> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).ok()?;
        // The name before it may have anything in it.
        stat.rsplit_once(") ")?.1.chars().next()
    }

    /// The places at which the child's threads wait in the kernel, for diagnosis.
    pub fn where_it_hangs(&self) -> String {
        let mut report = String::new();
        let tasks = format!("/proc/{}/task", self.pid);
        for task in fs::read_dir(tasks).into_iter().flatten().flatten() {
            for file in ["wchan", "stack", "syscall"] {
                let text = fs::read_to_string(task.path().join(file)).unwrap_or_default();
                for line in text.lines() {
                    report += &format!("# {} {file}: {line}\n", task.file_name().to_string_lossy());
                }
            }
        }
        report
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.poll().is_none() {
            self.killed();
        }
    }
}
