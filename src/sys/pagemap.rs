// SPDX-License-Identifier: GPL-2.0

//! `struct dev_pagemap`: struct pages for a device's memory, and when they may
//! go again.

use core::ptr::NonNull;

use kernel::{
    bindings,
    error::{
        from_err_ptr,
        to_result, //
    },
    prelude::*,
    sync::Arc,
    warn_on, //
};

use super::{
    dax_core::DaxDevice,
    dev_dax::RawDevDax,
    device::{
        DeviceType,
        Typed,
        Unregistered,
        WithDevice, //
    },
    liveness::{
        page_order,
        Liveness, //
        CHUNK_SHIFT,
    },
    object::{
        self,
        name_ptr,
        Object,
        Ref, //
    },
    task,
    template::PgmapTemplate, //
};

use crate::ranges::{
    layout::DevDaxRange,
    range::{
        Align,
        PhysRange, //
        PAGE_SHIFT,
    }, //
};

/// A `struct device` that owns what makes up a page map: `devm_memremap_pages()`
/// and `devm_request_mem_region()` want one, and the device that the memory belongs
/// to loses its own at each unbind, pinned pages or not.
type Holder = WithDevice<()>;

impl Typed for Holder {
    fn device_type() -> &'static DeviceType<Self> {
        static TYPE: DeviceType<Holder> = DeviceType::bare();
        &TYPE
    }
}

/// The memory of a device: reserved in `/proc/iomem`, with struct pages, and mapped
/// by files until [`PageMap::end`].
///
/// Dropping it gives all that back, if nobody refers to a page; otherwise all that
/// stays for good, with a warning. It may sleep, and does so for an RCU grace period
/// a range, which are expedited.
///
/// # Invariants
///
/// - `group` is an open group of `holder`'s managed resources: the reservations and
///   the struct pages. Nothing else is managed by `holder`.
/// - `life` is over if, and only if, `ended`.
/// - `map` is where it was when `devm_memremap_pages()` got it.
pub(crate) struct PageMap<T: Object + AsRef<RawDevDax>> {
    holder: Unregistered<Holder>,
    group: NonNull<kernel::ffi::c_void>,
    /// The `struct dev_pagemap`, in a buffer: its ranges may be more than kmalloc()
    /// has room for.
    map: KVVec<u64>,
    liveness: Arc<Liveness>,
    ended: bool,
    /// What [`PageMap::look`] found idle: so many entries, and pages of the next.
    seen: (usize, u64),
    /// Its name is on the reservations.
    device: Ref<T>,
}

// SAFETY: The group is the driver core's, which synchronises it.
unsafe impl<T: Object + AsRef<RawDevDax>> Send for PageMap<T> {}

/// Why there is no page map.
pub(crate) enum PageMapError {
    /// Somebody else has a part of a range.
    Taken {
        /// The first of those ranges.
        index: usize,
        /// Where it is.
        range: PhysRange,
    },
    /// What else it failed with.
    Other(Error),
}

impl<E: Into<Error>> From<E> for PageMapError {
    fn from(e: E) -> Self {
        Self::Other(e.into())
    }
}

impl<T: Object + AsRef<RawDevDax>> PageMap<T> {
    /// Reserves `entries` of the device's memory and makes struct pages for them
    /// (`devm_request_mem_region()`, `devm_memremap_pages()`), compound ones of
    /// `align`. In a static region the template of the device says what to make
    /// struct pages for, of which `entries` are a part. Sleeps.
    ///
    /// # Errors
    ///
    /// The first of the ranges that is taken; `ENOMEM`, and what
    /// `devm_memremap_pages()` fails with.
    pub(crate) fn new(
        device: &Ref<T>,
        entries: KVVec<DevDaxRange>,
        align: Align,
    ) -> Result<Self, PageMapError> {
        let c: &RawDevDax = (**device).as_ref();
        let map = dev_pagemap(c.template(), &entries, align)?;
        let liveness = Liveness::new(c, object::device::<T>(device), entries, align)?;
        let mut holder = Holder::make(())?;
        holder.set_node_of::<T>(device);
        // SAFETY: The device is initialised.
        let group = unsafe {
            bindings::devres_open_group(
                holder.as_raw(),
                core::ptr::null_mut(),
                bindings::GFP_KERNEL,
            )
        };
        // INVARIANT: The group is open, and the life is not over.
        let mut this = Self {
            holder,
            group: NonNull::new(group).ok_or(ENOMEM)?,
            map,
            liveness,
            ended: false,
            seen: (0, 0),
            device: device.clone(),
        };
        this.reserve()?;
        this.populate()?;
        Ok(this)
    }

    fn as_dev_pagemap(&mut self) -> *mut bindings::dev_pagemap {
        self.map.as_mut_ptr().cast()
    }

    /// Marks the ranges as in use in `/proc/iomem`.
    ///
    /// Last range first: they mostly ascend, so each goes to the front of the tree's
    /// list, and so it leaves it. The other way round each walks past all others.
    fn reserve(&self) -> Result<(), PageMapError> {
        let mut failed = Ok(());
        for (index, entry) in self.liveness.entries().iter().enumerate().rev() {
            let range = entry.range().ok_or(EINVAL)?;
            // SAFETY: The holder is initialised. The name lives as long as the
            // device, of which we own a reference until the region is released.
            let res = unsafe {
                bindings::__devm_request_region(
                    self.holder.as_raw(),
                    &raw mut bindings::iomem_resource,
                    range.start(),
                    range.size(),
                    name_ptr::<T>(&self.device),
                )
            };
            if res.is_null() {
                failed = Err(PageMapError::Taken { index, range });
            }
        }
        failed
    }

