// SPDX-License-Identifier: GPL-2.0

//! `struct dev_dax`: what kmem, fsdev and nfit_test read of a device.
//!
//! C reads the ranges without a lock, while a driver is bound. [`Ranges`] owns them,
//! with what C sees of them, and lets nobody change them while C may be reading.

use core::{
    mem::{
        offset_of,
        size_of, //
    },
    ops::Deref, //
};

use kernel::{
    bindings,
    prelude::*,
    sync::{
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
        has_driver,
        Object,
        Ref, //
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

// What C reads must be where C looks for it.
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

/// `struct dev_dax`, at the start of a device, and all that it points to but the
/// ranges.
#[pin_data]
#[repr(C)]
pub(crate) struct RawDevDax {
    #[pin]
    raw: Opaque<bindings::dev_dax>,
    /// `raw.dax_dev`.
    dax: DaxDevice,
    /// `raw.pgmap`, in a static region.
    template: Option<PgmapTemplate>,
    /// `raw.region`.
    region: Arc<CRegion>,
    /// A driver was probed since the ranges were changed last.
    pinned: Atomic<bool>,
}

// SAFETY: See the module's description for who writes and reads when; the
// embedded `struct device` is the driver core's.
unsafe impl Send for RawDevDax {}
// SAFETY: As above.
unsafe impl Sync for RawDevDax {}

/// A device of the dax bus: what C sees of it, and a `T`.
#[pin_data]
#[repr(C)]
pub(crate) struct DaxObject<T> {
    /// First, so that the addresses are the same.
    #[pin]
    c: RawDevDax,
    #[pin]
    data: T,
}

// SAFETY: It begins with its zeroed `struct dev_dax`, which has the device at that offset,
// and is made by `make` alone.
unsafe impl<T: 'static> Object for DaxObject<T> {
    const OFFSET: usize = offset_of!(bindings::dev_dax, dev);
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

impl<T: 'static> DaxObject<T> {
    /// Makes a device without ranges. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, or what `data` fails with.
    pub(crate) fn make(
        identity: Identity,
        data: impl PinInit<T, Error>,
    ) -> Result<Unregistered<Self>>
    where
        Self: Typed,
    {
        Unregistered::new(try_pin_init!(Self {
            c <- RawDevDax::new(identity),
            data <- data,
        }? Error))
    }

    /// What C sees.
    pub(crate) fn c(&self) -> &RawDevDax {
        &self.c
    }

    /// The pointer that C knows the device by.
    pub(crate) fn as_dev_dax(&self) -> *mut bindings::dev_dax {
        self.c.as_ptr()
    }

    /// The device behind a C pointer.
    ///
    /// # Safety
    ///
    /// `dev_dax` is of a `DaxObject<T>` that lives for `'a`.
    pub(crate) unsafe fn from_raw<'a>(dev_dax: *mut bindings::dev_dax) -> &'a Self {
        // SAFETY: The device begins with what C sees; see the contract.
        unsafe { &*dev_dax.cast_const().cast::<Self>() }
    }
}

/// What never changes in a `struct dev_dax`.
pub(crate) struct Identity {
    /// The region, as `struct dax_region`.
    pub(crate) region: Arc<CRegion>,
    /// Instance id, Y of daxX.Y.
    pub(crate) id: i32,
    /// Whether the region chose the id.
    pub(crate) dynamic: bool,
    /// Where kmem puts the memory, -1 for nowhere.
    pub(crate) target_node: i32,
    /// Whether kmem is to put the memmap into the memory itself.
    pub(crate) memmap_on_memory: bool,
    /// The page map that the owner of a static region brings along.
    pub(crate) template: Option<PgmapTemplate>,
}

impl RawDevDax {
    /// A `struct dev_dax` without ranges. Its `struct device` is zeroed.
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
            // CAST: It begins with its `struct dev_dax`.
            dax: DaxDevice::new(this.cast())?,
            template,
            region,
            raw <- {
                let dax = dax.as_ptr();
                let region = region.as_ptr();
                let pgmap = template.as_ref().map_or(core::ptr::null_mut(), PgmapTemplate::as_ptr);
                Opaque::ffi_init(move |raw: *mut bindings::dev_dax| {
                    // SAFETY: `raw` is ours to initialise, and zeroes are valid.
                    unsafe {
                        raw.write_bytes(0, 1);
                        (*raw).region = region;
                        (*raw).dax_dev = dax;
                        (*raw).id = id;
                        (*raw).dyn_id = dynamic;
                        (*raw).target_node = target_node;
                        (*raw).memmap_on_memory = memmap_on_memory;
                        // Where fsdev looks for it.
                        (*raw).pgmap = pgmap;
                    }
                })
            },
            pinned: Atomic::new(false),
        }? Error)
    }

    /// The C pointer.
    pub(super) fn as_ptr(&self) -> *mut bindings::dev_dax {
        self.raw.get()
    }

    /// Liveness and the address space of the device's mappings.
    pub(crate) fn dax(&self) -> &DaxDevice {
        &self.dax
    }

    /// The page map of a static region's owner.
    pub(crate) fn template(&self) -> Option<&PgmapTemplate> {
        self.template.as_ref()
    }

    /// Whether the ranges stay as they are for as long as a driver is there.
    pub(super) fn is_pinned(&self) -> bool {
        self.pinned.load(Relaxed)
    }

    /// Whether kmem is to put the memmap into the memory itself.
    pub(crate) fn memmap_on_memory(&self) -> bool {
        // SAFETY: The device is alive; a racing write is one of two answers.
        unsafe { core::ptr::read_volatile(&raw const (*self.as_ptr()).memmap_on_memory) }
    }

    /// Sets [`RawDevDax::memmap_on_memory`], which kmem reads when it is probed.
    pub(crate) fn set_memmap_on_memory(&self, on: bool) {
        // SAFETY: The device is alive; a racing read is one of two answers.
        unsafe { core::ptr::write_volatile(&raw mut (*self.as_ptr()).memmap_on_memory, on) };
    }

    /// A dynamic device's page map belongs to the driver that made it, and goes
    /// with it: forget it. That driver calls this while it is being unbound.
    pub(crate) fn clear_pagemap(&self) {
        if self.template.is_none() {
            // SAFETY: Only the driver that is being unbound uses it.
            unsafe { (*self.as_ptr()).pgmap = core::ptr::null_mut() };
        }
    }

    /// The ranges that C sees.
    ///
    /// # Safety
    ///
    /// `raw` is of a [`RawDevDax`], and a driver is bound for `'a`, so that they do
    /// not change.
    pub(crate) unsafe fn entries<'a>(raw: *const bindings::dev_dax) -> &'a [DevDaxRange] {
        // SAFETY: By the contract nobody writes them.
        let (ranges, count) = unsafe { ((*raw).ranges, (*raw).nr_range) };
        if ranges.is_null() {
            return &[];
        }
        // SAFETY: `Ranges::show` showed that many entries, whose layout is
        // asserted above; they stay where they are by the contract.
        // CAST: `Ranges::show` shows no negative number.
        unsafe { core::slice::from_raw_parts(ranges.cast_const().cast(), count as usize) }
    }
}

