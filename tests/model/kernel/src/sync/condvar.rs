// SPDX-License-Identifier: GPL-2.0

//! Waits for an event, and gives a lock back meanwhile.

use std::cell::Cell;

use super::lock::Guard;
use crate::bindings;
use crate::init::PinInit;
use crate::lockdep;
use crate::memory;
use crate::sched;

/// `kernel::sync::CondVar`.
pub struct CondVar {
    name: &'static str,
    /// Each waiter has one of these numbers. Waiters up to `woken` may go on.
    last: Cell<u64>,
    woken: Cell<u64>,
}

// SAFETY: All tasks of the model are on one thread of the host.
unsafe impl Send for CondVar {}
// SAFETY: As above.
unsafe impl Sync for CondVar {}

impl CondVar {
    /// Nobody waits.
    pub fn new(name: &'static str) -> impl PinInit<Self> {
        Self {
            name,
            last: Cell::new(0),
            woken: Cell::new(0),
        }
    }

    /// Waits, uninterruptibly, until somebody notifies.
    pub fn wait<T: ?Sized, B>(&self, guard: &mut Guard<'_, T, B>) {
        if sched::inert() {
            return;
        }
        memory::check(self, "a condition is waited for");
        sched::require(
            lockdep::holds(bindings::DAX_LOCK).is_none(),
            format!("{} is waited for under the lock of a dax device", self.name),
        );
        let ticket = self.last.get() + 1;
        self.last.set(ticket);
        guard.raw.unlock();
        lockdep::ordered(guard.raw.name());
        sched::wait_until(|| format!("wait for {}", self.name), &|| {
            self.woken.get() >= ticket && !guard.raw.is_held()
        });
        memory::check(self, "a condition was waited for");
        guard.raw.take();
    }

    /// Wakes all that wait.
    pub fn notify_all(&self) {
        if !sched::inert() {
            memory::check(self, "a condition is notified");
            self.woken.set(self.last.get());
        }
    }

    /// Wakes the one that waits longest.
    pub fn notify_one(&self) {
        if !sched::inert() {
            memory::check(self, "a condition is notified");
            self.woken.set((self.woken.get() + 1).min(self.last.get()));
        }
    }
}

/// A condition to wait for.
#[macro_export]
macro_rules! new_condvar {
    ($name:literal $(,)?) => {
        $crate::sync::CondVar::new($name)
    };
}
