// SPDX-License-Identifier: GPL-2.0

//! `struct dev_pagemap` as the owner of a static region fills it in.

use kernel::{
    bindings,
    prelude::*,
    types::Opaque, //
};

/// A copy of the page map that the owner of a static region brings along.
pub(crate) struct PgmapTemplate(Pin<KBox<Opaque<bindings::dev_pagemap>>>);

// SAFETY: Only copied from by our code; fsdev uses it while it is bound.
unsafe impl Send for PgmapTemplate {}
// SAFETY: As above.
unsafe impl Sync for PgmapTemplate {}

impl PgmapTemplate {
    /// Copies `pgmap`.
    ///
    /// # Safety
    ///
    /// `pgmap` is valid, has one range, and is not in use.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) unsafe fn copy(pgmap: *const bindings::dev_pagemap) -> Result<Self> {
        // SAFETY: By the contract; an unused page map is plain data.
        let copy = unsafe { core::ptr::read(pgmap) };
        Ok(Self(KBox::pin(Opaque::new(copy), GFP_KERNEL)?))
    }

    /// The C pointer.
    pub(super) fn as_ptr(&self) -> *mut bindings::dev_pagemap {
        self.0.get()
    }
}
