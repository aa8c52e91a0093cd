// SPDX-License-Identifier: GPL-2.0

//! Switches of the faults that tests put into a copy of the driver, to see that the model finds
//! them.

use std::cell::Cell;

use crate::bindings;

thread_local! {
    static NAME: Cell<&'static str> = const { Cell::new("") };
}

/// Turns one on, for this thread; the empty name is none.
pub fn set(name: &'static str) {
    NAME.set(name);
}

/// Which one is on, in this thread.
pub fn name() -> &'static str {
    NAME.get()
}

/// Whether it is on.
pub fn is(name: &str) -> bool {
    NAME.get() == name
}

/// Sleeps for a while.
pub fn sleep() {
    // SAFETY: Has no precondition.
    unsafe { bindings::dax_glue_sleep(20) };
}
