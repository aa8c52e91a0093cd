// SPDX-License-Identifier: GPL-2.0

//! Devices: daxX.Y, made of ranges of a region.
//!
//! C: `struct dev_dax` and what bus.c does with it.
//!
//! A change of a device's ranges is planned on what is there, then everything
//! it needs is allocated, then it is applied; it completes or changes nothing.
//! Writers of one device exclude each other by its ranges lock, which is the one
//! lock that is held while `mappingN` children come and go: their attributes
//! take no lock, nothing probes them, so nothing that waits for them waits for
//! the ranges lock.
//!
//! `device_add()` makes a device's files before it is over, and may still fail after
//! that. A device has no children before it is registered, so nobody changes its ranges
//! before. Whoever reacts to the uevent does nothing wrong, so such a write is begun
//! again, for a while. It must not wait in the kernel: when `device_add()` fails it
//! waits for the writers.

use kernel::{
    new_mutex,
    prelude::*,
    rbtree::RBTreeNodeReservation,
    sync::{
        lock::{
            mutex::MutexBackend,
            Guard, //
        },
        Arc,
        Mutex, //
    },
    time::{
        Instant,
        Monotonic, //
    },
    warn_on, //
};

use crate::{
    driver::{
        mapping::Mapping,
        region::Region, //
    },
    ranges::{
        allocator::{
            Plan,
            PlanError,
            RangeAllocator, //
        },
        layout::{
            DevDaxRange,
            Layout, //
        },
        neighbours::Window,
        parse::DeviceName,
        range::{
            Align,
            PgOff,
            PhysRange, //
        }, //
    },
    sys::{
        dev_dax::{
            DaxObject,
            Identity,
            Ranges, //
        },
        device::{
            Registration,
            Unregistered, //
        },
        driver::DriverType,
        liveness::Liveness,
        log::{
            self,
            Change, //
        },
        object::{
            device,
            Ref, //
        },
        pagemap,
        task::restart_write,
        template::PgmapTemplate, //
    }, //
};

/// The `mappingN` children, as the ranges lock guards them.
pub(crate) struct Mappings {
    /// In page-offset order: one for each range once the device is created.
    list: KVVec<Registration<Mapping>>,
    /// Whether the device is registered, and has a mapping for each range it began
    /// with.
    created: bool,
}

/// For how long a write to a device that is not created yet is begun again.
const PATIENCE_MS: i64 = 100;

/// A device. What changes of it is in its region's
/// [`DeviceState`](crate::driver::region::DeviceState). C: `struct dev_dax`.
pub(crate) type DevDax = DaxObject<State>;

/// What a device is, but for what C sees.
#[pin_data]
pub(crate) struct State {
    id: i32,
    /// When it was made.
    born: Instant<Monotonic>,
    #[pin]
    mappings: Mutex<Mappings>,
    /// The binding of the device_dax driver, if it is bound.
    #[pin]
    binding: Mutex<Option<Arc<Binding>>>,
    region: Arc<Region>,
}

/// One binding of a device to the driver. Files that are opened while it lasts
/// refer to it for good: a later binding, of other ranges perhaps, is not theirs.
pub(crate) struct Binding {
    device: Ref<DevDax>,
    /// The size of the device's pages, in bytes.
    page_size: usize,
    /// What a fault maps around a page; `None` for the page alone.
    window: Option<Window>,
    /// Until the device is unbound.
    liveness: Arc<Liveness>,
}

impl Binding {
    /// `device` is bound as long as `life` alive, with pages of `align` bytes.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the machine has no such pages.
    pub(super) fn new(
        device: Ref<DevDax>,
        align: Align,
        window: Option<Window>,
        liveness: Arc<Liveness>,
    ) -> Result<Self> {
        Ok(Self {
            device,
            page_size: usize::try_from(align.bytes()).map_err(|_| EINVAL)?,
            window,
            liveness,
        })
    }

    /// The device.
    pub(crate) fn device(&self) -> &DevDax {
        &self.device
    }

    /// The size of the device's pages in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.page_size
    }

    /// Its order, in pages of the machine.
    pub(crate) fn order(&self) -> u32 {
        self.liveness.order()
    }

    /// What a fault maps around a page; `None` for the page alone.
    pub(crate) fn window(&self) -> Option<Window> {
        self.window
    }

    /// How long the device is bound as it was when the file was opened.
    pub(crate) fn liveness(&self) -> &Arc<Liveness> {
        &self.liveness
    }
}

