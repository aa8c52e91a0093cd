// SPDX-License-Identifier: GPL-2.0

//! `struct task_struct` and the scheduler.

use kernel::{
    bindings,
    prelude::*,
    sync::aref::ARef,
    task::Task, //
};

/// Lets other tasks run. May sleep.
pub(crate) fn cond_resched() {
    // SAFETY: Called from sleepable context.
    unsafe { bindings::dax_glue_cond_resched() };
}

/// Sleeps for `ms` milliseconds or a little longer (`fsleep()`), uninterruptibly.
pub(crate) fn sleep(ms: u32) {
    // SAFETY: Called from sleepable context.
    unsafe { bindings::dax_glue_sleep(ms) };
}

/// Sleeps for a few milliseconds, and then lets the caller's `write(2)` begin again
/// (`restart_syscall()`), without the sysfs reference that it has now.
pub(crate) fn restart_write() -> Error {
    sleep(5);
    // SAFETY: Called in a system call.
    Error::from_errno(unsafe { bindings::dax_glue_restart_syscall() })
}

/// A task that waits in the kernel.
pub(crate) struct Waiter(ARef<Task>);

impl Waiter {
    /// The task that calls.
    pub(crate) fn current() -> Self {
        Self(ARef::from(&**kernel::current!()))
    }

    /// Whether the task was killed, or the machine is going down: then nothing
    /// is worth waiting for. May be asked by another task.
    pub(crate) fn must_give_up(&self) -> bool {
        // SAFETY: The task is valid, we own a reference of it.
        unsafe { bindings::dax_glue_must_give_up(self.0.as_ptr()) }
    }
}
