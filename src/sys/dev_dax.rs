// SPDX-License-Identifier: GPL-2.0

//! `struct dev_dax`: what kmem, fsdev and nfit_test read of a device.
//!
//! The truth is in the region's [`Record`](crate::region::Record); this is its
//! shadow in the C layout. It is written only while no driver is bound or is
//! being bound (see `bus::probe()`), and read by drivers only while they are.

use core::ptr::NonNull;
use kernel::bindings;
use kernel::prelude::*;
use kernel::types::Opaque;

use super::bus::Driver;
use super::dax_core::{Alive, DaxDevice};
use super::pagemap::Template;
use crate::around::Around;
use crate::layout::{entry_at, Entry, Layout};
use crate::range::{Align, PAGE_SHIFT};

/// `struct dev_dax`, at the start of a `DevDax`.
#[repr(transparent)]
pub(crate) struct CDevDax(Opaque<bindings::dev_dax>);

// SAFETY: See the module's description for who writes and reads when; the
// embedded `struct device` is the driver core's.
unsafe impl Send for CDevDax {}
// SAFETY: As above.
unsafe impl Sync for CDevDax {}
// SAFETY: `Opaque` may hold any bit pattern.
unsafe impl Zeroable for CDevDax {}

/// What never changes in a `struct dev_dax`.
pub(crate) struct Identity {
    /// The region, as `struct dax_region`.
    pub(crate) region: *const CRegion,
    /// Instance id, Y of daxX.Y.
    pub(crate) id: i32,
    /// Whether the region chose the id.
    pub(crate) dynamic: bool,
    /// Where kmem puts the memory, -1 for nowhere.
    pub(crate) target_node: i32,
}

impl CDevDax {
    /// A zeroed `struct dev_dax`.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init::init_zeroed::<Self>()
    }

    /// The C pointer.
    pub(super) fn as_ptr(&self) -> *mut bindings::dev_dax {
        self.0.get()
    }

    /// Fills in what never changes. Before the device is registered.
    pub(crate) fn set_identity(&self, identity: &Identity, dax: &DaxDevice) {
        let raw = self.0.get();
        // SAFETY: The device is not registered, so only the caller knows it.
        unsafe {
            (*raw).region = identity.region.cast_mut().cast();
            (*raw).dax_dev = dax.as_ptr();
            (*raw).id = identity.id;
            (*raw).dyn_id = identity.dynamic;
            (*raw).target_node = identity.target_node;
        }
    }

    /// Shows `layout` to C. The layout's entries must stay where they are until
    /// the next call; no driver is bound.
    pub(crate) fn set_layout(&self, layout: &Layout) {
        let entries = layout.entries();
        let raw = self.0.get();
        let count = i32::try_from(entries.len()).unwrap_or(i32::MAX);
        let ranges = if entries.is_empty() {
            core::ptr::null_mut()
        } else {
            // CAST: `Entry` has the layout of `struct dev_dax_range`, see abi.rs.
            entries.as_ptr().cast_mut().cast()
        };
        // SAFETY: No driver reads these while none is bound.
        unsafe {
            (*raw).nr_range = count;
            (*raw).ranges = ranges;
        }
    }

    /// Shows the alignment to C. No driver is bound.
    pub(crate) fn set_align(&self, align: Align) {
        let align = u32::try_from(align.bytes()).unwrap_or(0);
        // SAFETY: No driver reads it while none is bound.
        unsafe { (*self.0.get()).align = align };
    }

    /// Whether kmem is to put the memmap into the memory itself.
    pub(crate) fn memmap_on_memory(&self) -> bool {
        // SAFETY: The device is alive; a racing write is one of two answers.
        unsafe { core::ptr::read_volatile(&raw const (*self.0.get()).memmap_on_memory) }
    }

    /// Sets [`CDevDax::memmap_on_memory`]. kmem is not bound.
    pub(crate) fn set_memmap_on_memory(&self, on: bool) {
        // SAFETY: The device is alive; only kmem reads it, at probe.
        unsafe { core::ptr::write_volatile(&raw mut (*self.0.get()).memmap_on_memory, on) };
    }

    /// Hands a static region's page map template to the device, which is where
    /// fsdev looks for it. Before the device is registered.
    pub(crate) fn set_template(&self, template: &Template) {
        // SAFETY: The device is not registered, so only the caller knows it.
        unsafe { (*self.0.get()).pgmap = template.as_ptr() };
    }

    /// A dynamic device's page map belongs to the driver that made it; forget it.
    pub(crate) fn clear_pagemap(&self) {
        // SAFETY: Called when that driver is being unbound.
        unsafe { (*self.0.get()).pgmap = core::ptr::null_mut() };
    }

    /// Calls `driver`'s probe for this device.
    ///
    /// # Errors
    ///
    /// What it fails with.
    pub(crate) fn probe_with(&self, driver: &Driver) -> Result {
        driver.call_probe(self)
    }

    /// Calls `driver`'s remove for this device.
    pub(crate) fn remove_from(&self, driver: &Driver) {
        driver.call_remove(self);
    }

    /// The ranges that C sees.
    ///
    /// # Safety
    ///
    /// `raw` is of a [`CDevDax`], and a driver is bound for `'a`, so that they do
    /// not change.
    #[inline]
    pub(crate) unsafe fn entries<'a>(raw: *const bindings::dev_dax) -> &'a [Entry] {
        // SAFETY: By the contract nobody writes them.
        let (ranges, count) = unsafe { ((*raw).ranges, (*raw).nr_range) };
        match NonNull::new(ranges) {
            // SAFETY: `set_layout` showed that many entries, whose layout abi.rs
            // asserts; they stay where they are by the contract.
            // CAST: `set_layout` shows no negative number.
            Some(ranges) => unsafe {
                core::slice::from_raw_parts(ranges.as_ptr().cast(), count as usize)
            },
            None => &[],
        }
    }

    /// The page of `size` bytes that page offset `pgoff` of the device shows.
    /// `None` if it is not inside one range, or not aligned to its size.
    ///
    /// Where nfit_test put its own `dax_pgoff_to_phys()` in the way it is asked.
    #[inline(always)]
    pub(crate) fn page_at<'a>(
        &self,
        alive: &'a Alive<'a>,
        pgoff: u64,
        size: Align,
    ) -> Option<Page<'a>> {
        let raw = self.0.get();
        // SAFETY: Set before the device was registered, and constant.
        if unsafe { (*raw).dax_dev } != alive.dax() {
            return None;
        }
        let (entry, phys) = if !alive.is_overridden() {
            // SAFETY: The device is alive, so it is bound.
            let entry = entry_at(unsafe { Self::entries(raw) }, pgoff)?;
            (Some(entry), entry.phys(pgoff, size.bytes())?)
        } else {
            // SAFETY: The device is alive, so it is bound, so its ranges do not
            // change.
            let phys = unsafe {
                bindings::dax_pgoff_to_phys(
                    raw,
                    pgoff as kernel::ffi::c_ulong,
                    size.bytes() as kernel::ffi::c_ulong,
                )
            };
            if phys == bindings::phys_addr_t::MAX {
                return None;
            }
            (None, phys)
        };
        Page::new(entry, phys, pgoff, size)
    }
}

