// SPDX-License-Identifier: GPL-2.0

//! `struct dev_dax`: the fields of a device that kmem, fsdev and nfit_test read.
//!
//! C reads the ranges without a lock while a driver is bound. [`Ranges`] owns the ranges
//! and the fields that show them to C, and refuses changes while C may read them.

use core::{
    mem::{
        offset_of,
        size_of, //
    },
    ops::Deref,
    ptr::NonNull, //
};

use kernel::{
    bindings,
    prelude::*,
    sync::{
        aref::{
            ARef,
            AlwaysRefCounted, //
        },
        atomic::{
            ordering::Relaxed,
            Atomic, //
        },
        Arc, //
    },
    types::Opaque,
    warn_on, //
};

use super::{
    dax_core::DaxDevice,
    device::{
        Typed,
        Unregistered, //
    },
    object::{
        get,
        has_driver,
        put,
        Object, //
    },
    template::PgmapTemplate, //
};

use crate::ranges::{
    layout::{
        DevDaxRange,
        Layout, //
    },
    range::Align, //
};

// C must find the fields of a range at the same offsets.
const _: () = {
    assert!(size_of::<DevDaxRange>() == size_of::<bindings::dev_dax_range>());
    assert!(offset_of!(DevDaxRange, pgoff) == offset_of!(bindings::dev_dax_range, pgoff));
    assert!(
        offset_of!(DevDaxRange, start)
            == offset_of!(bindings::dev_dax_range, range) + offset_of!(bindings::range, start)
    );
    assert!(
        offset_of!(DevDaxRange, last)
            == offset_of!(bindings::dev_dax_range, range) + offset_of!(bindings::range, end)
    );
    assert!(offset_of!(DevDaxRange, mapping) == offset_of!(bindings::dev_dax_range, mapping));
};

/// `struct dev_dax`, at the start of a device, and everything that it points to except for
/// the ranges.
#[pin_data]
#[repr(C)]
pub(crate) struct RawDevDax {
    #[pin]
    raw: Opaque<bindings::dev_dax>,
    /// Owns `raw.dax_dev`.
    dax: DaxDevice,
    /// Owns `raw.pgmap` in a static region.
    template: Option<PgmapTemplate>,
    /// Owns `raw.region`.
    region: Arc<CRegion>,
    /// Whether a driver was probed since the last change of the ranges.
    frozen: Atomic<bool>,
}

// SAFETY: Fields of `raw` are constant, or [`Ranges`] guards them, or they are single
// values that are accessed with volatile operations. The driver core synchronises the
// embedded `struct device`. The other fields are `Send` and `Sync`.
unsafe impl Send for RawDevDax {}
// SAFETY: As above.
unsafe impl Sync for RawDevDax {}

/// A device of the dax bus: a `struct dev_dax` for C, and a `T`.
#[pin_data]
#[repr(C)]
pub(crate) struct DaxObject<T> {
    /// The first field, so that both have the same address.
    #[pin]
    c: RawDevDax,
    #[pin]
    data: T,
}

// SAFETY: The first field begins with a zeroed `struct dev_dax`, which has its device at
// that offset. Only `make` makes a `Self`, by `Unregistered::new`.
unsafe impl<T: 'static> Object for DaxObject<T> {
    const OFFSET: usize = offset_of!(bindings::dev_dax, dev);
}

// SAFETY: As for `WithDevice`.
unsafe impl<T: 'static> AlwaysRefCounted for DaxObject<T> {
    fn inc_ref(&self) {
        get(self);
    }

    unsafe fn dec_ref(object: NonNull<Self>) {
        // SAFETY: By the contract the object is valid, and the reference is the caller's.
        unsafe { put(object) };
    }
}

impl<T> AsRef<RawDevDax> for DaxObject<T> {
    fn as_ref(&self) -> &RawDevDax {
        &self.c
    }
}

impl<T> Deref for DaxObject<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.data
    }
}

