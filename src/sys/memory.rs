// SPDX-License-Identifier: GPL-2.0

//! Memory that is claimed in `/proc/iomem` for a device: all its ranges while a driver is
//! bound, or memory to be zeroed, which `memremap()` maps into the kernel.
//!
//! To claim a range is to enter it there as busy, under the name of the device
//! (`request_mem_region()`). Then no other driver can claim a part of it.

use core::{
    marker::PhantomData,
    ptr::NonNull, //
};

use kernel::{
    bindings,
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    },
    warn_on, //
};

use super::{
    error::supported,
    liveness::Liveness,
    object::{
        name_ptr,
        Object, //
    }, //
};

use crate::ranges::range::PhysRange;

/// The memory of a region. Only [`RegionResource`](super::resource::RegionResource) makes
/// values, so a value always stands for memory of a region.
#[derive(Clone, Copy)]
pub(crate) struct RegionMemory(PhysRange);

impl RegionMemory {
    /// The memory `span`, which is that of a region.
    pub(super) fn new(span: PhysRange) -> Self {
        Self(span)
    }

    /// Its addresses.
    pub(crate) fn span(&self) -> PhysRange {
        self.0
    }

    /// Claims `range` for `device`. May sleep. The caller is in a probe, in an attribute of the
    /// device or in a work item that the region knows of. The region's parent waits for each
    /// of these, so the memory is there.
    ///
    /// # Errors
    ///
    /// `EBUSY` if a part of it is claimed: by a driver, for memory that is online, or for
    /// pinned pages of a device that is gone. The kernel returns the same if an allocation
    /// fails. `EINVAL`, with a warning, if it is not within the region.
    pub(crate) fn claim<T: Object>(&self, device: &ARef<T>, range: PhysRange) -> Result<Claim<T>> {
        if warn_on!(!self.0.contains(&range)) {
            return Err(EINVAL);
        }
        // SAFETY: The result owns a reference to the device.
        if !unsafe { request_mem_region(device, range) } {
            return Err(EBUSY);
        }
        // INVARIANT: The range was claimed just now, and is within a region.
        Ok(Claim {
            range,
            _device: device.clone(),
        })
    }
}

/// Memory that is claimed in `/proc/iomem`, and that nobody else uses. Dropping this releases
/// it.
///
/// # Invariants
///
/// `range` is memory of a region, and this claimed all of it.
pub(crate) struct Claim<T: Object> {
    range: PhysRange,
    /// The claim has the name of this device.
    _device: ARef<T>,
}

impl<T: Object> Claim<T> {
    /// Maps `part` into the kernel, cacheable (`MEMREMAP_WB`). There is one such mapping of
    /// the claim at a time. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`. `EOPNOTSUPP` on a host that encrypts its memory (AMD SME): the next owner's
    /// mapping would decrypt what is stored here. `EINVAL`, with a warning, if not all of it
    /// is claimed.
    pub(crate) fn map(&mut self, part: PhysRange) -> Result<Mapped<'_>> {
        let size = usize::try_from(part.size()).map_err(|_| EINVAL)?;
        if warn_on!(!self.range.contains(&part)) {
            return Err(EINVAL);
        }
        // SAFETY: The function has no precondition.
        supported(!unsafe { bindings::dax_glue_memremap_decrypts() })?;
        // SAFETY: By the type invariants nobody else uses the memory, so this is no System
        // RAM.
        // CAST: The flag is a bit of an `unsigned long`.
        let addr = unsafe {
            bindings::memremap(
                part.start(),
                size,
                bindings::MEMREMAP_WB as kernel::ffi::c_ulong,
            )
        };
        // INVARIANT: All of `part` is mapped, and nobody else uses it: the result borrows
        // the claim.
        Ok(Mapped {
            addr: NonNull::new(addr).ok_or(ENOMEM)?.cast(),
            part,
            _claim: PhantomData,
        })
    }
}

impl<T: Object> Drop for Claim<T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariants this claimed the range.
        unsafe { release_mem_region(self.range) };
    }
}

/// The ranges of a device, claimed in `/proc/iomem`. Dropping this releases them.
///
/// # Invariants
///
/// This claimed the ranges from index `first` on, under the name of `device`.
pub(super) struct Claims<T: Object> {
    liveness: Arc<Liveness>,
    first: usize,
    device: ARef<T>,
}

