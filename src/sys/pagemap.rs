// SPDX-License-Identifier: GPL-2.0

//! `struct dev_pagemap`: struct pages for a device's memory, and when they can be freed.

use core::ptr::NonNull;

use kernel::{
    bindings,
    device::{
        Bound,
        Device, //
    },
    error::from_err_ptr,
    prelude::*,
    sync::Arc,
    warn_on, //
};

use super::{
    dax_core::DaxDevice,
    dev_dax::{
        RawDevDax,
        Snapshot, //
    },
    device::{
        DeviceType,
        Typed,
        Unregistered,
        WithDevice, //
    },
    error::supported,
    hwpoison,
    liveness::{
        page_order,
        Liveness,
        CHUNK_SHIFT, //
    },
    memory::Claims,
    module::ModuleRef,
    object::{
        self,
        Object, //
    },
    task,
    template::PgmapTemplate, //
};

use crate::ranges::{
    layout::DevDaxRange,
    range::{
        usize_as_u64,
        Align,
        PhysRange,
        PAGE_SHIFT,
        PAGE_SIZE, //
    }, //
};

/// The `struct device` whose managed resource the struct pages are, since
/// `devm_memremap_pages()` needs a device. It cannot be the dax device: that releases its
/// managed resources whenever it is unbound, pinned pages or not.
type Holder = WithDevice<()>;

impl Typed for Holder {
    fn device_type() -> &'static DeviceType<Self> {
        static TYPE: DeviceType<Holder> = DeviceType::bare();
        &TYPE
    }
}

/// The memory of a device: claimed in `/proc/iomem`, with struct pages, and usable by
/// files until [`PageMap::end`].
///
/// Dropping this frees the struct pages and releases the claims. If somebody still has a
/// reference to a page, that is a bug: this then warns and leaks both. May sleep, for one
/// RCU grace period a range; these are expedited.
///
/// # Invariants
///
/// - `group` is an open devres group of `holder`. The group has the struct pages, and
///   `holder` has no other managed resources.
/// - The liveness has ended if, and only if, `ended` is true.
/// - `map` does not move after `devm_memremap_pages()` got it.
pub(crate) struct PageMap<T: Object + AsRef<RawDevDax>> {
    holder: Unregistered<Holder>,
    group: NonNull<kernel::ffi::c_void>,
    /// The `struct dev_pagemap`. It is in a `KVVec`, since with many ranges it is too large
    /// for kmalloc().
    map: KVVec<u64>,
    liveness: Arc<Liveness>,
    ended: bool,
    /// Progress of [`PageMap::look`]: the number of ranges of which no page is pinned, and the
    /// number of pages at the start of the next range that are not. `(usize::MAX, 0)` if there
    /// are no struct pages.
    seen: (usize, u64),
    /// Dropped after `drop` has freed the struct pages.
    claims: Claims<T>,
}

// SAFETY: The driver core synchronises devres groups, and any task may release them. The
// other fields are `Send`, since `T` is always `DevDax`.
unsafe impl<T: Object + Send + Sync + AsRef<RawDevDax>> Send for PageMap<T> {}

/// Why a page map cannot be made.
pub(crate) enum PageMapError {
    /// Somebody else has claimed a part of a range.
    Taken {
        /// Index of the first such range.
        index: usize,
        /// That range.
        range: PhysRange,
    },
    /// Any other error.
    Other(Error),
}

impl<E: Into<Error>> From<E> for PageMapError {
    fn from(e: E) -> Self {
        Self::Other(e.into())
    }
}

impl<T: Object + AsRef<RawDevDax>> PageMap<T> {
    /// Claims the ranges, and makes struct pages for them (`request_mem_region()`,
    /// `devm_memremap_pages()`), in compound pages as large as the alignment. In a static
    /// region, the template of the device says which memory gets struct pages; the ranges
    /// are a part of that. Marks the device alive for super.c. Sleeps.
    ///
    /// # Errors
    ///
    /// The first range of which a part is claimed already; `ENOMEM`, and the errors of
    /// `devm_memremap_pages()`. `EINVAL`, with a warning, if the template does not have all
    /// ranges, or if `bound` is another device.
    pub(crate) fn new(bound: &Device<Bound>, ranges: Snapshot<T>) -> Result<Self, PageMapError> {
        let Snapshot {
            device,
            entries,
            align,
        } = ranges;
        let device = &device;
        // A bound device's region is there, and so is its memory.
        let bound: &Device = bound;
        if warn_on!(!core::ptr::eq(bound, object::device::<T>(device))) {
            return Err(EINVAL.into());
        }
        let c: &RawDevDax = (**device).as_ref();
        if let Some(template) = c.template() {
            let mut ranges = entries.iter().filter_map(DevDaxRange::range);
            if warn_on!(!ranges.all(|range| template.contains(&range))) {
                return Err(EINVAL.into());
            }
        }
        let map = dev_pagemap(c.template(), &entries, align)?;
        let liveness = Liveness::new(c, object::device::<T>(device), entries, align)?;
        let claims = Claims::new(device, &liveness)
            .map_err(|(index, range)| PageMapError::Taken { index, range })?;
        let mut holder = Holder::make(())?;
        holder.set_node_of::<T>(device);
        // SAFETY: The holder is an initialised device.
        let group = unsafe {
            bindings::devres_open_group(
                holder.as_raw(),
                core::ptr::null_mut(),
                bindings::GFP_KERNEL,
            )
        };
        // INVARIANT: The group is open and empty, and the liveness has not ended.
        let mut this = Self {
            holder,
            group: NonNull::new(group).ok_or(ENOMEM)?,
            map,
            liveness,
            ended: false,
            // There are no struct pages yet. `populate` makes them.
            seen: (usize::MAX, 0),
            claims,
        };
        this.populate()?;
        this.dax().run();
        Ok(this)
    }

