// SPDX-License-Identifier: GPL-2.0

//! `struct ida`: an allocator of ids, lowest first.

use kernel::{
    bindings,
    prelude::*,
    types::Opaque,
    warn_on, //
};

/// An id allocator. It needs no lock of the caller: it has a spinlock.
#[pin_data(PinnedDrop)]
pub(crate) struct Ida {
    #[pin]
    raw: Opaque<bindings::ida>,
}

// SAFETY: The functions of an ida take its spinlock.
unsafe impl Send for Ida {}
// SAFETY: As above.
unsafe impl Sync for Ida {}

impl Ida {
    /// An allocator that has all ids free.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            raw <- Opaque::ffi_init(|ida: *mut bindings::ida| {
                // SAFETY: `ida` is valid for writes and ours to initialise. This is what
                // ida_init() does.
                unsafe {
                    bindings::xa_init_flags(
                        &raw mut (*ida).xa,
                        bindings::xa_lock_type_XA_LOCK_IRQ | bindings::XA_FLAGS_ALLOC,
                    )
                }
            }),
        })
    }

    /// Allocates the lowest free id. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `ENOSPC` if no id is free.
    pub(crate) fn alloc(&self) -> Result<i32> {
        // SAFETY: `new` initialised the ida.
        let id = unsafe { bindings::ida_alloc_range(self.raw.get(), 0, !0, bindings::GFP_KERNEL) };
        if id < 0 {
            Err(Error::from_errno(id))
        } else {
            Ok(id)
        }
    }

    /// Frees an `id` that [`Ida::alloc`] returned.
    pub(crate) fn free(&self, id: i32) {
        let id = u32::try_from(id);
        warn_on!(id.is_err());
        if let Ok(id) = id {
            // SAFETY: `new` initialised the ida. For an id that is not allocated,
            // ida_free() only warns.
            unsafe { bindings::ida_free(self.raw.get(), id) };
        }
    }
}

#[pinned_drop]
impl PinnedDrop for Ida {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: `new` initialised the ida, and nobody else uses it any more.
        unsafe { bindings::ida_destroy(self.raw.get()) };
    }
}
