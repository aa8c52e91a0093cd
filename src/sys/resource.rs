// SPDX-License-Identifier: GPL-2.0

//! `struct resource`: the tree of all dax regions, and `/proc/iomem`.

use kernel::{
    bindings,
    device::Device,
    error::to_result,
    prelude::*,
    str::as_char_ptr_in_const_context,
    types::Opaque, //
};

use super::{
    memory::RegionMemory,
    object::as_raw, //
};

use crate::ranges::range::PhysRange;

/// The tree of all regions, which ensures that regions do not overlap. It is no part of
/// `/proc/iomem`. C: `dax_regions`.
static REGIONS: Root = {
    // SAFETY: All zeroes is a valid `struct resource`.
    let mut raw: bindings::resource = unsafe { core::mem::zeroed() };
    raw.end = bindings::resource_size_t::MAX;
    raw.name = as_char_ptr_in_const_context(c"DAX Regions");
    // CAST: The flag is a bit of an `unsigned long`.
    raw.flags = bindings::IORESOURCE_MEM as kernel::ffi::c_ulong;
    Root(Opaque::new(raw))
};

struct Root(Opaque<bindings::resource>);

// SAFETY: The lock of the resource core guards the tree.
unsafe impl Sync for Root {}

/// The place of a region in the tree of all regions. Dropping this releases it.
///
/// # Invariants
///
/// `raw` is a child of [`REGIONS`].
pub(crate) struct RegionResource {
    raw: Pin<KBox<Opaque<bindings::resource>>>,
    range: PhysRange,
}

// SAFETY: The lock of the resource core guards the tree, and any task may release a
// resource.
unsafe impl Send for RegionResource {}

impl RegionResource {
    /// Puts a region of the addresses `range`, which `parent` creates, into the tree. May
    /// sleep.
    ///
    /// # Safety
    ///
    /// `range` is memory that may be mapped cacheable, and it stays so until the result is
    /// dropped. Whoever uses a part of it claims that part in `/proc/iomem` first.
    ///
    /// # Errors
    ///
    /// `EBUSY` if another region overlaps, which is logged; `ENOMEM`.
    pub(crate) unsafe fn request(
        parent: &Device,
        range: PhysRange,
        flags: kernel::ffi::c_ulong,
    ) -> Result<Self> {
        // SAFETY: All zeroes is a valid `struct resource`.
        let mut res: bindings::resource = unsafe { core::mem::zeroed() };
        res.start = range.start();
        res.end = range.last();
        // CAST: The flag is a bit of an `unsigned long`.
        res.flags = bindings::IORESOURCE_MEM as kernel::ffi::c_ulong | flags;
        let raw = KBox::pin(Opaque::new(res), GFP_KERNEL)?;
        // SAFETY: Both resources are valid, and `raw` is pinned until it is released.
        let rc = unsafe { bindings::request_resource(REGIONS.0.get(), raw.get()) };
        if rc != 0 {
            // SAFETY: `parent` and `raw` are valid.
            unsafe { bindings::dax_glue_resource_conflict(as_raw(parent), raw.get()) };
        }
        to_result(rc)?;
        // INVARIANT: request_resource() made `raw` a child of `REGIONS`.
        Ok(Self { raw, range })
    }

    /// The memory of the region.
    pub(crate) fn memory(&self) -> RegionMemory {
        RegionMemory::new(self.range)
    }
}

impl Drop for RegionResource {
    fn drop(&mut self) {
        // SAFETY: By the type invariants `raw` is in the tree.
        unsafe { bindings::release_resource(self.raw.get()) };
    }
}

/// Whether a part of `range` is System RAM, that is, memory that kmem onlined and could not
/// offline when it was unbound.
pub(crate) fn has_system_ram(range: PhysRange) -> bool {
    // SAFETY: The function has no precondition.
    unsafe { bindings::dax_glue_has_system_ram(range.start(), range.size()) }
}
