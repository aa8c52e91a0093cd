// SPDX-License-Identifier: GPL-2.0

//! How long the pages of a device can be mapped, and where each of them is.

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
        PAGE_SHIFT, //
    }, //
};

/// Pages of a chunk, as an order: what one bit of [`Liveness::was_touched`] stands for.
pub(super) const CHUNK_SHIFT: u32 = bindings::DAX_GLUE_CHUNK_SHIFT;

/// One life of a device: from binding the driver, when its struct pages are in
/// place, to unbinding it. A later binding is another life, perhaps of other ranges.
///
/// Unlike `dax_alive()` it tells these apart, and costs the fault path no call
/// into super.c.
///
/// # Invariants
///
/// - Whoever takes the struct pages of `entries` away ends this before, and waits
///   for those who have an [`AliveGuard`].
/// - `touched` has a bit for each chunk of the device's pages.
/// - `dev_dax` is the one of `_device`, `mapping` that of its dax device.
pub(crate) struct Liveness {
    alive: Atomic<bool>,
    /// Somebody else's `dax_pgoff_to_phys()` must be asked where a page is.
    overridden: bool,
    /// The pages' order, in pages of the machine.
    order: u32,
    align: Align,
    entries: KVVec<DevDaxRange>,
    mapping: *mut bindings::address_space,
    dev_dax: *mut bindings::dev_dax,
    /// A bit for each chunk; C sets them.
    touched: KVVec<Atomic<u64>>,
    _device: ARef<Device>,
}

// SAFETY: The pointers are constant, and what they point to lives as long as
// `_device`.
unsafe impl Send for Liveness {}
// SAFETY: As above; `touched` is only accessed atomically.
unsafe impl Sync for Liveness {}

/// The order of the compound pages that pages of `align` bytes are.
pub(super) fn page_order(align: Align) -> u32 {
    align
        .bytes()
        .trailing_zeros()
        .saturating_sub(bindings::PAGE_SHIFT)
}

impl Liveness {
    /// A life of the device `c`, whose pages of `align` bytes are in `entries`.
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
        // INVARIANT: A bit for each chunk; `PageMap` keeps the rest.
        Ok(Arc::new(
            Self {
                alive: Atomic::new(true),
                // SAFETY: Has no precondition.
                overridden: unsafe { bindings::dax_glue_pgoff_to_phys_overridden() },
                order,
                align,
                entries,
                mapping: c.dax().mapping(),
                dev_dax: c.as_ptr(),
                touched,
                _device: device.into(),
            },
            GFP_KERNEL,
        )?)
    }

    /// The end: the caller goes on with [`DaxDevice::kill`], which waits for those
    /// who have an [`AliveGuard`] of it.
    ///
    /// [`DaxDevice::kill`]: super::dax_core::DaxDevice::kill
    pub(super) fn end(&self) {
        self.alive.store(false, Release);
    }

    /// The ranges of the memory.
    pub(super) fn entries(&self) -> &KVVec<DevDaxRange> {
        &self.entries
    }

    /// The order of the device's pages, in pages of the machine.
    #[inline]
    pub(crate) fn order(&self) -> u32 {
        self.order
    }

    /// The address space of all mappings of the device.
    pub(super) fn mapping(&self) -> *mut bindings::address_space {
        self.mapping
    }

    /// Whether it lasted just now.
    pub(crate) fn is_alive(&self) -> bool {
        self.alive.load(Acquire)
    }

    /// Whether it alive, which it then does for as long as `guard` is there.
    ///
    /// Every page fault asks. An atomic load of the kernel crate is a call of C.
    #[inline]
    pub(crate) fn alive<'a>(&'a self, _guard: &'a ReadGuard) -> Option<AliveGuard<'a>> {
        // SAFETY: The pointer is valid, and a `bool` is read at once. No order is
        // needed: whoever ends this waits, after the store, for all read sections that
        // may have missed it.
        let is_alive = unsafe { core::ptr::read_volatile(self.alive.as_ptr()) };
        is_alive.then_some(AliveGuard(self))
    }

    /// Whether a page of the chunk of `page` was ever mapped. `page` counts pages of
    /// the device. Asked after the end.
    pub(super) fn was_touched(&self, page: u64) -> bool {
        let chunk = page >> CHUNK_SHIFT;
        let word = usize::try_from(chunk / 64).ok();
        let word = word.and_then(|index| self.touched.get(index));
        // What has no bit is looked at.
        word.is_none_or(|word| word.load(Acquire) & (1 << (chunk % 64)) != 0)
    }
}