impl<T: Object> Claims<T> {
    /// Claims the ranges of `liveness` for `device`, the last one first. May sleep.
    ///
    /// The ranges mostly ascend, and the resource tree searches a sorted list from its front.
    /// In this order each claim, and later each release, finds its place at the front. The
    /// other order would walk past all other ranges each time.
    ///
    /// # Errors
    ///
    /// The first range of which a part is claimed already, and its index. The kernel returns
    /// the same if an allocation fails.
    pub(super) fn new(
        device: &ARef<T>,
        liveness: &Arc<Liveness>,
    ) -> Result<Self, (usize, PhysRange)> {
        // INVARIANT: Nothing is claimed yet.
        let mut this = Self {
            liveness: liveness.clone(),
            first: usize::MAX,
            device: device.clone(),
        };
        let mut taken = None;
        for (index, range) in ranges(liveness).rev() {
            // SAFETY: `this` owns a reference to the device.
            if !unsafe { request_mem_region(device, range) } {
                taken = Some((index, range));
            } else if taken.is_none() {
                // INVARIANT: The range was claimed just now, and those behind it before.
                this.first = index;
            } else {
                // Nobody needs this range any more.
                // SAFETY: The range was claimed just now.
                unsafe { release_mem_region(range) };
            }
        }
        taken.map_or(Ok(this), Err)
    }

    /// The device.
    pub(super) fn device(&self) -> &ARef<T> {
        &self.device
    }

    /// Leaks the claims and a reference to the device, because somebody still uses a page.
    pub(super) fn leak(&mut self) {
        // INVARIANT: This has no claims any more. The leaked reference keeps their name valid.
        self.first = usize::MAX;
        core::mem::forget(self.device.clone());
    }
}

impl<T: Object> Drop for Claims<T> {
    fn drop(&mut self) {
        for (_, range) in ranges(&self.liveness).filter(|(index, _)| *index >= self.first) {
            // SAFETY: By the type invariants this claimed the range.
            unsafe { release_mem_region(range) };
        }
    }
}

/// The ranges of a device, each with its index.
fn ranges(liveness: &Liveness) -> impl DoubleEndedIterator<Item = (usize, PhysRange)> + '_ {
    let entries = liveness.entries().iter().enumerate();
    entries.filter_map(|(index, entry)| Some((index, entry.range()?)))
}

/// Claims `range` for `device`. Returns false if a part of it is claimed already, or an
/// allocation fails.
///
/// # Safety
///
/// The caller keeps a reference to `device` until the range is released, because the claim
/// has the device's name.
unsafe fn request_mem_region<T: Object>(device: &ARef<T>, range: PhysRange) -> bool {
    // SAFETY: By the contract the name is valid until the range is released. The flags may
    // be zero.
    let res = unsafe {
        bindings::__request_region(
            &raw mut bindings::iomem_resource,
            range.start(),
            range.size(),
            name_ptr::<T>(device),
            0,
        )
    };
    !res.is_null()
}

/// Undoes [`request_mem_region`].
///
/// # Safety
///
/// `request_mem_region` claimed `range`, which is released only once.
unsafe fn release_mem_region(range: PhysRange) {
    // SAFETY: By the contract the range is claimed.
    unsafe {
        bindings::__release_region(
            &raw mut bindings::iomem_resource,
            range.start(),
            range.size(),
        )
    };
}

/// Memory of a [`Claim`], mapped into the kernel. Dropping this unmaps it.
///
/// # Invariants
///
/// The bytes of `part` are at `addr`, in order. Nobody else uses them.
pub(crate) struct Mapped<'a> {
    addr: NonNull<u8>,
    part: PhysRange,
    _claim: PhantomData<&'a ()>,
}

impl Mapped<'_> {
    /// Zeroes `range`. Warns and does nothing if not all of it is mapped.
    pub(crate) fn zero(&mut self, range: PhysRange) {
        let offset = range.start().checked_sub(self.part.start());
        let offset = offset.filter(|_| self.part.contains(&range));
        let offset = offset.and_then(|offset| usize::try_from(offset).ok());
        let (Some(offset), Ok(size)) = (offset, usize::try_from(range.size())) else {
            warn_on!(true);
            return;
        };
        // SAFETY: By the type invariants the bytes are mapped, and nobody else uses them;
        // `range` is within `part`.
        unsafe { self.addr.add(offset).write_bytes(0, size) };
    }
}

impl Drop for Mapped<'_> {
    fn drop(&mut self) {
        // SAFETY: memremap() returned the address, and nobody uses it any more.
        unsafe { bindings::memunmap(self.addr.as_ptr().cast()) };
    }
}
