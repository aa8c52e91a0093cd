// SPDX-License-Identifier: GPL-2.0

//! Devices: daxX.Y, made of ranges of a region.
//!
//! C: `struct dev_dax` and what bus.c does with it.
//!
//! A change of a device's ranges is planned on what is there, then everything
//! it needs is allocated, then it is applied; it completes or changes nothing.
//! Writers of one device exclude each other by its edit lock, which is the one
//! lock that is held while `mappingN` children come and go: their attributes
//! take no lock, nothing probes them, so nothing that waits for them waits for
//! the edit lock.

#![forbid(unsafe_code)]

use kernel::new_mutex;
use kernel::prelude::*;
use kernel::rbtree::RBTreeNodeReservation;
use kernel::sync::lock::mutex::MutexBackend;
use kernel::sync::lock::Guard;
use kernel::sync::{Arc, Mutex};

use crate::chardev::Binding;
use crate::layout::{Entry, Layout};
use crate::mapping::Mapping;
use crate::range::{Align, PgOff, PhysRange};
use crate::region::Region;
use crate::space::{Plan, PlanError, Space};
use crate::sys::bus::{Driver, DriverType};
use crate::sys::dax_core::DaxDevice;
use crate::sys::dev_dax::{CDevDax, Identity};
use crate::sys::device::{Ref, Registered};
use crate::sys::pagemap::{self, Template};

/// The `mappingN` children, in page-offset order, as the edit lock guards them.
pub(crate) type Mappings = KVVec<Registered<Mapping>>;

/// A device. What changes of it is in its region's
/// [`Record`](crate::region::Record).
#[pin_data]
#[repr(C)]
pub(crate) struct DevDax {
    /// What C sees; first, so that the addresses are the same.
    #[pin]
    c: CDevDax,
    id: i32,
    dax: DaxDevice,
    template: Option<Template>,
    #[pin]
    mappings: Mutex<Mappings>,
    /// The binding of the device_dax driver, if it is bound.
    #[pin]
    binding: Mutex<Option<Arc<Binding>>>,
    region: Arc<Region>,
}

/// What a device is made from. C: `struct dev_dax_data`.
pub(crate) struct Spec {
    /// Bytes from the region's start, 0 for none.
    pub(crate) size: u64,
    /// Y of daxX.Y in a static region; `None` lets a dynamic one choose.
    pub(crate) id: Option<i32>,
    /// Whether kmem is to put the memmap into the memory itself.
    pub(crate) memmap_on_memory: bool,
    /// The page map that the owner of a static region brings along.
    pub(crate) template: Option<Template>,
}

impl Spec {
    /// An empty device, as the user creates it.
    pub(crate) fn empty() -> Self {
        Self {
            size: 0,
            id: None,
            memmap_on_memory: false,
            template: None,
        }
    }
}

/// What length and place of a range must be multiples of: the device's
/// alignment, or what struct pages can be made for. C: `alloc_is_aligned()`.
fn granule(align: Align) -> Align {
    Align::new(pagemap::compat_align()).map_or(align, |compat| align.max(compat))
}

impl DevDax {
    /// Creates and registers a device; drivers may be bound to it before this
    /// returns. Sleeps; no lock is held. C: `__devm_create_dev_dax()`.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the id does not go with the region's kind or the size is
    /// misaligned, `EBUSY` if the memory is taken, `ENXIO` if the region is
    /// going away, `ENOMEM`, and what `device_add()` fails with.
    pub(crate) fn create(region: &Arc<Region>, spec: Spec) -> Result<Ref<Self>> {
        let id = match (region.is_static(), spec.id) {
            (true, Some(id)) => id,
            (false, None) => region.ids().alloc()?,
            _ => {
                dev_err!(
                    region.parent(),
                    "id does not go with the kind of dax region\n"
                );
                return Err(EINVAL);
            }
        };
        let added = Self::add(region, id, spec).inspect_err(|_| {
            if !region.is_static() {
                region.ids().free(id);
            }
        });
        let device = added?;
        if let Err(e) = Self::publish(region, &device) {
            // From here on the region knows the device, and its id.
            let record = region.lock().remove(id);
            if let Some(record) = record {
                region.retire(id, record);
            }
            return Err(e);
        }
        Ok(device)
    }

