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
    // SAFETY: It is always safe to call cond_resched().
    unsafe { bindings::dax_glue_cond_resched() };
}

/// Sleeps for `ms` milliseconds or a little longer (`fsleep()`), uninterruptibly.
pub(crate) fn sleep(ms: u32) {
    // SAFETY: It is always safe to call fsleep().
    unsafe { bindings::dax_glue_sleep(ms) };
}

/// Returns the error that restarts the caller's `write(2)` (`restart_syscall()`). The
/// restart releases the sysfs active reference in between. Sleeps for a few milliseconds
/// first, so that the caller does not spin.
pub(crate) fn restart_write() -> Error {
    sleep(5);
    // SAFETY: restart_syscall() only sets a flag of the current task.
    Error::from_errno(unsafe { bindings::dax_glue_restart_syscall() })
}

/// Whether the current task must stop what it does, because it was killed or the machine is
/// going down.
pub(crate) fn must_give_up() -> bool {
    is_going_down() || Waiter::current().was_killed()
}

/// Whether the machine is going down.
pub(crate) fn is_going_down() -> bool {
    // SAFETY: The function has no precondition.
    unsafe { bindings::dax_glue_is_going_down() }
}

/// A reference to a task that waits.
pub(crate) struct Waiter(ARef<Task>);

impl Waiter {
    /// The current task.
    pub(crate) fn current() -> Self {
        Self(ARef::from(&**kernel::current!()))
    }

    /// Whether the task was killed (`fatal_signal_pending()`). Any task may call this.
    pub(crate) fn was_killed(&self) -> bool {
        // SAFETY: We own a reference to the task, so it is valid.
        unsafe { bindings::dax_glue_was_killed(self.0.as_ptr()) }
    }
}