impl<T: Send + Sync + 'static> DaxObject<T> {
    /// Makes a device, and its ranges, of which there are none, with the given alignment.
    /// May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, and the errors of `data`.
    pub(crate) fn make(
        identity: Identity,
        align: Align,
        data: impl PinInit<T, Error>,
    ) -> Result<(Unregistered<Self>, Ranges<Self>)>
    where
        Self: Typed,
    {
        let device = Unregistered::new(try_pin_init!(Self {
            c <- RawDevDax::new(identity),
            data <- data,
        }? Error))?;
        let ranges = Ranges::new(device.object().clone(), align);
        Ok((device, ranges))
    }

    /// The part that C sees.
    pub(crate) fn c(&self) -> &RawDevDax {
        &self.c
    }

    /// The pointer by which C knows the device.
    pub(crate) fn as_dev_dax(&self) -> *mut bindings::dev_dax {
        self.c.as_ptr()
    }

    /// The device for a C pointer.
    ///
    /// # Safety
    ///
    /// `dev_dax` came from [`DaxObject::as_dev_dax`] of the same `T`, and the device lives
    /// for `'a`.
    pub(crate) unsafe fn from_raw<'a>(dev_dax: *mut bindings::dev_dax) -> &'a Self {
        // SAFETY: By the contract `dev_dax` points to the first field of a `Self` that
        // lives for `'a`.
        unsafe { &*dev_dax.cast_const().cast::<Self>() }
    }
}

/// The fields of a new `struct dev_dax`, all but the ranges and the alignment.
pub(crate) struct Identity {
    /// The region, as `struct dax_region`.
    pub(crate) region: Arc<CRegion>,
    /// Y of daxX.Y.
    pub(crate) id: i32,
    /// Whether the region chose the id.
    pub(crate) dynamic: bool,
    /// NUMA node that kmem adds the memory to; negative for none.
    pub(crate) target_node: i32,
    /// Whether kmem places the memmap in the memory itself.
    pub(crate) memmap_on_memory: bool,
    /// The page map that the owner of a static region supplies.
    pub(crate) template: Option<PgmapTemplate>,
}

impl RawDevDax {
    /// Initialises a `struct dev_dax` without ranges. Its `struct device` is zeroed.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    fn new(identity: Identity) -> impl PinInit<Self, Error> {
        let Identity {
            region,
            id,
            dynamic,
            target_node,
            memmap_on_memory,
            template,
        } = identity;
        try_pin_init!(&this in Self {
            // CAST: A `Self` begins with its `struct dev_dax`.
            dax: DaxDevice::new(this.cast())?,
            template,
            region,
            raw <- {
                let dax = dax.as_ptr();
                let region = region.as_ptr();
                let pgmap = template.as_ref().map_or(core::ptr::null_mut(), PgmapTemplate::as_ptr);
                Opaque::ffi_init(move |raw: *mut bindings::dev_dax| {
                    // SAFETY: `raw` is valid for writes and ours to initialise. All zeroes
                    // is a valid `struct dev_dax`.
                    unsafe {
                        raw.write_bytes(0, 1);
                        (*raw).region = region;
                        (*raw).dax_dev = dax;
                        (*raw).id = id;
                        (*raw).dyn_id = dynamic;
                        (*raw).target_node = target_node;
                        (*raw).memmap_on_memory = memmap_on_memory;
                        // fsdev reads this.
                        (*raw).pgmap = pgmap;
                    }
                })
            },
            frozen: Atomic::new(false),
        }? Error)
    }

    /// The C pointer.
    pub(super) fn as_ptr(&self) -> *mut bindings::dev_dax {
        self.raw.get()
    }

    /// The dax device of super.c.
    pub(crate) fn dax(&self) -> &DaxDevice {
        &self.dax
    }

    /// The page map that the owner of a static region supplied.
    pub(crate) fn template(&self) -> Option<&PgmapTemplate> {
        self.template.as_ref()
    }

    /// Whether the struct pages are in memory that the owner of a static region supplied.
    pub(crate) fn has_altmap(&self) -> bool {
        self.template().is_some_and(PgmapTemplate::has_altmap)
    }

    /// Whether the ranges must not change while a driver is bound.
    pub(super) fn is_frozen(&self) -> bool {
        self.frozen.load(Relaxed)
    }

    /// Whether kmem places the memmap in the memory itself.
    pub(crate) fn memmap_on_memory(&self) -> bool {
        // SAFETY: The pointer is valid. A race with the writer yields the old or the new
        // value.
        unsafe { core::ptr::read_volatile(&raw const (*self.as_ptr()).memmap_on_memory) }
    }

    /// Sets [`RawDevDax::memmap_on_memory`]. kmem reads the value in its probe.
    pub(crate) fn set_memmap_on_memory(&self, on: bool) {
        // SAFETY: The pointer is valid. A racing reader gets the old or the new value.
        unsafe { core::ptr::write_volatile(&raw mut (*self.as_ptr()).memmap_on_memory, on) };
    }

    /// Clears the page map pointer of a dynamic device: the page map is the driver's, and is
    /// freed with it.
    ///
    /// # Safety
    ///
    /// A driver that is being unbound from the device calls this, or nobody uses the field.
    pub(crate) unsafe fn clear_pagemap(&self) {
        if self.template.is_none() {
            // SAFETY: The pointer is valid. By the contract nobody else uses the field.
            unsafe { (*self.as_ptr()).pgmap = core::ptr::null_mut() };
        }
    }

    /// The ranges, as C sees them.
    ///
    /// # Safety
    ///
    /// `raw` points to a valid [`RawDevDax`]. A driver is bound to it for `'a`, so the
    /// ranges do not change.
    pub(crate) unsafe fn entries<'a>(raw: *const bindings::dev_dax) -> &'a [DevDaxRange] {
        // SAFETY: By the contract `raw` is valid and nobody writes these fields.
        let (ranges, count) = unsafe { ((*raw).ranges, (*raw).nr_range) };
        if ranges.is_null() {
            return &[];
        }
        // SAFETY: `Ranges::show` stored the address and the number of the entries, whose
        // layout is asserted above. By the contract they neither move nor change for `'a`.
        // CAST: `Ranges::show` stores no negative number.
        unsafe { core::slice::from_raw_parts(ranges.cast_const().cast(), count as usize) }
    }
}

