// SPDX-License-Identifier: GPL-2.0

//! `struct dev_pagemap`: struct pages for a device's memory, and when they may
//! go again.

use core::marker::PhantomData;
use kernel::bindings;
use kernel::device::{Bound, Device};
use kernel::devres;
use kernel::error::{from_err_ptr, to_result};
use kernel::prelude::*;
use kernel::sync::atomic::{ordering::Relaxed, Atomic};
use kernel::sync::Arc;
use kernel::types::Opaque;

use super::device::as_raw;
use crate::layout::Entry;
use crate::range::Align;

/// A copy of the page map that the owner of a static region brings along.
pub(crate) struct Template(Pin<KBox<Opaque<bindings::dev_pagemap>>>);

// SAFETY: Only copied from by our code; fsdev uses it while it is bound.
unsafe impl Send for Template {}
// SAFETY: As above.
unsafe impl Sync for Template {}

impl Template {
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

/// Makes struct pages for a device until its driver is unbound
/// (`devm_memremap_pages()`). Sleeps.
///
/// `entries` are what the device has, in pages of `align`; a `template` says
/// what to make struct pages for instead, of which `entries` are a part.
///
/// # Errors
///
/// `ENOMEM`, and what `devm_memremap_pages()` fails with.
pub(crate) fn map(
    dev: &Device<Bound>,
    template: Option<&Template>,
    mut entries: KVVec<Entry>,
    align: Align,
) -> Result<Mapped> {
    let extra = if template.is_some() {
        0
    } else {
        entries.len().saturating_sub(1)
    };
    let bytes = extra
        .checked_mul(core::mem::size_of::<bindings::range>())
        .and_then(|bytes| bytes.checked_add(core::mem::size_of::<bindings::dev_pagemap>()))
        .ok_or(ENOMEM)?;
    // The ranges may be many more than kmalloc() has room for.
    let mut buffer = KVVec::from_elem(0u64, bytes.div_ceil(8), GFP_KERNEL)?;
    let raw = buffer.as_mut_ptr().cast::<bindings::dev_pagemap>();
    match template {
        // SAFETY: The buffer has room for one, and the template is not changed
        // while the device is probed.
        Some(template) => unsafe { core::ptr::copy_nonoverlapping(template.as_ptr(), raw, 1) },
        None => {
            // SAFETY: The buffer is zeroed and has room for the ranges.
            unsafe { (*raw).nr_range = i32::try_from(entries.len()).map_err(|_| EINVAL)? };
            // SAFETY: As above.
            let array = unsafe { &raw mut (*raw).__bindgen_anon_1 }.cast::<bindings::range>();
            for (i, entry) in entries.iter().enumerate() {
                // SAFETY: `i` is at most `extra`.
                unsafe {
                    array.add(i).write(bindings::range {
                        start: entry.start,
                        end: entry.last,
                    })
                };
            }
        }
    }
    // SAFETY: The buffer is ours until it is handed over.
    unsafe {
        (*raw).type_ = bindings::memory_type_MEMORY_DEVICE_GENERIC;
        (*raw).vmemmap_shift = page_order(align) as kernel::ffi::c_ulong;
    }
    // Registered before the mapping, so it goes after it. The heap buffer
    // stays where it is when the vector moves.
    devres::register(dev, Buffer { _memory: buffer }, GFP_KERNEL)?;
    let _expedited = Expedited::new();
    // SAFETY: The page map is complete, and outlives the mapping.
    from_err_ptr(unsafe { bindings::dax_glue_memremap_pages(as_raw(dev), raw) })?;
    // nfit_test replaces devm_memremap_pages() for memory that it only pretends
    // to have: that has no struct pages, or somebody else's.
    // SAFETY: May be asked of any page frame; the page map is valid.
    let is_ours = |pfn| unsafe { bindings::dax_glue_pfn_is_of(pfn, raw) };
    let first = entries.first().map_or(0, |entry| entry.start);
    if !is_ours((first >> bindings::PAGE_SHIFT) as kernel::ffi::c_ulong) {
        entries.clear();
    }
    // INVARIANT: They exist from here on.
    Ok(Mapped { entries, align })
}

/// The order of the compound pages that pages of `align` bytes are.
pub(crate) fn page_order(align: Align) -> u32 {
    align
        .bytes()
        .trailing_zeros()
        .saturating_sub(bindings::PAGE_SHIFT)
}

/// Memory of a page map, held for its destructor.
struct Buffer {
    _memory: KVVec<u64>,
}

/// A device's memory that has struct pages.
///
/// # Invariants
///
/// It has them until the device's driver is unbound and what its probe
/// registered before [`map`] is released; a `Mapped` is dropped before that.
pub(crate) struct Mapped {
    entries: KVVec<Entry>,
    align: Align,
}

impl Mapped {
    /// All pages.
    pub(crate) fn pages(&self) -> impl Iterator<Item = MappedPage<'_>> + '_ {
        let align = self.align;
        let ranges = self.entries.iter().filter_map(Entry::range);
        ranges.flat_map(move |range| {
            (0..range.size() >> align.bytes().trailing_zeros())
                .filter_map(move |index| range.pfn_at(index, align))
                .map(|pfn| MappedPage(pfn, PhantomData))
        })
    }
}

/// One page of [`Mapped`] memory, of the device's alignment.
pub(crate) struct MappedPage<'a>(u64, PhantomData<&'a Mapped>);

