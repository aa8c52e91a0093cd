// SPDX-License-Identifier: GPL-2.0

//! `PG_hwpoison`: pages that memory-failure handling marked, remembered beyond their struct
//! pages.
//!
//! The mark is in the struct page, which goes when a driver is unbound. Zeroing must not
//! touch such memory later. So the marks are noted before they go: those of device_dax by a
//! callback of the page map, when a page is marked; those of kmem by a notifier of memory
//! hotplug, when memory goes offline. Pages of fsdev_dax need no note: only a callback of a
//! file system could mark them, and no file system of Linux does.

use kernel::{
    bindings,
    error::to_result,
    prelude::*,
    sync::{
        atomic::{
            ordering::{
                Acquire,
                Release, //
            },
            Atomic, //
        },
        global_lock, //
    },
    types::Opaque,
    warn_on, //
};

use crate::ranges::{
    hwpoison::PoisonedPages,
    range::{
        usize_as_u64,
        PhysRange,
        PAGE_SHIFT, //
    }, //
};

global_lock! {
    /// A leaf lock: no other lock is taken under it.
    // SAFETY: `init` initialises it before it sets `READY`. All uses look at `READY`.
    unsafe(uninit) static PAGES: Mutex<PoisonedPages> = PoisonedPages::new();
}

/// Whether `PAGES` is initialised.
static READY: Atomic<bool> = Atomic::new(false);

/// Initialises the list of pages. `BusType::register()` calls this, so there is no device
/// before.
///
/// # Safety
///
/// Called only once.
pub(super) unsafe fn init() {
    // SAFETY: By the contract this is the first and only call.
    unsafe { PAGES.init() };
    READY.store(true, Release);
}

/// Whether [`init`] was called. Warns if not.
fn is_ready() -> bool {
    let ready = READY.load(Acquire);
    warn_on!(!ready);
    ready
}

/// Notes page frame `pfn`. May sleep.
fn add(pfn: u64) {
    if is_ready() && PAGES.lock().add(pfn).is_err() {
        pr_err!("no memory to note the poisoned page {:#x}\n", pfn);
    }
}

/// The lowest part of `range` without a poisoned page, see [`PoisonedPages::first_clean`].
/// May sleep.
///
/// # Errors
///
/// `EIO` if not all poisoned pages of `range` are known, because there was no memory to
/// note one.
pub(crate) fn first_clean(range: PhysRange) -> Result<Option<PhysRange>> {
    if !is_ready() {
        return Err(EIO);
    }
    let pages = PAGES.lock();
    if !pages.knows(&range) {
        return Err(EIO);
    }
    Ok(pages.first_clean(range))
}

/// Forgets the pages of `range`, because its region is gone. May sleep.
pub(crate) fn forget(range: PhysRange) {
    if is_ready() {
        PAGES.lock().forget(&range);
    }
}

/// Forgets all pages, because the module is being unloaded. May sleep.
pub(super) fn forget_all() {
    if is_ready() {
        let pages = core::mem::replace(&mut *PAGES.lock(), PoisonedPages::new());
        drop(pages);
    }
}

/// Notes the pages from `pfn` to before `end` whose struct pages are marked. Sleeps.
///
/// # Safety
///
/// The struct pages, where there are any, stay for this call.
unsafe fn note(mut pfn: u64, end: u64) {
    loop {
        // SAFETY: By the contract the struct pages stay for this call.
        // CAST: In C a page frame number is an `unsigned long`.
        pfn = usize_as_u64(unsafe {
            bindings::dax_glue_next_poisoned(
                pfn as kernel::ffi::c_ulong,
                end as kernel::ffi::c_ulong,
            )
        });
        if pfn >= end {
            break;
        }
        add(pfn);
        pfn = pfn.saturating_add(1);
    }
}

/// The callbacks of the page maps of this crate.
#[repr(transparent)]
pub(super) struct PgmapOps(bindings::dev_pagemap_ops);

// SAFETY: Never written.
unsafe impl Sync for PgmapOps {}

