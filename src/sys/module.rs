// SPDX-License-Identifier: GPL-2.0

//! The module itself: unloading waits for everybody who may still call its code.

use kernel::{
    bindings,
    prelude::*,
    sync::atomic::{
        ordering::{
            Acquire,
            Relaxed,
            Release, //
        },
        Atomic, //
    }, //
};

/// This module; null if built in.
pub(crate) const THIS_MODULE: *mut bindings::module = this_module();

#[cfg(MODULE)]
const fn this_module() -> *mut bindings::module {
    extern "C" {
        // Only the address is used, so the type does not matter.
        static __this_module: u8;
    }
    (&raw const __this_module).cast_mut().cast()
}

#[cfg(not(MODULE))]
const fn this_module() -> *mut bindings::module {
    core::ptr::null_mut()
}

/// A reference to this module. While there is one, `rmmod` fails.
pub(crate) struct ModuleRef(());

impl ModuleRef {
    /// Takes a reference (`__module_get()`). The code that calls this is running, so
    /// somebody keeps the module loaded at that time.
    pub(crate) fn new() -> Self {
        // SAFETY: This module is loaded while its code runs.
        unsafe { bindings::dax_glue_get_module() };
        Self(())
    }
}

impl Drop for ModuleRef {
    fn drop(&mut self) {
        // SAFETY: `new` took the reference that this drops.
        unsafe { bindings::dax_glue_put_module() };
    }
}

/// Number of [`User`]s.
static USERS: Atomic<i32> = Atomic::new(0);

/// Something that may make the kernel call this module without a module reference, for
/// example a device whose last reference is put late, or a work item that is about to
/// return. Unloading waits for all of them, see [`Users`].
pub(crate) struct User(());

impl User {
    /// Adds a user.
    pub(crate) fn new() -> Self {
        USERS.fetch_add(1, Relaxed);
        Self(())
    }

    /// Ends a user that was forgotten.
    ///
    /// # Safety
    ///
    /// Called once for each user that was given to [`core::mem::forget`].
    pub(super) unsafe fn end() {
        drop(Self(()));
    }
}

impl Drop for User {
    fn drop(&mut self) {
        USERS.fetch_sub(1, Release);
    }
}

/// How long unloading waits before it says so, in milliseconds.
const REPORT_MS: u32 = 10_000;

/// Makes unloading wait: dropping this waits until there is no [`User`].
pub(crate) struct Users(());

impl Users {
    /// Makes the value that the module drops last.
    pub(crate) fn new() -> Self {
        Self(())
    }
}

impl Drop for Users {
    /// Sleeps. The bus is unregistered by then, so nobody can add a user any more.
    fn drop(&mut self) {
        // There is nearly never a user left, so a counter and polling suffice.
        let mut waited_ms = 0_u32;
        while USERS.load(Acquire) != 0 {
            super::task::sleep(10);
            waited_ms = waited_ms.saturating_add(10);
            if waited_ms == REPORT_MS {
                pr_warn!(
                    "unloading waits for {} devices that somebody still refers to\n",
                    USERS.load(Relaxed)
                );
            }
        }
        // The last user may be about to return from code of this module, and be preempted
        // there.
        // SAFETY: Module exit calls this, and may sleep.
        unsafe { bindings::dax_glue_synchronize_tasks() };
    }
}
