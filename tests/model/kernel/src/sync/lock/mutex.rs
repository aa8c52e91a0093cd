// SPDX-License-Identifier: GPL-2.0

//! Mutexes; C: `struct mutex`.

use std::cell::{Cell, UnsafeCell};
use std::convert::Infallible;
use std::marker::PhantomData;

use super::Guard;
use crate::init::{self, PinInit};
use crate::lockdep;
use crate::memory;
use crate::sched;

/// The lock without what it guards.
pub struct Raw {
    name: &'static str,
    held: Cell<bool>,
}

impl Raw {
    pub(crate) const fn new(name: &'static str) -> Self {
        Self {
            name,
            held: Cell::new(false),
        }
    }

    fn instance(&self) -> usize {
        std::ptr::from_ref(self) as usize
    }

    pub(crate) fn lock(&self) {
        if sched::inert() {
            return;
        }
        memory::check(self, "a mutex is locked");
        lockdep::ordered(self.name);
        sched::wait_until(|| format!("lock {}", self.name), &|| !self.held.get());
        memory::check(self, "a mutex was waited for");
        self.held.set(true);
        lockdep::acquired(self.name, self.instance());
    }

    pub(crate) fn unlock(&self) {
        if sched::inert() {
            return;
        }
        memory::check(self, "a mutex is unlocked");
        self.held.set(false);
        lockdep::released(self.name, self.instance());
        sched::trace(|| format!("unlock {}", self.name));
    }

    /// For those who wait with the lock given back.
    pub(crate) fn is_held(&self) -> bool {
        self.held.get()
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Takes a lock that is free, at the end of a wait for that.
    pub(crate) fn take(&self) {
        if !sched::inert() {
            self.held.set(true);
            lockdep::acquired(self.name, self.instance());
        }
    }
}

/// The type that makes a lock a mutex.
pub struct MutexBackend;

/// `kernel::sync::Mutex`.
pub struct Mutex<T> {
    raw: Raw,
    data: UnsafeCell<T>,
}

// SAFETY: All tasks of the model are on one thread of the host.
unsafe impl<T: Send> Send for Mutex<T> {}
// SAFETY: As above.
unsafe impl<T: Send> Sync for Mutex<T> {}

impl<T> Mutex<T> {
    /// A mutex around what `data` makes.
    pub fn new<E>(data: impl PinInit<T, E>, name: &'static str) -> impl PinInit<Self, E> {
        let make = move |slot: *mut Self| -> Result<(), E> {
            // SAFETY: The slot has room; the data is at the start of its cell.
            unsafe { data.init_at((&raw mut (*slot).data).cast()) }?;
            // SAFETY: As above.
            unsafe { (&raw mut (*slot).raw).write(Raw::new(name)) };
            Ok(())
        };
        // SAFETY: Every field is made.
        unsafe { init::from_closure(make) }
    }

    /// A mutex.
    pub(crate) fn with(data: T, name: &'static str) -> Self {
        Self {
            raw: Raw::new(name),
            data: UnsafeCell::new(data),
        }
    }

    /// Takes the lock. May sleep.
    pub fn lock(&self) -> Guard<'_, T, MutexBackend> {
        self.raw.lock();
        Guard {
            raw: &self.raw,
            data: self.data.get(),
            of: PhantomData,
        }
    }
}

/// So that a plain value can be what `new_mutex!` is given.
#[doc(hidden)]
pub fn plain<T>(value: T) -> impl PinInit<T, Infallible> {
    value
}

/// A mutex around a value.
#[macro_export]
macro_rules! new_mutex {
    ($value:expr, $name:literal $(,)?) => {
        $crate::sync::Mutex::new($crate::sync::lock::mutex::plain($value), $name)
    };
}