/// The ranges of a device and their alignment, and what C sees of them.
///
/// # Invariants
///
/// C sees the entries of `layout`, where they are, or none.
pub(crate) struct Ranges<T: Object + AsRef<RawDevDax>> {
    device: Ref<T>,
    layout: Layout,
    align: Align,
}

impl<T: Object + AsRef<RawDevDax>> Ranges<T> {
    /// No ranges, to be multiples of `align`.
    pub(crate) fn new(device: Ref<T>, align: Align) -> Self {
        let this = Self {
            device,
            layout: Layout::new(),
            align,
        };
        // INVARIANT: C sees none.
        this.show();
        this
    }

    /// The device.
    pub(crate) fn device(&self) -> &Ref<T> {
        &self.device
    }

    /// The ranges.
    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Start, length and page offset of each range are multiples of it.
    pub(crate) fn align(&self) -> Align {
        self.align
    }

    /// Shows C what there is. Nobody reads it while no driver is there.
    fn show(&self) {
        let entries = self.layout.entries();
        let raw = self.c().as_ptr();
        let count = i32::try_from(entries.len());
        let ranges = if entries.is_empty() || warn_on!(count.is_err()) {
            core::ptr::null_mut()
        } else {
            // CAST: `DevDaxRange` has the layout of `struct dev_dax_range`, see above.
            entries.as_ptr().cast_mut().cast()
        };
        // SAFETY: The callers made sure that no driver reads these.
        unsafe {
            (*raw).nr_range = count.unwrap_or(0);
            (*raw).ranges = ranges;
            (*raw).align = u32::try_from(self.align.bytes()).unwrap_or(0);
        }
    }

    /// Shows C no ranges. Nobody reads them while no driver is there.
    fn hide(&self) {
        let raw = self.c().as_ptr();
        // SAFETY: The callers made sure that no driver reads these.
        unsafe {
            (*raw).nr_range = 0;
            (*raw).ranges = core::ptr::null_mut();
        }
    }

    fn c(&self) -> &RawDevDax {
        (*self.device).as_ref()
    }

    /// A driver is about to be probed: from now on the ranges stay as they are,
    /// until the driver core says that no driver is there.
    pub(crate) fn pin(&mut self) {
        self.c().pinned.store(true, Relaxed);
    }

    /// Makes sure that no driver reads the ranges.
    fn unpin(&mut self) -> Result {
        // A driver that came after this look calls `pin` first, for which it has to
        // wait until the caller lets go of `self`.
        if self.c().is_pinned() && has_driver(&*self.device) {
            return Err(EBUSY);
        }
        self.c().pinned.store(false, Relaxed);
        Ok(())
    }

    /// To change the ranges.
    ///
    /// # Errors
    ///
    /// `EBUSY` while a driver may read them.
    pub(crate) fn edit(&mut self) -> Result<Edit<'_, T>> {
        self.unpin()?;
        // Should the result never be dropped, C sees no ranges.
        self.hide();
        Ok(Edit(self))
    }

    /// Changes the alignment; the ranges have it.
    ///
    /// # Errors
    ///
    /// `EBUSY` while a driver may read it.
    pub(crate) fn set_align(&mut self, align: Align) -> Result {
        self.unpin()?;
        self.align = align;
        self.show();
        Ok(())
    }
}

impl<T: Object + AsRef<RawDevDax>> Drop for Ranges<T> {
    /// C sees none any more. If a driver still may, which cannot be, the memory of
    /// the ranges is lost.
    fn drop(&mut self) {
        let layout = core::mem::replace(&mut self.layout, Layout::new());
        if warn_on!(self.unpin().is_err()) {
            core::mem::forget(layout);
            return;
        }
        self.hide();
    }
}

/// The ranges of a device, being changed; C sees what came of it when this is
/// dropped.
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
        // INVARIANT: The entries may have moved; now C sees them where they are.
        self.0.show();
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

    /// What C stores.
    fn as_ptr(&self) -> *mut bindings::dax_region {
        self.0.get()
    }
}