    fn as_dev_pagemap(&mut self) -> *mut bindings::dev_pagemap {
        // CAST: `dev_pagemap()` made the buffer for a page map.
        self.map.as_mut_ptr().cast()
    }

    /// Makes the struct pages.
    fn populate(&mut self) -> Result {
        let raw = self.as_dev_pagemap();
        let _expedited = Expedited::new();
        // SAFETY: The holder is an initialised device, and the page map is complete. It
        // stays valid until the group is released: `drop` releases the group first, or
        // leaks `map`.
        from_err_ptr(unsafe { bindings::dax_glue_memremap_pages(self.holder.as_raw(), raw) })?;
        // nfit_test replaces devm_memremap_pages() for memory that it only simulates. Such
        // memory has no struct pages to look at, or those of somebody else.
        let first = self
            .liveness
            .entries()
            .first()
            .map_or(0, |entry| entry.start);
        // CAST: In C a page frame number is an `unsigned long`.
        let pfn = (first >> PAGE_SHIFT) as kernel::ffi::c_ulong;
        // SAFETY: The page frame may be any, and the page map is valid.
        let is_ours = unsafe { bindings::dax_glue_pfn_is_of(pfn, raw) };
        if is_ours {
            self.seen = (0, 0);
        }
        Ok(())
    }

    /// The liveness of this binding, during which files may map the memory.
    pub(crate) fn liveness(&self) -> &Arc<Liveness> {
        &self.liveness
    }

    fn dax(&self) -> &DaxDevice {
        let c: &RawDevDax = (**self.claims.device()).as_ref();
        c.dax()
    }

    /// Ends all access through files: unmaps every page, and makes later page faults fail.
    /// Sleeps for an SRCU grace period. C: `kill_dev_dax()`.
    pub(crate) fn end(&mut self) {
        if self.ended {
            return;
        }
        let _expedited = Expedited::new();
        self.liveness.end();
        // Wait for page faults that saw the device alive.
        self.dax().kill();
        self.dax().unmap_all();
        // INVARIANT: The liveness has ended.
        self.ended = true;
    }

