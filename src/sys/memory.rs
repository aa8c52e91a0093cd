// SPDX-License-Identifier: GPL-2.0

//! Memory that is reserved in `/proc/iomem` for a device: all its ranges while a driver is
//! bound, or memory to be zeroed, which `memremap()` maps into the kernel.

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
    liveness::Liveness,
    object::{
        name_ptr,
        Object, //
    }, //
};

use crate::ranges::range::PhysRange;

/// The memory of a region. Only [`RegionResource`](super::resource::RegionResource) makes
/// values, so a value always stands for memory that a region has reserved.
#[derive(Clone, Copy)]
pub(crate) struct RegionMemory(PhysRange);

impl RegionMemory {
    /// The memory `span`, which a region has reserved.
    pub(super) fn new(span: PhysRange) -> Self {
        Self(span)
    }

    /// Its addresses.
    pub(crate) fn span(&self) -> PhysRange {
        self.0
    }

    /// Reserves `range` in `/proc/iomem`, under the name of `device`
    /// (`request_mem_region()`). May sleep. The caller is in a probe or in an attribute of
    /// the device, which the region's parent waits for, so the memory is there.
    ///
    /// # Errors
    ///
    /// `EBUSY` if somebody has reserved a part of it: a driver, memory that is online, or
    /// pinned pages of a device that is gone. The kernel returns the same if an allocation
    /// fails. `EINVAL`, with a warning, if it is not within the region.
    pub(crate) fn claim<T: Object>(&self, device: &ARef<T>, range: PhysRange) -> Result<Claim<T>> {
        if warn_on!(!self.0.contains(&range)) {
            return Err(EINVAL);
        }
        // SAFETY: The result owns a reference to the device.
        if !unsafe { reserve(device, range) } {
            return Err(EBUSY);
        }
        // INVARIANT: The range was reserved just now, and is within a region.
        Ok(Claim {
            range,
            _device: device.clone(),
        })
    }
}

/// Memory that is reserved in `/proc/iomem`, and that nobody else uses. Dropping this frees
/// it.
///
/// # Invariants
///
/// `range` is memory of a region, and this reserved all of it.
pub(crate) struct Claim<T: Object> {
    range: PhysRange,
    /// Its name is the name of the reservation.
    _device: ARef<T>,
}

impl<T: Object> Claim<T> {
    /// Maps `part` into the kernel, cacheable (`MEMREMAP_WB`). May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`. `EINVAL`, with a warning, if not all of it is reserved.
    pub(crate) fn map(&self, part: PhysRange) -> Result<Mapped<'_>> {
        let size = usize::try_from(part.size()).map_err(|_| EINVAL)?;
        if warn_on!(!self.range.contains(&part)) {
            return Err(EINVAL);
        }
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
        // INVARIANT: All of `part` is mapped, and nobody else uses it.
        Ok(Mapped {
            addr: NonNull::new(addr).ok_or(ENOMEM)?.cast(),
            part,
            _claim: PhantomData,
        })
    }
}

impl<T: Object> Drop for Claim<T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariants the range is reserved, and by this.
        unsafe { release(self.range) };
    }
}

/// The ranges of a device, reserved in `/proc/iomem`. Dropping this frees them.
///
/// # Invariants
///
/// This reserved the ranges from index `first` on, under the name of `device`.
pub(super) struct Claims<T: Object> {
    liveness: Arc<Liveness>,
    first: usize,
    device: ARef<T>,
}

impl<T: Object> Claims<T> {
    /// Reserves the ranges of `liveness`, under the name of `device`
    /// (`request_mem_region()`). May sleep.
    ///
    /// Last range first. The ranges mostly ascend, and the resource tree searches a sorted
    /// list from its front. In this order each request, and later each release, finds its
    /// place at the front. The other order would walk past all other ranges each time.
    ///
    /// # Errors
    ///
    /// The first range of which a part is reserved, and its index. The kernel returns the
    /// same if an allocation fails.
    pub(super) fn new(
        device: &ARef<T>,
        liveness: &Arc<Liveness>,
    ) -> Result<Self, (usize, PhysRange)> {
        // INVARIANT: Nothing is reserved yet.
        let mut this = Self {
            liveness: liveness.clone(),
            first: usize::MAX,
            device: device.clone(),
        };
        let mut taken = None;
        for (index, range) in ranges(liveness).rev() {
            // SAFETY: `this` owns a reference to the device.
            if !unsafe { reserve(device, range) } {
                taken = Some((index, range));
            } else if taken.is_none() {
                // INVARIANT: The range was reserved just now, as were those behind it.
                this.first = index;
            } else {
                // Nobody needs this range any more.
                // SAFETY: The range was reserved just now.
                unsafe { release(range) };
            }
        }
        taken.map_or(Ok(this), Err)
    }

    /// The device.
    pub(super) fn device(&self) -> &ARef<T> {
        &self.device
    }

    /// Leaks the reservations and a reference to the device, because somebody still uses a
    /// page.
    pub(super) fn leak(&mut self) {
        // INVARIANT: The reservations are nobody's, and so is the reference to the device.
        self.first = usize::MAX;
        core::mem::forget(self.device.clone());
    }
}

impl<T: Object> Drop for Claims<T> {
    fn drop(&mut self) {
        for (_, range) in ranges(&self.liveness).filter(|(index, _)| *index >= self.first) {
            // SAFETY: By the type invariants this reserved the range.
            unsafe { release(range) };
        }
    }
}

/// The ranges of a device, each with its index.
fn ranges(liveness: &Liveness) -> impl DoubleEndedIterator<Item = (usize, PhysRange)> + '_ {
    let entries = liveness.entries().iter().enumerate();
    entries.filter_map(|(index, entry)| Some((index, entry.range()?)))
}

/// Reserves `range`, and returns whether it could.
///
/// # Safety
///
/// The caller keeps a reference to `device` until the range is released, because the
/// reservation has the device's name.
unsafe fn reserve<T: Object>(device: &ARef<T>, range: PhysRange) -> bool {
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

/// Undoes [`reserve`].
///
/// # Safety
///
/// `reserve` reserved `range`, which is released only once.
unsafe fn release(range: PhysRange) {
    // SAFETY: By the contract the range is reserved.
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