    /// Makes the struct pages.
    fn populate(&mut self) -> Result {
        let raw = self.as_dev_pagemap();
        let _expedited = Expedited::new();
        // SAFETY: The page map is complete, and outlives the mapping: it goes after
        // the group.
        from_err_ptr(unsafe { bindings::dax_glue_memremap_pages(self.holder.as_raw(), raw) })?;
        // nfit_test replaces devm_memremap_pages() for memory that it only pretends
        // to have: that has no struct pages, or somebody else's.
        let first = self
            .liveness
            .entries()
            .first()
            .map_or(0, |entry| entry.start);
        // SAFETY: May be asked of any page frame; the page map is valid.
        let is_ours = unsafe {
            bindings::dax_glue_pfn_is_of((first >> PAGE_SHIFT) as kernel::ffi::c_ulong, raw)
        };
        if !is_ours {
            // There is nothing to look at.
            self.seen = (self.liveness.entries().len(), 0);
        }
        Ok(())
    }

    /// For how long files may map the memory.
    pub(crate) fn liveness(&self) -> &Arc<Liveness> {
        &self.liveness
    }

    fn dax(&self) -> &DaxDevice {
        let c: &RawDevDax = (*self.device).as_ref();
        c.dax()
    }

    /// Ends all access through files: no mapping is left, and no new one can be
    /// made. Sleeps for an SRCU grace period. C: `kill_dev_dax()`.
    pub(crate) fn end(&mut self) {
        if self.ended {
            return;
        }
        let _expedited = Expedited::new();
        self.liveness.end();
        // Waits for those who saw it alive.
        self.dax().kill();
        self.dax().unmap_all();
        // INVARIANT: The life is over.
        self.ended = true;
    }

    /// The address of the first page that somebody still refers to. May sleep.
    ///
    /// `get_user_pages()` takes no reference of the page map, so direct I/O, RDMA,
    /// vfio or a pipe may still use pages that are mapped nowhere. A page that is idle
    /// stays idle, since it can only be pinned through a mapping: each look goes on
    /// where the last one stopped. A page that was never mapped is idle.
    pub(crate) fn look(&mut self) -> Option<u64> {
        if warn_on!(!self.ended) {
            return self.liveness.entries().first().map(|entry| entry.start);
        }
        let order = self.liveness.order();
        let shift = order.saturating_add(PAGE_SHIFT as u32);
        while let Some(entry) = self.liveness.entries().get(self.seen.0) {
            let pages = entry.size() >> shift;
            if self.seen.1 >= pages {
                self.seen = (self.seen.0.saturating_add(1), 0);
                continue;
            }
            let first = entry.pgoff().pages() >> order;
            let page = first.saturating_add(self.seen.1);
            // To the end of the chunk or of the range.
            let behind = (page >> CHUNK_SHIFT).saturating_add(1) << CHUNK_SHIFT;
            let end = behind.saturating_sub(first).min(pages);
            if self.liveness.was_touched(page) {
                let pfn = |index: u64| (entry.start >> PAGE_SHIFT).saturating_add(index << order);
                // SAFETY: The struct pages are there, by the type invariant, the
                // heads of compound pages of that order.
                let held = unsafe {
                    bindings::dax_glue_first_held(
                        pfn(self.seen.1) as kernel::ffi::c_ulong,
                        pfn(end) as kernel::ffi::c_ulong,
                        order,
                    )
                };
                if (held as u64) < pfn(end) {
                    let idle = (held as u64).saturating_sub(entry.start >> PAGE_SHIFT) >> order;
                    self.seen.1 = idle;
                    return Some((held as u64) << PAGE_SHIFT);
                }
                task::cond_resched();
            }
            self.seen.1 = end;
        }
        None
    }
}

impl<T: Object + AsRef<RawDevDax>> Drop for PageMap<T> {
    fn drop(&mut self) {
        self.end();
        if warn_on!(self.look().is_some()) {
            // Whoever has the page goes on to use it.
            core::mem::forget(core::mem::replace(&mut self.map, KVVec::new()));
            core::mem::forget(self.device.clone());
            core::mem::forget(self.holder.object().clone());
            return;
        }
        let _expedited = Expedited::new();
        // SAFETY: By the type invariant the group is open and is the holder's. No
        // page is in use.
        unsafe { bindings::devres_release_group(self.holder.as_raw(), self.group.as_ptr()) };
    }
}

/// A page map for `entries`, or of the template, to be handed to
/// `devm_memremap_pages()`.
fn dev_pagemap(
    template: Option<&PgmapTemplate>,
    entries: &KVVec<DevDaxRange>,
    align: Align,
) -> Result<KVVec<u64>> {
    let extra = match template {
        Some(_) => 0,
        None => entries.len().saturating_sub(1),
    };
    let bytes = extra
        .checked_mul(core::mem::size_of::<bindings::range>())
        .and_then(|bytes| bytes.checked_add(core::mem::size_of::<bindings::dev_pagemap>()))
        .ok_or(ENOMEM)?;
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
    Ok(buffer)
}

/// While one exists, RCU grace periods are short (`rcu_expedite_gp()`).
///
/// Taking the struct pages of a range away waits for one, each.
struct Expedited(());

impl Expedited {
    /// Begins.
    fn new() -> Self {
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