    /// Looks for a pinned page and returns its physical address. To be called after
    /// [`PageMap::end`]. May sleep.
    ///
    /// `get_user_pages()` takes no reference to the page map, so direct I/O, RDMA, vfio or
    /// a pipe may still use pages that no VMA maps any more. A page can only be pinned
    /// while it is mapped. So a page that was never mapped is not pinned, and a page that
    /// is not pinned now stays so: each call continues where the last one stopped.
    pub(crate) fn look(&mut self) -> Option<u64> {
        if warn_on!(!self.ended) {
            return self.liveness.entries().first().map(|entry| entry.start);
        }
        let order = self.liveness.order();
        let shift = order.saturating_add(PAGE_SIZE.trailing_zeros());
        while let Some(entry) = self.liveness.entries().get(self.seen.0) {
            let pages = entry.size() >> shift;
            if self.seen.1 >= pages {
                self.seen = (self.seen.0.saturating_add(1), 0);
                continue;
            }
            let first = entry.pgoff().pages() >> order;
            let page = first.saturating_add(self.seen.1);
            // The end of the chunk or of the range, whichever comes first.
            let behind = (page >> CHUNK_SHIFT).saturating_add(1) << CHUNK_SHIFT;
            let end = behind.saturating_sub(first).min(pages);
            if self.liveness.was_touched(page) {
                let pfn = |index: u64| (entry.start >> PAGE_SHIFT).saturating_add(index << order);
                // SAFETY: The page frames are within a range. They have struct pages of
                // ours, since `seen` otherwise skips all ranges, and each 2^order are
                // one compound page.
                // CAST: In C a page frame number is an `unsigned long`.
                let held = unsafe {
                    bindings::dax_glue_first_held(
                        pfn(self.seen.1) as kernel::ffi::c_ulong,
                        pfn(end) as kernel::ffi::c_ulong,
                        order,
                    )
                };
                let held = usize_as_u64(held);
                if held < pfn(end) {
                    self.seen.1 = held.saturating_sub(entry.start >> PAGE_SHIFT) >> order;
                    return Some(held << PAGE_SHIFT);
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
            // Leak what the user of the page needs.
            core::mem::forget(core::mem::replace(&mut self.map, KVVec::new()));
            self.claims.leak();
            core::mem::forget(self.holder.object().clone());
            // `rmmod` fails from now on. Otherwise it would wait for ever.
            core::mem::forget(ModuleRef::new());
            return;
        }
        let _expedited = Expedited::new();
        // SAFETY: By the type invariants the group is an open one of the holder. No page is
        // in use.
        unsafe { bindings::devres_release_group(self.holder.as_raw(), self.group.as_ptr()) };
    }
}

/// Makes the page map that `devm_memremap_pages()` gets: one of `entries`, with the other
/// fields of the template if there is one. A template whose struct pages are in the memory
/// itself (`PGMAP_ALTMAP_VALID`) keeps its range.
fn dev_pagemap(
    template: Option<&PgmapTemplate>,
    entries: &KVVec<DevDaxRange>,
    align: Align,
) -> Result<KVVec<u64>> {
    let extra = entries.len().saturating_sub(1);
    let bytes = extra
        .checked_mul(core::mem::size_of::<bindings::range>())
        .and_then(|bytes| bytes.checked_add(core::mem::size_of::<bindings::dev_pagemap>()))
        .ok_or(ENOMEM)?;
    let mut buffer = KVVec::from_elem(0u64, bytes.div_ceil(8), GFP_KERNEL)?;
    // CAST: The buffer has room for a page map, and its alignment of 8 bytes.
    let raw = buffer.as_mut_ptr().cast::<bindings::dev_pagemap>();
    if let Some(template) = template {
        // SAFETY: The buffer has room for one page map, and the template does not change
        // while the device is being probed.
        unsafe { core::ptr::copy_nonoverlapping(template.as_ptr(), raw, 1) };
    }
    // Memory management makes compound pages from the first address of a page map on, or
    // from the end of the struct pages if they are in the memory itself. The owner's
    // metadata is before the device's memory, so without this the compound pages of a large
    // alignment would not begin where the pages of the device do.
    if !template.is_some_and(PgmapTemplate::has_altmap) {
        // SAFETY: The buffer has room for a page map, and all zeroes is a valid one.
        unsafe { (*raw).nr_range = i32::try_from(entries.len()).map_err(|_| EINVAL)? };
        // SAFETY: The buffer has room for a page map, which ends with its ranges.
        // CAST: The field is a union, one member of which is the array of ranges.
        let array = unsafe { &raw mut (*raw).__bindgen_anon_1 }.cast::<bindings::range>();
        for (i, entry) in entries.iter().enumerate() {
            // SAFETY: `i` is at most `extra`. The page map has room for one range, and the
            // buffer has room for `extra` more.
            unsafe {
                array.add(i).write(bindings::range {
                    start: entry.start,
                    end: entry.last,
                })
            };
        }
    }
    // If a probe of fsdev failed, the template still has its callbacks, and its module may
    // be gone.
    // SAFETY: The buffer has room for a page map, and nobody else uses it yet.
    // CAST: The order is less than 64.
    unsafe {
        (*raw).ops = hwpoison::PGMAP_OPS.as_ptr();
        (*raw).owner = core::ptr::null_mut();
        (*raw).type_ = bindings::memory_type_MEMORY_DEVICE_GENERIC;
        (*raw).vmemmap_shift = page_order(align) as kernel::ffi::c_ulong;
    }
    Ok(buffer)
}

/// Expedites RCU grace periods while it exists (`rcu_expedite_gp()`).
///
/// Freeing the struct pages waits for a grace period for each range.
struct Expedited(());

impl Expedited {
    /// Begins to expedite grace periods.
    fn new() -> Self {
        // SAFETY: The function has no precondition; `drop` undoes it.
        unsafe { bindings::dax_glue_expedite(true) };
        Self(())
    }
}

impl Drop for Expedited {
    fn drop(&mut self) {
        // SAFETY: This undoes the call in `new`.
        unsafe { bindings::dax_glue_expedite(false) };
    }
}

/// The least alignment, in bytes, of memory for which struct pages can be made.
pub(crate) fn compat_align() -> u64 {
    // SAFETY: The function has no precondition.
    usize_as_u64(unsafe { bindings::dax_glue_compat_align() })
}

/// Whether the CPU and the kernel support mappings with pages of `bytes` bytes.
pub(crate) fn is_mappable(bytes: u64) -> bool {
    // SAFETY: The function has no precondition.
    // CAST: ZONE_DEVICE needs a 64-bit machine.
    unsafe { bindings::dax_glue_align_valid(bytes as kernel::ffi::c_ulong) }
}

/// Checks whether hotplugged memory can hold its own memmap.
///
/// # Errors
///
/// `EOPNOTSUPP` if it cannot.
pub(crate) fn check_memmap_on_memory() -> Result {
    // SAFETY: The function has no precondition.
    supported(unsafe { bindings::dax_glue_memmap_on_memory() })
}