/// The ranges of a device and their alignment, and the fields that show both to C.
///
/// # Invariants
///
/// C sees the current entries of `layout` at their current address, or no ranges.
pub(crate) struct Ranges<T: Object + AsRef<RawDevDax>> {
    device: ARef<T>,
    layout: Layout,
    align: Align,
}

impl<T: Object + AsRef<RawDevDax>> Ranges<T> {
    /// Makes an empty list of ranges with the given alignment, the only one that there is
    /// for the device.
    fn new(device: ARef<T>, align: Align) -> Self {
        // INVARIANT: There are no ranges, and `show` shows C none.
        let this = Self {
            device,
            layout: Layout::new(),
            align,
        };
        this.show();
        this
    }

    /// The device that has the ranges.
    pub(crate) fn device(&self) -> &ARef<T> {
        &self.device
    }

    /// The ranges in page-offset order.
    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Copies the ranges and their alignment. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn snapshot(&self) -> Result<Snapshot<T>> {
        let mut entries = KVVec::new();
        entries.extend_from_slice(self.layout.entries(), GFP_KERNEL)?;
        Ok(Snapshot {
            device: self.device.clone(),
            entries,
            align: self.align,
        })
    }

    /// The alignment of the device. Start, length and page offset of each range are multiples
    /// of it. C: `dev_dax.align`.
    pub(crate) fn align(&self) -> Align {
        self.align
    }

    /// Shows the ranges and the alignment to C. Callers make sure that no driver reads the
    /// fields.
    fn show(&self) {
        let entries = self.layout.entries();
        let raw = self.c().as_ptr();
        let count = i32::try_from(entries.len());
        let ranges = if entries.is_empty() || warn_on!(count.is_err()) {
            core::ptr::null_mut()
        } else {
            // CAST: `DevDaxRange` has the layout of `struct dev_dax_range`, as asserted
            // above.
            entries.as_ptr().cast_mut().cast()
        };
        // SAFETY: The pointer is valid. No driver reads the fields: `thaw` was called, or
        // the device is new, and `freeze` needs `&mut self`.
        unsafe {
            (*raw).nr_range = count.unwrap_or(0);
            (*raw).ranges = ranges;
            (*raw).align = u32::try_from(self.align.bytes()).unwrap_or(0);
        }
    }

    /// Shows no ranges to C. Callers make sure that no driver reads the fields.
    fn hide(&self) {
        let raw = self.c().as_ptr();
        // SAFETY: The pointer is valid. `thaw` was called, so no driver reads the fields.
        unsafe {
            (*raw).nr_range = 0;
            (*raw).ranges = core::ptr::null_mut();
        }
    }

    fn c(&self) -> &RawDevDax {
        (*self.device).as_ref()
    }