/// What a device is made from. C: `struct dev_dax_data`.
pub(crate) struct DevDaxData {
    /// Bytes from the region's start, 0 for none.
    pub(crate) size: u64,
    /// Y of daxX.Y in a static region; `None` lets a dynamic one choose.
    pub(crate) id: Option<i32>,
    /// Whether kmem is to put the memmap into the memory itself.
    pub(crate) memmap_on_memory: bool,
    /// The page map that the owner of a static region brings along.
    pub(crate) template: Option<PgmapTemplate>,
}

impl DevDaxData {
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

impl State {
    fn new(region: Arc<Region>, id: i32) -> impl PinInit<Self, Error> {
        let mappings = Mappings {
            list: KVVec::new(),
            created: false,
        };
        try_pin_init!(Self {
            id,
            born: Instant::now(),
            mappings <- new_mutex!(mappings, "dev_dax::mappings"),
            binding <- new_mutex!(None, "dev_dax::binding"),
            region,
        }? Error)
    }
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
    pub(crate) fn create(region: &Arc<Region>, spec: DevDaxData) -> Result<Ref<Self>> {
        let parent = region.parent()?;
        let id = match (region.is_static(), spec.id) {
            (true, Some(id)) => id,
            (false, None) => region.ids().alloc()?,
            _ => {
                dev_err!(parent, "id does not go with the kind of dax region\n");
                return Err(EINVAL);
            }
        };
        let added = Self::add(region, id, spec).inspect_err(|_| {
            if !region.is_static() {
                region.ids().free(id);
            }
        });
        let unregistered = added?;
        let device = unregistered.object().clone();
        // From here on the region knows the device, and its id.
        let published = unregistered.register(&parent).and_then(|registered| {
            let unplaced = region.lock().set_registered(registered);
            if warn_on!(unplaced.is_some()) {
                return Err(ENXIO);
            }
            device.publish()
        });
        if let Err(e) = published {
            let record = region.lock().remove(&device);
            // Somebody may have deleted it, and then it was created.
            if let Some(record) = record {
                region.retire(record);
                return Err(e);
            }
        }
        Ok(device)
    }

    /// Makes a device, not registered yet, and adds it to the region.
    fn add(region: &Arc<Region>, id: i32, spec: DevDaxData) -> Result<Unregistered<Self>> {
        let node = RBTreeNodeReservation::new(GFP_KERNEL)?;
        let identity = Identity {
            region: region.c().clone(),
            id,
            dynamic: !region.is_static(),
            target_node: region.target_node(),
            memmap_on_memory: spec.memmap_on_memory,
            template: spec.template,
        };
        let mut device = Self::make(identity, State::new(region.clone(), id))?;
        device.set_dax_name(&DeviceName {
            region: region.id(),
            id,
        })?;
        device.set_bus();

        let initial = match spec.size {
            0 => None,
            size => Some(PhysRange::with_size(region.span().start(), size).ok_or(EINVAL)?),
        };
        let ranges = Ranges::new(device.object().clone(), region.align());
        region.lock().insert(ranges, initial, node)?;
        if let Some(range) = initial {
            log::range::<Self>(device.object(), Change::Alloc, 0, range);
        }
        Ok(device)
    }

    /// The device is registered: makes a mapping for each range that it began with.
    /// From then on the ranges can be changed.
    fn publish(&self) -> Result {
        let mut mappings = self.lock_ranges();
        let (entries, _) = self.snapshot()?;
        mappings.list.reserve(entries.len(), GFP_KERNEL)?;
        for (index, entry) in entries.iter().enumerate() {
            let range = entry.range().ok_or(EINVAL)?;
            let mapping = Mapping::register(device(self), index, range, entry.pgoff())?;
            mappings.list.push(mapping, GFP_KERNEL)?;
        }
        mappings.created = true;
        Ok(())
    }

    /// Y of daxX.Y.
    pub(crate) fn id(&self) -> i32 {
        self.id
    }

    /// The region.
    pub(crate) fn region(&self) -> &Region {
        &self.region
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
    pub(crate) fn lock_ranges(&self) -> Guard<'_, Mappings, MutexBackend> {
        self.mappings.lock()
    }

    /// The same for a writer.
    ///
    /// # Errors
    ///
    /// If the device is not created yet: for a while, what begins `write(2)` again,
    /// then `ENXIO`.
    fn write(&self) -> Result<Guard<'_, Mappings, MutexBackend>> {
        let mappings = self.lock_ranges();
        if mappings.created {
            return Ok(mappings);
        }
        drop(mappings);
        if self.born.elapsed().as_millis() < PATIENCE_MS {
            Err(restart_write())
        } else {
            Err(ENXIO)
        }
    }

