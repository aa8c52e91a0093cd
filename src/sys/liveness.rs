// SPDX-License-Identifier: GPL-2.0

//! Liveness: whether the pages of a device may still be mapped, and where each page is.

use kernel::{
    bindings,
    device::Device,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            ordering::{
                Acquire,
                Release, //
            },
            Atomic, //
        },
        Arc, //
    }, //
};

use super::{
    dax_core::ReadGuard,
    dev_dax::RawDevDax, //
};

use crate::ranges::{
    layout::{
        entry_at,
        DevDaxRange, //
    },
    neighbours::Neighbours,
    range::{
        Align,
        PAGE_SHIFT,
        PAGE_SIZE, //
    }, //
};

/// Order of a chunk: one bit of `touched` stands for 2^`CHUNK_SHIFT` pages of the device.
pub(super) const CHUNK_SHIFT: u32 = bindings::DAX_GLUE_CHUNK_SHIFT;

/// The liveness of one binding of a device. It begins when the struct pages are in place,
/// and ends when the driver is unbound. A later binding, which may have other ranges, has
/// another one.
///
/// `dax_alive()` cannot tell bindings apart, and would cost the fault path a call into
/// super.c.
///
/// # Invariants
///
/// - [`PageMap`](super::pagemap::PageMap) calls [`Liveness::end`] before it frees the struct
///   pages of `entries`, and then waits until nobody has an [`AliveGuard`].
/// - `touched` has a bit for each chunk of the device's pages.
/// - `dev_dax` is inside the object of `_device`; `address_space` is that of its dax device.
pub(crate) struct Liveness {
    alive: Atomic<bool>,
    /// Whether nfit_test replaces `dax_pgoff_to_phys()`, which must then say where a page
    /// is.
    overridden: bool,
    /// Order of the device's pages.
    order: u32,
    align: Align,
    entries: KVVec<DevDaxRange>,
    address_space: *mut bindings::address_space,
    dev_dax: *mut bindings::dev_dax,
    /// One bit for each chunk. C sets the bit when it maps a page of the chunk.
    touched: KVVec<Atomic<u64>>,
    _device: ARef<Device>,
}

// SAFETY: The pointers do not change, and `_device` keeps what they point to alive.
unsafe impl Send for Liveness {}
// SAFETY: As above. `alive` and `touched` are accessed atomically, and nothing else
// changes.
unsafe impl Sync for Liveness {}

/// Order of pages of `align` bytes, and of the compound pages for them.
pub(super) fn page_order(align: Align) -> u32 {
    let shift = align.bytes().trailing_zeros();
    shift.saturating_sub(PAGE_SIZE.trailing_zeros())
}

impl Liveness {
    /// Begins the liveness of device `c`, whose ranges are `entries`, with pages of `align`
    /// bytes. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn new(
        c: &RawDevDax,
        device: &Device,
        entries: KVVec<DevDaxRange>,
        align: Align,
    ) -> Result<Arc<Self>> {
        let order = page_order(align);
        let end = entries.last().map_or(0, DevDaxRange::end);
        let chunks = end.div_ceil(1 << order).div_ceil(1 << CHUNK_SHIFT);
        let words = usize::try_from(chunks.div_ceil(64)).map_err(|_| ENOMEM)?;
        let mut touched = KVVec::with_capacity(words, GFP_KERNEL)?;
        for _ in 0..words {
            touched.push(Atomic::new(0), GFP_KERNEL)?;
        }
        // INVARIANT: `touched` has a bit for each chunk, both pointers are those of `c`,
        // and `PageMap` ends the liveness before it frees the struct pages.
        Ok(Arc::new(
            Self {
                alive: Atomic::new(true),
                // SAFETY: The function has no precondition.
                overridden: unsafe { bindings::dax_glue_pgoff_to_phys_overridden() },
                order,
                align,
                entries,
                address_space: c.dax().address_space(),
                dev_dax: c.as_ptr(),
                touched,
                _device: device.into(),
            },
            GFP_KERNEL,
        )?)
    }

    /// Ends the liveness. The caller then calls [`DaxDevice::kill`], which waits until
    /// nobody has an [`AliveGuard`].
    ///
    /// [`DaxDevice::kill`]: super::dax_core::DaxDevice::kill
    pub(super) fn end(&self) {
        self.alive.store(false, Release);
    }

    /// The ranges of the device, in page-offset order.
    pub(super) fn entries(&self) -> &KVVec<DevDaxRange> {
        &self.entries
    }

    /// Order of the device's pages.
    #[inline]
    pub(crate) fn order(&self) -> u32 {
        self.order
    }

    /// The address space that all VMAs of the device share.
    pub(super) fn address_space(&self) -> *mut bindings::address_space {
        self.address_space
    }

    /// Whether the binding had not ended at the time of the call.
    pub(crate) fn is_alive(&self) -> bool {
        self.alive.load(Acquire)
    }

    /// Whether the binding has not ended. If so, the device's pages stay until `guard` is
    /// dropped.
    ///
    /// Every page fault calls this. It does not use an atomic load of the kernel crate,
    /// since that is a call into C.
    #[inline]
    pub(crate) fn alive<'a>(&'a self, _guard: &'a ReadGuard) -> Option<AliveGuard<'a>> {
        // SAFETY: The pointer is valid, and reading a `bool` is atomic. The read needs no
        // memory ordering: after the store of `false`, whoever ends the liveness waits for
        // all read sections that may have read `true`.
        let is_alive = unsafe { core::ptr::read_volatile(self.alive.as_ptr()) };
        is_alive.then_some(AliveGuard(self))
    }

    /// Whether a page in the chunk of `page` was ever mapped. `page` counts pages of the
    /// device. To be called after the liveness has ended, since the answer may change until
    /// then. If nfit_test decides where pages are, nobody notes which are mapped, and all
    /// count as touched.
    pub(super) fn was_touched(&self, page: u64) -> bool {
        if self.overridden {
            return true;
        }
        let chunk = page >> CHUNK_SHIFT;
        let word = usize::try_from(chunk / 64).ok();
        let word = word.and_then(|index| self.touched.get(index));
        // A page without a bit counts as touched, so that somebody looks at it.
        word.is_none_or(|word| word.load(Acquire) & (1 << (chunk % 64)) != 0)
    }
}