    /// Makes a device, not registered yet, and adds it to the region.
    fn add(region: &Arc<Region>, id: i32, spec: Spec) -> Result<Ref<Self>> {
        let node = RBTreeNodeReservation::new(GFP_KERNEL)?;
        let size = spec.size;
        let identity = Identity {
            region: region.c(),
            id,
            dynamic: !region.is_static(),
            target_node: region.target_node(),
        };
        let device = Ref::new(Self::new(region.clone(), id, spec.template))?;
        device.set_name(fmt!("dax{}.{}", region.id(), id))?;
        device.c.set_identity(&identity, &device.dax);
        device.c.set_memmap_on_memory(spec.memmap_on_memory);
        if let Some(template) = &device.template {
            device.c.set_template(template);
        }
        device.dax.init_mapping();
        device.set_bus(&crate::bus::BUS, device.dax.devt());

        let initial = match size {
            0 => None,
            _ => Some(PhysRange::with_size(region.span().start(), size).ok_or(EINVAL)?),
        };
        let align = region.align();
        device.c.set_align(align);
        let mut state = region.lock();
        device.c.set_layout(state.insert(id, initial, align, node)?);
        drop(state);
        Ok(device)
    }

    /// Registers a device that the region knows, then its first mapping.
    fn publish(region: &Region, device: &Ref<Self>) -> Result {
        let registered = device.clone().register(region.parent())?;
        let unplaced = region.lock().set_registered(device.id, registered);
        if unplaced.is_some() {
            return Err(ENXIO);
        }
        device.fill_mappings(&mut device.edit())
    }

    fn new(region: Arc<Region>, id: i32, template: Option<Template>) -> impl PinInit<Self, Error> {
        try_pin_init!(&this in Self {
            c <- CDevDax::new(),
            id,
            dax: DaxDevice::new::<Self>(this)?,
            template,
            mappings <- new_mutex!(KVVec::new(), "dev_dax::mappings"),
            binding <- new_mutex!(None, "dev_dax::binding"),
            region,
        }? Error)
    }

    /// Y of daxX.Y.
    pub(crate) fn id(&self) -> i32 {
        self.id
    }

    /// The region.
    pub(crate) fn region(&self) -> &Region {
        &self.region
    }

    /// What C sees.
    pub(crate) fn c(&self) -> &CDevDax {
        &self.c
    }

    /// Liveness and the address space of its mappings.
    pub(crate) fn dax(&self) -> &DaxDevice {
        &self.dax
    }

    /// The page map of a static region's owner.
    pub(crate) fn template(&self) -> Option<&Template> {
        self.template.as_ref()
    }

    /// The binding of the device_dax driver, for files that are opened.
    pub(crate) fn binding(&self) -> Option<Arc<Binding>> {
        self.binding.lock().clone()
    }

    /// Sets what [`DevDax::binding`] returns.
    pub(crate) fn set_binding(&self, binding: Option<Arc<Binding>>) {
        let old = core::mem::replace(&mut *self.binding.lock(), binding);
        drop(old);
    }