    /// Bytes. C: `dev_dax_size()`.
    ///
    /// # Errors
    ///
    /// `ENXIO` if the device is gone.
    pub(crate) fn size(&self) -> Result<u64> {
        Ok(self.region.lock().record(self)?.ranges.layout().size())
    }

    /// The alignment of its ranges and of mappings of it.
    ///
    /// # Errors
    ///
    /// `ENXIO` if the device is gone.
    pub(crate) fn align(&self) -> Result<Align> {
        Ok(self.region.lock().record(self)?.ranges.align())
    }

    /// Where its first page is, or would be.
    ///
    /// # Errors
    ///
    /// `ENXIO` if the device is gone.
    pub(crate) fn resource(&self) -> Result<u64> {
        let mut state = self.region.lock();
        let first = state.record(self)?.ranges.layout().first();
        Ok(first.map_or(self.region.span().start(), |range| range.start()))
    }

    /// A copy of its ranges and their alignment, for a driver that is probed.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, `ENXIO` if the device is gone.
    pub(crate) fn snapshot(&self) -> Result<(KVVec<DevDaxRange>, Align)> {
        let mut entries = KVVec::new();
        let mut state = self.region.lock();
        let ranges = &state.record(self)?.ranges;
        entries.extend_from_slice(ranges.layout().entries(), GFP_KERNEL)?;
        Ok((entries, ranges.align()))
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
    /// `ENXIO` if the device is gone or going, `EBUSY` if a driver is bound or pages
    /// are in use, `EINVAL` if a range does not have that alignment.
    pub(crate) fn set_align(&self, align: Align) -> Result {
        let _ranges = self.write()?;
        let mut state = self.region.lock();
        let (_, record) = state.editable(self)?;
        if !record.ranges.layout().is_aligned(granule(align)) {
            log::debug(self, c"align_store: align invalid for a range");
            return Err(EINVAL);
        }
        record.ranges.set_align(align)
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
            pagemap::check_memmap_on_memory()
                .inspect_err(|_| log::debug(self, c"memmap_on_memory is not available"))?;
        }
        let mut state = self.region.lock();
        let record = state.record(self)?;
        if on != self.c().memmap_on_memory() {
            if record.driver == Some(DriverType::Kmem) {
                return Err(EBUSY);
            }
            self.c().set_memmap_on_memory(on);
        }
        Ok(())
    }

    /// Plans a change of the ranges and carries it out.
    fn change(
        &self,
        is_aligned: impl FnOnce(Align) -> bool,
        plan: impl FnOnce(&RangeAllocator, &Layout, Align) -> Result<Plan, PlanError>,
    ) -> Result {
        let mut mappings = self.write()?;
        let (plan, next) = {
            let mut state = self.region.lock();
            let granule = granule(state.record(self)?.ranges.align());
            if !is_aligned(granule) {
                log::debug(self, c"size_store: size misaligned");
                return Err(EINVAL);
            }
            let (space, record) = state.editable(self)?;
            let mut plan = plan(space, record.ranges.layout(), granule)?;
            if plan.is_empty() {
                return Ok(());
            }
            let mut layout = record.ranges.edit()?;
            plan.prepare(&mut layout)?;
            space.reserve(&mut plan);
            if plan.added().is_empty() {
                let old = layout.len();
                let last = layout.last();
                let new = plan.last_range();
                self.log_removed(&layout, plan.removed_ranges());
                plan.apply(space, &mut layout);
                let count = layout.len();
                drop(layout);
                drop(state);
                self.log_last(count, old, last, new);
                mappings.trim(count, new);
                return Ok(());
            }
            let next = plan.first_added_pgoff(&layout);
            (plan, next)
        };

        // The space is ours; now the mappings, which no lock but ours may be
        // held for.
        let old = mappings.list.len();
        let registered = self.register_mappings(&mut mappings, &plan, next);
        let applied = self.apply(&mappings, plan, registered);
        if applied.is_err() {
            mappings.trim(old, None);
        }
        applied
    }

