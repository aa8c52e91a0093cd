// SPDX-License-Identifier: GPL-2.0

//! The `struct dev_pagemap` that the owner of a static region supplies.

use kernel::{
    bindings,
    prelude::*,
    types::Opaque, //
};

use crate::ranges::range::PhysRange;

/// A copy of the page map that the owner of a static region supplies.
pub(crate) struct PgmapTemplate(Pin<KBox<Opaque<bindings::dev_pagemap>>>);

// SAFETY: This crate only reads the copy. fsdev writes to the copy while it is being bound or
// is bound, and the driver core binds one driver at a time.
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

    /// Whether all of `range` is memory of the page map.
    pub(super) fn contains(&self, range: &PhysRange) -> bool {
        // SAFETY: The page map is valid.
        let own = unsafe { &raw const (*self.as_ptr()).__bindgen_anon_1 };
        // CAST: The field is a union, one member of which is the range.
        let own = own.cast::<bindings::range>();
        // SAFETY: By the contract of `copy` the page map has one range, which nobody writes.
        let (start, last) = unsafe { ((*own).start, (*own).end) };
        PhysRange::new(start, last).is_some_and(|own| own.contains(range))
    }

    /// Whether the memory that the owner supplies holds the struct pages too
    /// (`PGMAP_ALTMAP_VALID`).
    pub(super) fn has_altmap(&self) -> bool {
        // SAFETY: The page map is valid, and nobody writes its flags.
        unsafe { (*self.as_ptr()).flags & bindings::PGMAP_ALTMAP_VALID != 0 }
    }

    /// The C pointer.
    pub(super) fn as_ptr(&self) -> *mut bindings::dev_pagemap {
        self.0.get()
    }
}