impl MappedPage<'_> {
    /// Whether nobody but the page map refers to it.
    pub(crate) fn is_idle(&self) -> bool {
        // SAFETY: Its struct page, the head of a compound page if the alignment
        // is more than a page, exists by the invariant of `Mapped`.
        unsafe { bindings::dax_glue_pfn_idle(self.0 as kernel::ffi::c_ulong) }
    }

    /// Where it is.
    pub(crate) fn address(&self) -> u64 {
        self.0 << bindings::PAGE_SHIFT
    }
}

/// While one exists, RCU grace periods are short (`rcu_expedite_gp()`).
///
/// Taking the struct pages of a range away waits for one, each.
pub(crate) struct Expedited(());

impl Expedited {
    /// Begins.
    pub(crate) fn new() -> Self {
        // SAFETY: Has no precondition; `drop` undoes it.
        unsafe { bindings::dax_glue_expedite(true) };
        Self(())
    }
}

impl Drop for Expedited {
    fn drop(&mut self) {
        // SAFETY: `new` began it.
        unsafe { bindings::dax_glue_expedite(false) };
    }
}

/// Expedites from [`ExpediteUnmap::begin`], called when a device is unbound,
/// until the page map is gone: registered before it, dropped after it.
pub(crate) struct ExpediteUnmap(Atomic<bool>);

impl ExpediteUnmap {
    /// To be called before [`map`].
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn register(dev: &Device<Bound>) -> Result<Arc<Self>> {
        let this = Arc::new(Self(Atomic::new(false)), GFP_KERNEL)?;
        devres::register(dev, EndExpedite(this.clone()), GFP_KERNEL)?;
        Ok(this)
    }

    /// Begins, once.
    pub(crate) fn begin(&self) {
        if !self.0.load(Relaxed) {
            self.0.store(true, Relaxed);
            // SAFETY: Has no precondition; `EndExpedite` undoes it.
            unsafe { bindings::dax_glue_expedite(true) };
        }
    }
}

struct EndExpedite(Arc<ExpediteUnmap>);

impl Drop for EndExpedite {
    fn drop(&mut self) {
        if self.0 .0.load(Relaxed) {
            // SAFETY: `begin` began it. Both run in the device's unbind.
            unsafe { bindings::dax_glue_expedite(false) };
        }
    }
}

/// Lets other tasks run.
pub(crate) fn cond_resched() {
    // SAFETY: Called from sleepable context.
    unsafe { bindings::dax_glue_cond_resched() };
}

/// Sleeps for `ms` milliseconds without counting as hung.
pub(crate) fn sleep_idle(ms: u32) {
    let jiffies = kernel::time::msecs_to_jiffies(ms);
    // SAFETY: Called from sleepable context.
    unsafe { bindings::schedule_timeout_idle(jiffies as kernel::ffi::c_long) };
}

/// The least alignment that struct pages can be made for, in bytes.
pub(crate) fn compat_align() -> u64 {
    // SAFETY: Has no precondition.
    unsafe { bindings::dax_glue_compat_align() as u64 }
}

/// Whether the CPU and the kernel can map pages of `bytes`.
pub(crate) fn is_mappable(bytes: u64) -> bool {
    // SAFETY: Has no precondition.
    unsafe { bindings::dax_glue_align_valid(bytes as kernel::ffi::c_ulong) }
}

/// Fails with `EOPNOTSUPP` unless memory that is added can hold its own memmap.
pub(crate) fn check_memmap_on_memory() -> Result {
    // SAFETY: Has no precondition.
    if unsafe { bindings::dax_glue_memmap_on_memory() } {
        return Ok(());
    }
    // Linux 7.2 has no name for it.
    to_result(-(bindings::EOPNOTSUPP as kernel::ffi::c_int))
}