    /// Applies a plan whose space was reserved, once mappings were `registered` for the
    /// ranges that it adds; cancels it if they were not.
    fn apply(&self, mappings: &Mappings, plan: Plan, registered: Result) -> Result {
        let mut state = self.region.lock();
        if let Err(e) = registered {
            state.space().cancel(plan);
            return Err(e);
        }
        // A driver that was bound meanwhile waits in `begin_bind()` for us.
        let (space, record) = match state.parts(self) {
            Ok(parts) => parts,
            Err(e) => {
                state.space().cancel(plan);
                return Err(e);
            }
        };
        let mut layout = match record.ranges.edit() {
            Ok(layout) => layout,
            Err(e) => {
                space.cancel(plan);
                return Err(e);
            }
        };
        let last = plan.last_range();
        let kept = layout.len();
        let before = layout.last();
        plan.apply(space, &mut layout);
        let new = layout.entries().get(kept..).unwrap_or_default();
        for (index, range) in (kept..).zip(new.iter().filter_map(DevDaxRange::range)) {
            log::range(self, Change::Alloc, index, range);
        }
        drop(layout);
        drop(state);
        self.log_last(kept, kept, before, last);
        mappings.set_end(kept, last);
        Ok(())
    }

    /// Tells that the last `count` ranges of `layout` are about to be removed, the last
    /// one first.
    pub(crate) fn log_removed(&self, layout: &Layout, count: usize) {
        let indices = (0..layout.len()).rev();
        for (index, range) in indices.zip(layout.ranges().rev()).take(count) {
            log::range(self, Change::Delete, index, range);
        }
    }

    /// Tells that range `count` - 1, which was `old` and the last one of `before`, is
    /// `new` now.
    fn log_last(
        &self,
        count: usize,
        before: usize,
        old: Option<PhysRange>,
        new: Option<PhysRange>,
    ) {
        let Some(new) = new else {
            return;
        };
        let grew = count == before && old.is_some_and(|old| new.last() > old.last());
        let change = if grew { Change::Extend } else { Change::Shrink };
        log::range(self, change, count.saturating_sub(1), new);
    }

    /// Registers mappings for the ranges that `plan` adds from page `next` on. On
    /// failure there may be some of them.
    fn register_mappings(&self, mappings: &mut Mappings, plan: &Plan, mut next: PgOff) -> Result {
        let ranges = plan.added();
        mappings.list.reserve(ranges.len(), GFP_KERNEL)?;
        for range in ranges {
            let index = mappings.list.len();
            let mapping = Mapping::register(device(self), index, *range, next)?;
            mappings.list.push(mapping, GFP_KERNEL)?;
            next = next.after(range).ok_or(EOVERFLOW)?;
        }
        Ok(())
    }

    /// Unregisters all mappings: the device is going.
    pub(crate) fn drop_mappings(&self) {
        let mut list = core::mem::replace(&mut self.lock_ranges().list, KVVec::new());
        // Newest first, as C does it.
        while let Some(mapping) = list.pop() {
            drop(mapping);
        }
    }

    /// A driver is about to be probed. The core has set `dev->driver`, so every
    /// writer that takes the ranges lock after us sees it; those before us are
    /// done when we get it. From here the ranges stay as they are.
    ///
    /// # Errors
    ///
    /// Those of [`DeviceState::begin_bind`](crate::driver::region::DeviceState::begin_bind), and `ENXIO`
    /// if the device is gone.
    pub(crate) fn begin_bind(&self, driver: DriverType) -> Result {
        let _ranges = self.lock_ranges();
        self.region.lock().record(self)?.begin_bind(driver)
    }

    /// The probe ended well.
    pub(crate) fn bound(&self) {
        log::debug(self, c"bound");
        if !self.region.is_static() {
            self.region.lock().clear_seed(self);
        }
    }

    /// The probe failed, or the driver is being unbound.
    pub(crate) fn unbound(&self) {
        log::debug(self, c"unbound");
        if let Ok(record) = self.region.lock().record(self) {
            record.driver = None;
        }
    }

    /// Ends all access to a device that its driver, one of C, makes unavailable:
    /// whoever asks super.c finds it dead, and nobody has a page of it mapped. Sleeps.
    /// C: `kill_dev_dax()`.
    pub(crate) fn kill(&self) {
        self.c().dax().kill();
        self.c().dax().unmap_all();
        self.c().clear_pagemap();
    }
}

impl Mappings {
    /// Leaves `count` mappings, the last of which ends where `last` does.
    fn trim(&mut self, count: usize, last: Option<PhysRange>) {
        while self.list.len() > count {
            drop(self.list.pop());
        }
        self.set_end(count, last);
    }

    /// The last of the first `count` mappings ends where `last` does, if that is known.
    fn set_end(&self, count: usize, last: Option<PhysRange>) {
        let mapping = count.checked_sub(1).and_then(|index| self.list.get(index));
        if let (Some(mapping), Some(range)) = (mapping, last) {
            mapping.object().set_end(range);
        }
    }
}
