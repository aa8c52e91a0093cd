// SPDX-License-Identifier: GPL-2.0

//! This module's own life: whose code may still be called when it is unloaded.

use kernel::{
    bindings,
    sync::atomic::{
        ordering::{
            Acquire,
            Relaxed,
            Release, //
        },
        Atomic, //
    }, //
};

/// This module; null if it is built in.
pub(crate) const THIS_MODULE: *mut bindings::module = this_module();

#[cfg(MODULE)]
const fn this_module() -> *mut bindings::module {
    extern "C" {
        // Its type does not matter, only where it is.
        static __this_module: u8;
    }
    (&raw const __this_module).cast_mut().cast()
}

#[cfg(not(MODULE))]
const fn this_module() -> *mut bindings::module {
    core::ptr::null_mut()
}

/// A reference of this module: while one exists, `rmmod` is refused.
pub(crate) struct ModuleRef(());

impl ModuleRef {
    /// Takes a reference (`__module_get()`). The caller's code is running, on
    /// behalf of somebody who keeps the module loaded.
    pub(crate) fn new() -> Self {
        // SAFETY: Null or this module, which is loaded, since its code runs.
        unsafe { bindings::__module_get(THIS_MODULE) };
        Self(())
    }
}

impl Drop for ModuleRef {
    fn drop(&mut self) {
        // SAFETY: `new` took the reference.
        unsafe { bindings::module_put(THIS_MODULE) };
    }
}

/// How many [`User`]s there are.
static USERS: Atomic<i32> = Atomic::new(0);

/// Something that the kernel may call back at any time, without a reference of
/// the module: a device whose last reference is put late, a work item that is
/// about to return. Unloading waits for it, see [`Users`].
pub(crate) struct User(());

impl User {
    /// Another one.
    pub(crate) fn new() -> Self {
        USERS.fetch_add(1, Relaxed);
        Self(())
    }

    /// The end of one that was forgotten.
    ///
    /// # Safety
    ///
    /// Called once for each that was given to [`core::mem::forget`].
    pub(super) unsafe fn end() {
        drop(Self(()));
    }
}

impl Drop for User {
    fn drop(&mut self) {
        USERS.fetch_sub(1, Release);
    }
}

/// The end of the module: dropping it waits until no [`User`] is left.
pub(crate) struct Users(());

impl Users {
    /// To be dropped last when the module is unloaded.
    pub(crate) fn new() -> Self {
        Self(())
    }
}

impl Drop for Users {
    /// Sleeps. Nobody makes users any more: there is no bus left to add to.
    fn drop(&mut self) {
        while USERS.load(Acquire) != 0 {
            super::task::sleep(10);
        }
        // The last of them may be about to return from this module's code.
        // SAFETY: Called from module exit, which may sleep.
        unsafe { bindings::dax_glue_synchronize_tasks() };
    }
}