    /// Freezes the ranges, because a driver is about to be probed: they must not change
    /// until the driver core has cleared `dev->driver`. The caller holds the region lock.
    pub(crate) fn freeze(&mut self) {
        self.c().frozen.store(true, Relaxed);
    }

    /// Allows a change of the ranges, unless a driver may read them.
    ///
    /// # Errors
    ///
    /// `EBUSY` if a driver may read them.
    fn thaw(&mut self) -> Result {
        // A driver that comes after this check calls `freeze` before it reads the ranges, and
        // `freeze` waits until the caller releases `self`.
        if self.c().is_frozen() && has_driver(&*self.device) {
            return Err(EBUSY);
        }
        self.c().frozen.store(false, Relaxed);
        Ok(())
    }

    /// Gives access to the ranges for a change, and hides them from C meanwhile.
    ///
    /// # Errors
    ///
    /// `EBUSY` while a driver may read them.
    pub(crate) fn edit(&mut self) -> Result<Edit<'_, T>> {
        self.thaw()?;
        // INVARIANT: C sees no ranges until `Edit` is dropped. If the caller leaks it, C goes on
        // to see none, instead of stale ones.
        self.hide();
        Ok(Edit(self))
    }

    /// Changes the alignment. The caller has checked that the ranges have it.
    ///
    /// # Errors
    ///
    /// `EBUSY` while a driver may read it.
    pub(crate) fn set_align(&mut self, align: Align) -> Result {
        self.thaw()?;
        self.align = align;
        // The ranges are shown together with the alignment.
        self.show();
        Ok(())
    }
}

impl<T: Object + AsRef<RawDevDax>> Drop for Ranges<T> {
    /// Hides the ranges from C. A driver that still reads them is a bug: warn, and leak
    /// their memory.
    fn drop(&mut self) {
        let layout = core::mem::replace(&mut self.layout, Layout::new());
        if warn_on!(self.thaw().is_err()) {
            core::mem::forget(layout);
            return;
        }
        self.hide();
    }
}

/// The ranges that a device had, and their alignment.
pub(crate) struct Snapshot<T: Object> {
    pub(super) device: ARef<T>,
    pub(super) entries: KVVec<DevDaxRange>,
    pub(super) align: Align,
}

impl<T: Object> Snapshot<T> {
    /// The ranges in page-offset order, as C sees them.
    pub(crate) fn entries(&self) -> &[DevDaxRange] {
        &self.entries
    }

    /// The alignment of the device.
    pub(crate) fn align(&self) -> Align {
        self.align
    }
}

/// The ranges of a device during a change. Dropping this shows the result to C.
pub(crate) struct Edit<'a, T: Object + AsRef<RawDevDax>>(&'a mut Ranges<T>);

impl<T: Object + AsRef<RawDevDax>> core::ops::Deref for Edit<'_, T> {
    type Target = Layout;

    fn deref(&self) -> &Layout {
        &self.0.layout
    }
}

impl<T: Object + AsRef<RawDevDax>> core::ops::DerefMut for Edit<'_, T> {
    fn deref_mut(&mut self) -> &mut Layout {
        &mut self.0.layout
    }
}

impl<T: Object + AsRef<RawDevDax>> Drop for Edit<'_, T> {
    fn drop(&mut self) {
        // INVARIANT: The entries may have moved; this shows C their current address.
        self.0.show();
    }
}

/// The `struct dax_region` that C reads; only the fields set here have a value.
#[repr(transparent)]
pub(crate) struct CRegion(Opaque<bindings::dax_region>);

// SAFETY: Not written after construction.
unsafe impl Send for CRegion {}
// SAFETY: As above.
unsafe impl Sync for CRegion {}

impl CRegion {
    /// Makes the `struct dax_region`. nfit_test reads `align`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(id: i32, target_node: i32, align: Align) -> Result<Arc<Self>> {
        // SAFETY: All zeroes is a valid `struct dax_region`.
        let mut raw: bindings::dax_region = unsafe { core::mem::zeroed() };
        raw.id = id;
        raw.target_node = target_node;
        raw.align = u32::try_from(align.bytes()).unwrap_or(0);
        Ok(Arc::new(Self(Opaque::new(raw)), GFP_KERNEL)?)
    }

    /// The pointer that a `struct dev_dax` keeps.
    fn as_ptr(&self) -> *mut bindings::dax_region {
        self.0.get()
    }
}
