// SPDX-License-Identifier: GPL-2.0

//! Time. It passes when all tasks wait, and then it jumps.

use std::marker::PhantomData;

use crate::sched;

/// Ticks of the kernel's clock.
pub type Jiffies = usize;

/// Milliseconds in ticks.
pub fn msecs_to_jiffies(msecs: u32) -> Jiffies {
    msecs as Jiffies
}

/// A clock.
#[derive(Clone, Copy)]
pub struct Monotonic;

/// A moment.
pub struct Instant<C> {
    time: u64,
    of: PhantomData<C>,
}

impl<C> Clone for Instant<C> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<C> Copy for Instant<C> {}

/// Duration of something.
#[derive(Clone, Copy)]
pub struct Delta(u64);

/// Time until time has passed once.
const LONG_MS: u64 = 10_000;

impl<C> Instant<C> {
    /// This moment.
    pub fn now() -> Self {
        Self {
            time: sched::time(),
            of: PhantomData,
        }
    }

    /// Since that moment.
    pub fn elapsed(&self) -> Delta {
        Delta(sched::time() - self.time)
    }
}

impl Delta {
    /// In milliseconds.
    pub fn as_millis(self) -> i64 {
        (self.0 * LONG_MS) as i64
    }
}