impl PgmapOps {
    /// The C pointer.
    pub(super) fn as_ptr(&'static self) -> *const bindings::dev_pagemap_ops {
        &raw const self.0
    }
}

/// Notes each page that is marked, and leaves the rest to the memory manager.
pub(super) static PGMAP_OPS: PgmapOps = {
    // SAFETY: All zeroes is a valid `struct dev_pagemap_ops`.
    let mut raw: bindings::dev_pagemap_ops = unsafe { core::mem::zeroed() };
    raw.memory_failure = Some(memory_failure_callback);
    PgmapOps(raw)
};

/// # Safety
///
/// The memory manager calls this, with a page frame of a page map of this crate.
unsafe extern "C" fn memory_failure_callback(
    _pgmap: *mut bindings::dev_pagemap,
    pfn: kernel::ffi::c_ulong,
    count: kernel::ffi::c_ulong,
    _flags: kernel::ffi::c_int,
) -> kernel::ffi::c_int {
    let first = usize_as_u64(pfn);
    for pfn in first..first.saturating_add(usize_as_u64(count)) {
        add(pfn);
    }
    // The memory manager then does what it does without this callback.
    // CAST: An errno is less than 4096.
    -(bindings::EOPNOTSUPP as kernel::ffi::c_int)
}

/// A notifier of memory hotplug, which notes the marked pages of memory that goes offline.
/// Dropping this unregisters it.
///
/// # Invariants
///
/// The notifier is registered.
pub(crate) struct MemoryNotifier(Pin<KBox<Opaque<bindings::notifier_block>>>);

// SAFETY: Only memory hotplug writes the notifier, under a lock of its own, and any task may
// unregister it.
unsafe impl Send for MemoryNotifier {}
// SAFETY: As above.
unsafe impl Sync for MemoryNotifier {}

impl MemoryNotifier {
    /// Registers the notifier. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, and the errors of `register_memory_notifier()`.
    pub(crate) fn register() -> Result<Self> {
        // SAFETY: All zeroes is a valid `struct notifier_block`.
        let mut raw: bindings::notifier_block = unsafe { core::mem::zeroed() };
        raw.notifier_call = Some(memory_callback);
        let raw = KBox::pin(Opaque::new(raw), GFP_KERNEL)?;
        // SAFETY: The notifier is valid, and stays at its address until `drop` unregisters
        // it.
        to_result(unsafe { bindings::dax_glue_register_memory_notifier(raw.get()) })?;
        // INVARIANT: It is registered.
        Ok(Self(raw))
    }
}

impl Drop for MemoryNotifier {
    fn drop(&mut self) {
        // SAFETY: By the type invariants it is registered.
        unsafe { bindings::dax_glue_unregister_memory_notifier(self.0.get()) };
    }
}

/// # Safety
///
/// Memory hotplug calls this. `data` is a `struct memory_notify` if memory went offline.
unsafe extern "C" fn memory_callback(
    _notifier: *mut bindings::notifier_block,
    action: kernel::ffi::c_ulong,
    data: *mut kernel::ffi::c_void,
) -> kernel::ffi::c_int {
    // CAST: The constant is a small number.
    if action == bindings::memory_block_state_MEM_OFFLINE as kernel::ffi::c_ulong {
        let memory = data.cast::<bindings::memory_notify>();
        // SAFETY: By the contract `data` is a `struct memory_notify`.
        let (first, count) = unsafe { ((*memory).start_pfn, (*memory).nr_pages) };
        let (first, count) = (usize_as_u64(first), usize_as_u64(count));
        // kmem is such a driver. Memory that no driver added is in no region.
        // SAFETY: The function has no precondition.
        if unsafe { bindings::dax_glue_is_driver_managed(first << PAGE_SHIFT, count << PAGE_SHIFT) }
        {
            // SAFETY: Memory hotplug frees the struct pages only after this call, under a
            // lock that it holds now.
            unsafe { note(first, first.saturating_add(count)) };
        }
    }
    // CAST: The constant is 0.
    bindings::NOTIFY_DONE as kernel::ffi::c_int
}
