// SPDX-License-Identifier: GPL-2.0

//! `struct ida`: the lowest free id.

use kernel::{
    bindings,
    prelude::*,
    types::Opaque, //
};

/// An id allocator. Its own spinlock synchronises it.
#[pin_data(PinnedDrop)]
pub(crate) struct Ida {
    #[pin]
    raw: Opaque<bindings::ida>,
}

// SAFETY: Every operation on an ida takes its lock.
unsafe impl Send for Ida {}
// SAFETY: As above.
unsafe impl Sync for Ida {}

impl Ida {
    /// An allocator with all ids free.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            raw <- Opaque::ffi_init(|ida: *mut bindings::ida| {
                // SAFETY: `ida` is ours to initialise. This is ida_init().
                unsafe {
                    bindings::xa_init_flags(
                        &raw mut (*ida).xa,
                        bindings::xa_lock_type_XA_LOCK_IRQ | bindings::XA_FLAGS_ALLOC,
                    )
                }
            }),
        })
    }

    /// Takes the lowest free id. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, `ENOSPC`.
    pub(crate) fn alloc(&self) -> Result<i32> {
        // SAFETY: Initialised by `new`.
        let id = unsafe { bindings::ida_alloc_range(self.raw.get(), 0, !0, bindings::GFP_KERNEL) };
        if id < 0 {
            Err(Error::from_errno(id))
        } else {
            Ok(id)
        }
    }

    /// Gives `id` back, which [`Ida::alloc`] returned.
    pub(crate) fn free(&self, id: i32) {
        if let Ok(id) = u32::try_from(id) {
            // SAFETY: Initialised by `new`; an id that is not in use only warns.
            unsafe { bindings::ida_free(self.raw.get(), id) };
        }
    }
}

#[pinned_drop]
impl PinnedDrop for Ida {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: Initialised by `new`, and nobody can use it any more.
        unsafe { bindings::ida_destroy(self.raw.get()) };
    }
}
