// SPDX-License-Identifier: GPL-2.0

//! Static locks. Their contents begin anew in each execution.

use std::collections::HashMap;
use std::rc::Rc;

use super::lock::mutex::MutexBackend;
use super::lock::Guard;
use super::Mutex;
use crate::sched;

/// The static locks of one execution, by address of the static.
struct Locks<T>(HashMap<usize, Rc<Mutex<T>>>);

impl<T> Default for Locks<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

/// A static lock. See [`global_lock!`](crate::global_lock).
pub struct Global<T: 'static> {
    make: fn() -> T,
    name: &'static str,
}

/// A static lock, held.
pub struct GlobalGuard<T: 'static> {
    guard: Option<Guard<'static, T, MutexBackend>>,
    _lock: Rc<Mutex<T>>,
}

impl<T: 'static> Global<T> {
    /// For the macro.
    pub const fn new(make: fn() -> T, name: &'static str) -> Self {
        Self { make, name }
    }

    /// Initialises the lock.
    ///
    /// # Safety
    ///
    /// Once, before any use.
    pub unsafe fn init(&'static self) {}

    /// Takes the lock.
    pub fn lock(&'static self) -> GlobalGuard<T> {
        let address = std::ptr::from_ref(self) as usize;
        let lock = sched::part(|locks: &mut Locks<T>| {
            let new = || Rc::new(Mutex::with((self.make)(), self.name));
            locks.0.entry(address).or_insert_with(new).clone()
        });
        // SAFETY: The lock lives as long as the guard, which is dropped first.
        let forever: &'static Mutex<T> = unsafe { &*Rc::as_ptr(&lock) };
        GlobalGuard {
            guard: Some(forever.lock()),
            _lock: lock,
        }
    }
}

impl<T> Drop for GlobalGuard<T> {
    fn drop(&mut self) {
        drop(self.guard.take());
    }
}

impl<T> std::ops::Deref for GlobalGuard<T> {
    type Target = T;
    fn deref(&self) -> &T {
        self.guard.as_ref().expect("it is held")
    }
}

impl<T> std::ops::DerefMut for GlobalGuard<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.guard.as_mut().expect("it is held")
    }
}

/// `kernel::sync::global_lock!`.
#[macro_export]
macro_rules! global_lock {
    ($(#[$meta:meta])* $vis:vis unsafe(uninit) static $name:ident: Mutex<$t:ty> = $value:expr;) => {
        $(#[$meta])*
        $vis static $name: $crate::sync::Global<$t> =
            $crate::sync::Global::new(|| $value, stringify!($name));
    };
}
