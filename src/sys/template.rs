// SPDX-License-Identifier: GPL-2.0

//! The `struct dev_pagemap` that the owner of a static region supplies.

use kernel::{
    bindings,
    prelude::*,
    types::Opaque, //
};

/// A copy of the page map that the owner of a static region supplies.
pub(crate) struct PgmapTemplate(Pin<KBox<Opaque<bindings::dev_pagemap>>>);

// SAFETY: This crate only reads the copy. fsdev uses it only while it is bound, and the
// driver core binds one driver at a time.
unsafe impl Send for PgmapTemplate {}
// SAFETY: As above.
unsafe impl Sync for PgmapTemplate {}

impl PgmapTemplate {
    /// Copies `pgmap`. May sleep.
    ///
    /// # Safety
    ///
    /// `pgmap` is valid, has one range, and is not in use.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) unsafe fn copy(pgmap: *const bindings::dev_pagemap) -> Result<Self> {
        // SAFETY: By the contract `pgmap` is valid. A page map that is not in use is plain
        // data.
        let copy = unsafe { core::ptr::read(pgmap) };
        Ok(Self(KBox::pin(Opaque::new(copy), GFP_KERNEL)?))
    }

    /// The C pointer.
    pub(super) fn as_ptr(&self) -> *mut bindings::dev_pagemap {
        self.0.get()
    }
}