    /// Excludes other writers of the device's ranges. May sleep for as long as
    /// it takes to register mappings. C: `dax_region_rwsem`, for all devices.
    pub(crate) fn edit(&self) -> Guard<'_, Mappings, MutexBackend> {
        self.mappings.lock()
    }

    /// Bytes. C: `dev_dax_size()`.
    ///
    /// # Errors
    ///
    /// `ENXIO` if the device is gone.
    pub(crate) fn size(&self) -> Result<u64> {
        Ok(self.region.lock().record(self)?.layout.size())
    }

    /// The alignment of its ranges and of mappings of it.
    ///
    /// # Errors
    ///
    /// `ENXIO` if the device is gone.
    pub(crate) fn align(&self) -> Result<Align> {
        Ok(self.region.lock().record(self)?.align)
    }

    /// Where its first page is, or would be.
    ///
    /// # Errors
    ///
    /// `ENXIO` if the device is gone.
    pub(crate) fn resource(&self) -> Result<u64> {
        let mut state = self.region.lock();
        let first = state.record(self)?.layout.first();
        Ok(first.map_or(self.region.span().start(), |range| range.start()))
    }

    /// A copy of its ranges and their alignment, for a driver that is probed.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, `ENXIO` if the device is gone.
    pub(crate) fn snapshot(&self) -> Result<(KVVec<Entry>, Align)> {
        let mut entries = KVVec::new();
        let mut state = self.region.lock();
        let record = state.record(self)?;
        entries.extend_from_slice(record.layout.entries(), GFP_KERNEL)?;
        Ok((entries, record.align))
    }

    /// Grows or shrinks the device. Sleeps. C: `dev_dax_resize()`.
    ///
    /// # Errors
    ///
    /// `EINVAL` if misaligned, `ENXIO` if the device is gone or going, `EBUSY` if
    /// a driver is bound, `ENOSPC` if the region has not enough room, `ENOMEM`;
    /// nothing is changed then.
    pub(crate) fn set_size(&self, size: u64) -> Result {
        self.change(
            |granule| granule.is_aligned(size),
            |space, layout, granule| space.plan_resize(layout, size, granule),
        )
    }

    /// Appends `range`. Sleeps. C: `mapping_store()`.
    ///
    /// # Errors
    ///
    /// `EINVAL` if misaligned, `ENXIO` if the device is gone or going, `EBUSY` if
    /// a driver is bound or a part is taken, `ERANGE` if it is not within the
    /// region, `ENOMEM`; nothing is changed then.
    pub(crate) fn add_range(&self, range: PhysRange) -> Result {
        self.change(
            |granule| range.is_aligned(granule),
            |space, layout, granule| space.plan_at(layout, range, granule),
        )
    }

    /// Changes the alignment. C: `align_store()`.
    ///
    /// # Errors
    ///
    /// `ENXIO` if the device is gone or going, `EBUSY` if a driver is bound,
    /// `EINVAL` if a range does not have that alignment.
    pub(crate) fn set_align(&self, align: Align) -> Result {
        let _edit = self.edit();
        let mut state = self.region.lock();
        let (_, record) = state.editable(self)?;
        if !record.layout.is_aligned(granule(align)) {
            return Err(EINVAL);
        }
        record.align = align;
        self.c.set_align(align);
        Ok(())
    }

    /// Whether kmem is to put the memmap into the memory itself. C:
    /// `memmap_on_memory_store()`.
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP` if it cannot, `ENXIO` if the device is gone, `EBUSY` if kmem
    /// is bound.
    pub(crate) fn set_memmap_on_memory(&self, on: bool) -> Result {
        if on {
            pagemap::check_memmap_on_memory()?;
        }
        let mut state = self.region.lock();
        let record = state.record(self)?;
        if on != self.c.memmap_on_memory() {
            if record.driver == Some(DriverType::Kmem) {
                return Err(EBUSY);
            }
            self.c.set_memmap_on_memory(on);
        }
        Ok(())
    }

    /// Plans a change of the ranges and carries it out.
    fn change(
        &self,
        is_aligned: impl FnOnce(Align) -> bool,
        plan: impl FnOnce(&Space, &Layout, Align) -> Result<Plan, PlanError>,
    ) -> Result {
        let mut mappings = self.edit();
        self.fill_mappings(&mut mappings)?;

        let (plan, next) = {
            let mut state = self.region.lock();
            let granule = granule(state.record(self)?.align);
            if !is_aligned(granule) {
                return Err(EINVAL);
            }
            let (space, record) = state.editable(self)?;
            let mut plan = plan(space, &record.layout, granule)?;
            if plan.is_empty() {
                return Ok(());
            }
            let prepared = plan.prepare(&mut record.layout);
            // The entries may have moved.
            self.c.set_layout(&record.layout);
            prepared?;
            space.reserve(&mut plan);
            if plan.added().is_empty() {
                let last = plan.last_range();
                plan.apply(space, &mut record.layout);
                self.c.set_layout(&record.layout);
                let count = record.layout.len();
                drop(state);
                Self::trim(&mut mappings, count, last);
                return Ok(());
            }
            let next = plan.first_added_pgoff(&record.layout);
            (plan, next)
        };

        // The space is ours; now the mappings, which no lock but ours may be
        // held for.
        let mut added = match self.register_mappings(&mut mappings, &plan, next) {
            Ok(added) => added,
            Err(e) => {
                self.region.lock().space().cancel(plan);
                return Err(e);
            }
        };
        let mut state = self.region.lock();
        // A driver that was bound meanwhile waits in `begin_bind()` for us.
        let (space, record) = match state.parts(self) {
            Ok(parts) => parts,
            Err(e) => {
                state.space().cancel(plan);
                drop(state);
                return Err(e);
            }
        };
        let last = plan.last_range();
        let kept = record.layout.len();
        plan.apply(space, &mut record.layout);
        self.c.set_layout(&record.layout);
        drop(state);
        Self::trim(&mut mappings, kept, last);
        for mapping in added.drain_all() {
            // The capacity was reserved together with the mappings.
            let _ = mappings.push(mapping, GFP_KERNEL);
        }
        Ok(())
    }

    /// Registers mappings for the ranges that `plan` adds from page `next` on.
    fn register_mappings(
        &self,
        mappings: &mut Mappings,
        plan: &Plan,
        mut next: PgOff,
    ) -> Result<Mappings> {
        let this = Ref::of(self);
        let ranges = plan.added();
        mappings.reserve(ranges.len(), GFP_KERNEL)?;
        let mut added = KVVec::with_capacity(ranges.len(), GFP_KERNEL)?;
        for (index, range) in (mappings.len()..).zip(ranges) {
            added.push(Mapping::register(&this, index, *range, next)?, GFP_KERNEL)?;
            next = next.after(range).ok_or(EOVERFLOW)?;
        }
        Ok(added)
    }

    /// Leaves `count` mappings, the last of which ends where `last` does.
    fn trim(mappings: &mut Mappings, count: usize, last: Option<PhysRange>) {
        while mappings.len() > count {
            drop(mappings.pop());
        }
        if let (Some(mapping), Some(range)) = (mappings.last(), last) {
            mapping.object().set_end(range);
        }
    }

    /// Registers the mappings that a new device's ranges do not have yet.
    fn fill_mappings(&self, mappings: &mut Mappings) -> Result {
        loop {
            let index = mappings.len();
            let entry = match self.region.lock().record(self)?.layout.entries().get(index) {
                Some(entry) => *entry,
                None => return Ok(()),
            };
            let range = entry.range().ok_or(EINVAL)?;
            mappings.reserve(1, GFP_KERNEL)?;
            let mapping = Mapping::register(&Ref::of(self), index, range, entry.pgoff())?;
            mappings.push(mapping, GFP_KERNEL)?;
        }
    }

    /// Unregisters all mappings: the device is going.
    pub(crate) fn drop_mappings(&self) {
        let mappings = core::mem::replace(&mut *self.edit(), KVVec::new());
        // Newest first, as C does it.
        let mut mappings = mappings;
        while let Some(mapping) = mappings.pop() {
            drop(mapping);
        }
    }

    /// The ranges are about to be freed: shows none to C.
    pub(crate) fn hide_layout(&self) {
        self.c.set_layout(&Layout::new());
    }

    /// A driver is about to be probed. The core has set `dev->driver`, so every
    /// writer that takes the edit lock after us sees it; those before us are
    /// done when we get it. From here the ranges stay as they are.
    ///
    /// # Errors
    ///
    /// `ENXIO` if there is nothing to bind to.
    pub(crate) fn begin_bind(&self, driver: &Driver) -> Result {
        let _edit = self.edit();
        let mut state = self.region.lock();
        let record = state.record(self)?;
        if record.layout.size() == 0 {
            return Err(ENXIO);
        }
        record.driver = Some(driver.kind());
        Ok(())
    }

    /// The probe ended well.
    pub(crate) fn bound(&self) {
        if !self.region.is_static() {
            self.region.lock().sprout(self.id);
        }
    }

    /// The probe failed, or the driver is being unbound.
    pub(crate) fn unbound(&self) {
        if let Ok(record) = self.region.lock().record(self) {
            record.driver = None;
        }
    }

    /// Ends all access through files of the device: no mapping is left, and no
    /// new one can be made. Sleeps. C: `kill_dev_dax()`.
    pub(crate) fn kill(&self) {
        self.dax.kill();
        self.dax.unmap_all();
        if !self.region.is_static() {
            self.c.clear_pagemap();
        }
    }
}