/// A page of a live device.
///
/// # Invariants
///
/// The `size` bytes at `phys` are the device's, `phys` is a multiple of `size`, and
/// they are in the range of `entry`, if there is one.
#[derive(Clone, Copy)]
pub(crate) struct Page<'a> {
    /// The range; `None` if nobody knows what is contiguous.
    entry: Option<&'a Entry>,
    phys: u64,
    pgoff: u64,
    size: Align,
}

impl<'a> Page<'a> {
    /// `None` if the page is not aligned: a page table entry for it would show the
    /// memory before it.
    #[inline]
    fn new(entry: Option<&'a Entry>, phys: u64, pgoff: u64, size: Align) -> Option<Self> {
        // INVARIANT: Just checked; the rest is the caller's.
        size.is_aligned(phys).then_some(Self {
            entry,
            phys,
            pgoff,
            size,
        })
    }

    /// Its first page frame.
    #[inline]
    pub(super) fn pfn(&self) -> kernel::ffi::c_ulong {
        (self.phys >> PAGE_SHIFT) as kernel::ffi::c_ulong
    }

    /// Where in the device it is, in pages.
    #[inline]
    pub(super) fn pgoff(&self) -> kernel::ffi::c_ulong {
        self.pgoff as kernel::ffi::c_ulong
    }

    /// What of its range is before and behind it.
    #[inline]
    pub(crate) fn around(&self) -> Around {
        let around = |entry: &Entry| entry.around(self.phys, self.size.bytes());
        self.entry.map_or(Around::NONE, around)
    }

    /// The page of the same size `bytes`, modulo 2^64, behind this one, if it is in
    /// the same range.
    pub(crate) fn neighbour(&self, bytes: u64) -> Option<Self> {
        let phys = self.phys.wrapping_add(bytes);
        // A range is contiguous in the device too.
        let before = (self.phys >> PAGE_SHIFT).wrapping_sub(phys >> PAGE_SHIFT);
        let pgoff = self.pgoff.wrapping_sub(before);
        let found = self.entry?.phys(pgoff, self.size.bytes())?;
        Self::new(self.entry, found, pgoff, self.size)
    }
}

/// `struct dax_region`, of which C consumers read only what is set here.
#[repr(transparent)]
pub(crate) struct CRegion(Opaque<bindings::dax_region>);

// SAFETY: Constant after construction.
unsafe impl Send for CRegion {}
// SAFETY: As above.
unsafe impl Sync for CRegion {}

impl CRegion {
    /// The C view of a region. nfit_test reads `align`.
    pub(crate) fn new(id: i32, target_node: i32, align: Align) -> Self {
        // SAFETY: All zeroes is a valid `struct dax_region`.
        let mut raw: bindings::dax_region = unsafe { core::mem::zeroed() };
        raw.id = id;
        raw.target_node = target_node;
        raw.align = u32::try_from(align.bytes()).unwrap_or(0);
        Self(Opaque::new(raw))
    }
}