/// A device that is alive: bound to a driver, its struct pages in place, until
/// the [`ReadGuard`] goes that this was made with.
#[derive(Clone, Copy)]
pub(crate) struct AliveGuard<'a>(&'a Liveness);

impl<'a> AliveGuard<'a> {
    /// The page that begins at page offset `pgoff` of the device. `None` if it is not
    /// inside one range, or not aligned to its size.
    ///
    /// Where nfit_test put its own `dax_pgoff_to_phys()` in the way it is asked.
    #[inline(always)]
    pub(crate) fn page_at(self, pgoff: u64) -> Option<Page<'a>> {
        let liveness = self.0;
        let size = liveness.align.bytes();
        if !liveness.overridden {
            let entry = entry_at(&liveness.entries, pgoff)?;
            return Page::new(liveness, Some(entry), entry.phys(pgoff, size)?, pgoff);
        }
        // SAFETY: The device is alive, so it is bound, so what it reads does not
        // change.
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
        Page::new(liveness, None, phys, pgoff)
    }
}

/// A page of a live device.
///
/// # Invariants
///
/// The bytes at `phys`, a page's size, are the device's, `phys` is a multiple of
/// that, and they are in the range of `entry`, if there is one.
#[derive(Clone, Copy)]
pub(crate) struct Page<'a> {
    liveness: &'a Liveness,
    /// The range; `None` if nobody knows what is contiguous.
    entry: Option<&'a DevDaxRange>,
    phys: u64,
    pgoff: u64,
}

impl<'a> Page<'a> {
    /// `None` if the page is not aligned: a page table entry for it would show the
    /// memory before it.
    #[inline]
    fn new(
        liveness: &'a Liveness,
        entry: Option<&'a DevDaxRange>,
        phys: u64,
        pgoff: u64,
    ) -> Option<Self> {
        // INVARIANT: Just checked; the rest is the caller's.
        liveness.align.is_aligned(phys).then_some(Self {
            liveness,
            entry,
            phys,
            pgoff,
        })
    }

    /// Its first page frame.
    #[inline]
    pub(super) fn pfn(&self) -> kernel::ffi::c_ulong {
        (self.phys >> PAGE_SHIFT) as kernel::ffi::c_ulong
    }

    /// Where in the device it is, in pages of the machine.
    #[inline]
    pub(super) fn pgoff(&self) -> kernel::ffi::c_ulong {
        self.pgoff as kernel::ffi::c_ulong
    }

    /// Its order, in pages of the machine.
    #[inline]
    pub(super) fn order(&self) -> u32 {
        self.liveness.order
    }

    /// The address space of all mappings of the device.
    #[inline]
    pub(super) fn mapping(&self) -> *mut bindings::address_space {
        self.liveness.mapping
    }

    /// Where C notes that the page was mapped; null if nobody will ask.
    #[inline]
    pub(super) fn touched(&self) -> *mut kernel::ffi::c_ulong {
        match self.entry {
            Some(_) => self.liveness.touched.as_ptr().cast_mut().cast(),
            None => core::ptr::null_mut(),
        }
    }

    /// What of its range is before and behind it; it is of the machine's size.
    pub(crate) fn around(&self) -> Neighbours {
        self.entry
            .map_or(Neighbours::NONE, |entry| entry.around(self.phys))
    }

    /// The page `bytes` behind this one, modulo 2^64, if it is in the same range.
    pub(crate) fn neighbour(&self, bytes: u64) -> Option<Self> {
        let phys = self.phys.wrapping_add(bytes);
        // A range is contiguous in the device too.
        let before = (self.phys >> PAGE_SHIFT).wrapping_sub(phys >> PAGE_SHIFT);
        let pgoff = self.pgoff.wrapping_sub(before);
        let found = self.entry?.phys(pgoff, self.liveness.align.bytes())?;
        Self::new(self.liveness, self.entry, found, pgoff)
    }
}