/// Proof that a device is alive: a driver is bound and the struct pages are in place. Both
/// hold until the [`ReadGuard`] is dropped.
#[derive(Clone, Copy)]
pub(crate) struct AliveGuard<'a>(&'a Liveness);

impl<'a> AliveGuard<'a> {
    /// The page that begins at offset `pgoff` of the device, in pages of `PAGE_SIZE`.
    /// `None` if it is not within one range, or its physical address is not aligned to its
    /// size.
    ///
    /// If nfit_test replaces `dax_pgoff_to_phys()`, that decides where the page is.
    #[inline(always)]
    pub(crate) fn page_at(self, pgoff: u64) -> Option<Page<'a>> {
        let liveness = self.0;
        // Read this before any call of C: the compiler then knows that the caller has looked.
        let order = liveness.order;
        let size = liveness.align.bytes();
        if !liveness.overridden {
            let entry = entry_at(&liveness.entries, pgoff)?;
            return Page::new(
                liveness,
                order,
                Some(entry),
                entry.phys(pgoff, size)?,
                pgoff,
            );
        }
        // SAFETY: `dev_dax` is valid, by the type invariants. A driver is bound while the
        // device is alive, so the ranges do not change.
        // CAST: In C page offsets and sizes are `unsigned long`s.
        let phys = unsafe {
            bindings::dax_pgoff_to_phys(
                liveness.dev_dax,
                pgoff as kernel::ffi::c_ulong,
                size as kernel::ffi::c_ulong,
            )
        };
        if phys == bindings::phys_addr_t::MAX {
            return None;
        }
        Page::new(liveness, order, None, phys, pgoff)
    }
}

/// A page of a device that is alive.
///
/// # Invariants
///
/// - `order` is that of the device's pages.
/// - `phys` is a multiple of the page size, and the page there belongs to the device.
/// - If `entry` is `Some`, the page is within that range.
#[derive(Clone, Copy)]
pub(crate) struct Page<'a> {
    liveness: &'a Liveness,
    order: u32,
    /// The range of the page; `None` if nfit_test decides where pages are.
    entry: Option<&'a DevDaxRange>,
    phys: u64,
    pgoff: u64,
}

impl<'a> Page<'a> {
    /// Makes a page. `None` if `phys` is not aligned: a huge entry in a page table would also
    /// map the memory before it.
    #[inline]
    fn new(
        liveness: &'a Liveness,
        order: u32,
        entry: Option<&'a DevDaxRange>,
        phys: u64,
        pgoff: u64,
    ) -> Option<Self> {
        // INVARIANT: `phys` is aligned, and the callers made sure of the rest.
        liveness.align.is_aligned(phys).then_some(Self {
            liveness,
            order,
            entry,
            phys,
            pgoff,
        })
    }

    /// Page frame number of its first page frame.
    #[inline]
    pub(super) fn pfn(&self) -> kernel::ffi::c_ulong {
        // CAST: In C a page frame number is an `unsigned long`.
        (self.phys >> PAGE_SHIFT) as kernel::ffi::c_ulong
    }

    /// Offset in the device, in pages of `PAGE_SIZE`.
    #[inline]
    pub(super) fn pgoff(&self) -> kernel::ffi::c_ulong {
        // CAST: In C a page offset is an `unsigned long`.
        self.pgoff as kernel::ffi::c_ulong
    }

    /// Order of the page.
    #[inline]
    pub(super) fn order(&self) -> u32 {
        self.order
    }

    /// The address space that all VMAs of the device share.
    #[inline]
    pub(super) fn address_space(&self) -> *mut bindings::address_space {
        self.liveness.address_space
    }

    /// The bitmap in which C notes that the page was mapped. Null if the page is in no range
    /// of the device: then nobody looks for pinned pages.
    #[inline]
    pub(super) fn touched(&self) -> *mut kernel::ffi::c_ulong {
        match self.entry {
            // CAST: `Atomic<u64>` is a `u64`, which C takes for an `unsigned long`.
            Some(_) => self.liveness.touched.as_ptr().cast_mut().cast(),
            None => core::ptr::null_mut(),
        }
    }

    /// How much of the page's range is before and behind the page, whose order must be 0.
    pub(crate) fn around(&self) -> Neighbours {
        self.entry
            .map_or(Neighbours::NONE, |entry| entry.around(self.phys))
    }

    /// The page `bytes` behind this one, modulo 2^64, if it is within the same range.
    pub(crate) fn neighbour(&self, bytes: u64) -> Option<Self> {
        let phys = self.phys.wrapping_add(bytes);
        // Physical address and page offset differ by a constant within a range.
        let before = (self.phys >> PAGE_SHIFT).wrapping_sub(phys >> PAGE_SHIFT);
        let pgoff = self.pgoff.wrapping_sub(before);
        let found = self.entry?.phys(pgoff, self.liveness.align.bytes())?;
        Self::new(self.liveness, self.order, self.entry, found, pgoff)
    }
}
