// SPDX-License-Identifier: GPL-2.0

//! Regions: a span of physical memory that devices are carved from.
//!
//! C: `struct dax_region` and what bus.c does with it.
//!
//! All that changes in a region, its devices' ranges included, is behind one
//! mutex, [`Region::lock`]. It is held for look-ups and for applying a plan,
//! never while a device is registered or unregistered, never while a driver is
//! probed or removed, and never while waiting for a sysfs reader or writer.
//!
//! A [`DeviceState`] belongs to one device, from [`State::insert`] on, and nothing finds a
//! record by a number that another device may have by then: whoever has a device
//! shows it.

use kernel::{
    device::Device,
    new_condvar,
    new_mutex,
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNodeReservation, //
    },
    sync::{
        aref::ARef,
        lock::{
            mutex::MutexBackend,
            Guard, //
        },
        Arc,
        CondVar,
        Mutex, //
    },
    warn_on, //
};

use crate::{
    driver::device::{
        DevDax,
        DevDaxData, //
    },
    ranges::{
        allocator::RangeAllocator,
        range::{
            Align,
            PhysRange, //
        }, //
    },
    sys::{
        dev_dax::{
            CRegion,
            Ranges, //
        },
        device::Registration,
        driver::DriverType,
        drvdata::{
            DriverData,
            Stored, //
        },
        ida::Ida,
        object::has_driver,
        resource::{
            has_system_ram,
            RegionResource, //
        },
        sysfs::{
            Attribute,
            Groups, //
        },
        task::Waiter, //
    }, //
};

/// Who says which devices a region has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The owner: one device over all of it, nothing can be changed. (pmem)
    Static,
    /// The user, through sysfs. (hmem, cxl)
    Dynamic,
}

/// What a region is made from.
pub(crate) struct Config {
    /// X of daxX.Y.
    pub(crate) id: i32,
    /// The memory.
    pub(crate) span: PhysRange,
    /// Alignment that its devices begin with.
    pub(crate) align: Align,
    /// Where kmem puts the memory, -1 for nowhere.
    pub(crate) target_node: i32,
    /// Who says which devices there are.
    pub(crate) kind: Kind,
    /// Whether devices go to kmem unless an id says otherwise.
    pub(crate) kmem: bool,
}

/// A region.
#[pin_data]
pub(crate) struct Region {
    /// What C sees.
    c: Arc<CRegion>,
    config: Config,
    #[pin]
    ids: Ida,
    #[pin]
    state: Mutex<State>,
    /// Notified when a device has drained, and when nobody should wait for that.
    #[pin]
    drained: CondVar,
}

/// What changes in a region.
pub(crate) struct State {
    /// The device that the region hangs off, while it is in service. It may be gone
    /// before the last reference of the region.
    parent: Option<ARef<Device>>,
    /// The parent is being unbound: nothing may be added or changed any more.
    dead: bool,
    /// What of the span is free.
    space: RangeAllocator,
    /// Its devices, by instance id. A device that is not here is gone, even if
    /// somebody still refers to it.
    devices: RBTree<i32, DeviceState>,
    /// The first device that was created by the user and was never bound.
    seed: Option<i32>,
    /// The device that the user created last.
    youngest: Option<i32>,
    /// How many devices drain, those that are gone included.
    draining: usize,
    /// Who waits until none does.
    waiter: Option<Waiter>,
}

/// What a region knows of a device.
pub(crate) struct DeviceState {
    /// The device, and its memory. Does not change while a driver is bound.
    pub(crate) ranges: Ranges<DevDax>,
    /// The driver that is bound or being bound.
    pub(crate) driver: Option<DriverType>,
    /// kmem was bound once. What it gave to the page allocator may still be there.
    was_kmem: bool,
    /// The device was unbound, and pages of it are still pinned.
    draining: bool,
    /// Whether a driver ever was bound: then it is no seed.
    ever_bound: bool,
    /// `None` until the device is registered.
    registered: Option<Registration<DevDax>>,
}

/// The region's lock, held.
pub(crate) type StateGuard<'a> = Guard<'a, State, MutexBackend>;

impl Region {
    /// A region without devices. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(parent: &Device, config: Config) -> Result<Arc<Self>> {
        let state = State {
            parent: Some(parent.into()),
            dead: false,
            space: RangeAllocator::new(config.span)?,
            devices: RBTree::new(),
            seed: None,
            youngest: None,
            draining: 0,
            waiter: None,
        };
        let c = CRegion::new(config.id, config.target_node, config.align)?;
        Arc::pin_init(
            try_pin_init!(Self {
                c,
                config,
                ids <- Ida::new(),
                state <- new_mutex!(state, "dax_region::state"),
                drained <- new_condvar!("dax_region::drained"),
            }? Error),
            GFP_KERNEL,
        )
    }

    /// X of daxX.Y.
    pub(crate) fn id(&self) -> i32 {
        self.config.id
    }

    /// The memory.
    pub(crate) fn span(&self) -> PhysRange {
        self.config.span
    }

    /// Alignment that its devices begin with.
    pub(crate) fn align(&self) -> Align {
        self.config.align
    }

    /// Where kmem puts the memory, -1 for nowhere.
    pub(crate) fn target_node(&self) -> i32 {
        self.config.target_node
    }

    /// Whether the owner alone decides about its devices. C: `is_static()`.
    pub(crate) fn is_static(&self) -> bool {
        self.config.kind == Kind::Static
    }

    /// Whether devices go to kmem unless an id says otherwise.
    pub(crate) fn is_kmem(&self) -> bool {
        self.config.kmem
    }

    /// The device that the region hangs off.
    ///
    /// # Errors
    ///
    /// `ENXIO` if the region is not in service any more.
    pub(crate) fn parent(&self) -> Result<ARef<Device>> {
        self.lock().parent.clone().ok_or(ENXIO)
    }

    /// What C sees.
    pub(crate) fn c(&self) -> &Arc<CRegion> {
        &self.c
    }

    /// Instance ids.
    pub(crate) fn ids(&self) -> &Ida {
        &self.ids
    }

    /// Takes the region's lock. May sleep, but never for long.
    pub(crate) fn lock(&self) -> StateGuard<'_> {
        self.state.lock()
    }

    /// Bytes that no device has. C: `dax_region_avail_size()`.
    pub(crate) fn available(&self) -> u64 {
        self.lock().space.available()
    }

    /// The device that `daxctl create-device` should use next.
    pub(crate) fn seed(&self) -> Option<i32> {
        self.lock().seed
    }

    /// The device that was created last.
    pub(crate) fn youngest(&self) -> Option<i32> {
        self.lock().youngest
    }

    /// Creates an empty device for the user. C: `create_store()`.
    ///
    /// # Errors
    ///
    /// `ENXIO` if the region is going away, `ENOSPC` if it is full, and what
    /// [`DevDax::create`] fails with.
    pub(crate) fn create(self: &Arc<Self>) -> Result {
        {
            let state = self.lock();
            if state.dead {
                return Err(ENXIO);
            }
            if state.space.available() == 0 {
                return Err(ENOSPC);
            }
        }
        let device = DevDax::create(self, DevDaxData::empty())?;
        self.lock().set_youngest(&device);
        Ok(())
    }

    /// Deletes a device that is empty and not bound. C: `delete_store()`.
    ///
    /// # Errors
    ///
    /// `ENXIO` if there is no such device, or not yet; `EBUSY` if it has a size or a
    /// driver, pages are pinned, or it is the one that keeps `/sys/bus/dax` populated,
    /// id 0.
    pub(crate) fn delete(&self, id: i32) -> Result {
        let device = {
            let state = self.lock();
            let record = state.devices.get(&id).ok_or(ENXIO)?;
            record.ranges.device().clone()
        };
        let record = {
            // A resize that is under way ends first.
            let _ranges = device.lock_ranges();
            let mut state = self.lock();
            let record = state.record(&device)?;
            if record.registered.is_none() {
                return Err(ENXIO);
            }
            if id == 0
                || has_driver::<DevDax>(&device)
                || record.draining
                || record.ranges.layout().size() != 0
            {
                return Err(EBUSY);
            }
            state.remove(&device).ok_or(ENXIO)?
        };
        self.retire(record);
        Ok(())
    }

    /// Unregisters a device that was taken out of the region and frees what it
    /// had. Sleeps; no lock is held. C: `unregister_dev_dax()`.
    pub(crate) fn retire(&self, mut record: DeviceState) {
        let device = record.ranges.device().clone();
        device.drop_mappings();
        // Unbinds the driver.
        drop(record.registered.take());
        let layout = record.ranges.layout();
        device.log_removed(layout, layout.len());
        self.lock().release(&mut record);
        if !self.is_static() {
            self.ids.free(device.id());
        }
        // C sees no ranges any more. This may be the last reference of the device
        // but ours.
        drop(record);
    }

    /// Takes the region out of service: the parent is being unbound. Sleeps until no
    /// device drains, or nobody should wait for that any more.
    ///
    /// The owner has removed the region's attributes already, so nobody creates
    /// or deletes devices; writers to devices' attributes find them gone.
    fn shut_down(&self) {
        loop {
            let Some(record) = self.lock().remove_any() else {
                break;
            };
            self.retire(record);
        }
        self.wait_until_drained();
        let parent = self.lock().parent.take();
        drop(parent);
    }

    /// The memory may be taken away when the parent is unbound, and then nobody may
    /// still use it. This waits under the lock of the parent, which is the one that is
    /// going, and under no other.
    ///
    /// The task is in state D, where the hung-task detector sees it. It gives up when
    /// it is killed, since it may have pinned the pages itself, and when the machine
    /// goes down, which waits for the parent's lock. The struct pages and reservations
    /// of pinned memory then go on without the region.
    fn wait_until_drained(&self) {
        let mut state = self.lock();
        if state.draining == 0 {
            return;
        }
        let parent = state.parent.clone();
        if let Some(parent) = &parent {
            dev_warn!(
                parent,
                "waits for pinned pages of {} devices\n",
                state.draining
            );
        }
        state.waiter = Some(Waiter::current());
        while state.draining > 0 && state.waiter.is_some() {
            self.drained.wait(&mut state);
        }
        let gave_up = state.waiter.take().is_none();
        let left = state.draining;
        drop(state);
        if let Some(parent) = parent.filter(|_| gave_up) {
            dev_warn!(parent, "leaves pinned pages of {} devices\n", left);
        }
    }

    /// `device` was unbound, and pages of it are still pinned: until
    /// [`Region::has_drained`] it can be neither bound nor changed.
    pub(crate) fn begins_to_drain(&self, device: &DevDax) {
        let mut state = self.lock();
        state.draining = state.draining.saturating_add(1);
        // A device that is being retired has no record any more.
        if let Ok(record) = state.record(device) {
            record.draining = true;
        }
    }

    /// No page of `device` is pinned any more, and its struct pages are gone.
    pub(crate) fn has_drained(&self, device: &DevDax) {
        let mut state = self.lock();
        if let Ok(record) = state.record(device) {
            record.draining = false;
        }
        warn_on!(state.draining == 0);
        state.draining = state.draining.saturating_sub(1);
        self.drained.notify_all();
    }

    /// `device` still drains: lets go of a waiter that must not wait any longer.
    pub(crate) fn still_drains(&self) {
        let mut state = self.lock();
        if state.waiter.as_ref().is_some_and(Waiter::must_give_up) {
            state.waiter = None;
            self.drained.notify_all();
        }
    }
}

impl State {
    /// The record of `device`.
    ///
    /// # Errors
    ///
    /// `ENXIO` if the device is gone.
    pub(crate) fn record(&mut self, device: &DevDax) -> Result<&mut DeviceState> {
        Ok(self.parts(device)?.1)
    }

    /// What of the region is free, and the record of `device`.
    ///
    /// # Errors
    ///
    /// `ENXIO` if the device is gone.
    pub(crate) fn parts(
        &mut self,
        device: &DevDax,
    ) -> Result<(&mut RangeAllocator, &mut DeviceState)> {
        let record = self.devices.get_mut(&device.id()).ok_or(ENXIO)?;
        // The id may have been given to another device since.
        if !record.ranges.device().is(device) {
            return Err(ENXIO);
        }
        Ok((&mut self.space, record))
    }

    /// Like [`State::parts`], for a writer: nothing in use may be changed.
    ///
    /// # Errors
    ///
    /// `ENXIO` if the device or the region is gone or going, `EBUSY` if a driver
    /// is bound, pages are pinned, or kmem left memory online.
    pub(crate) fn editable(
        &mut self,
        device: &DevDax,
    ) -> Result<(&mut RangeAllocator, &mut DeviceState)> {
        if self.dead {
            return Err(ENXIO);
        }
        let (space, record) = self.parts(device)?;
        if has_driver(device) || record.draining || record.has_system_ram() {
            return Err(EBUSY);
        }
        Ok((space, record))
    }

    /// What of the region is free.
    pub(crate) fn space(&mut self) -> &mut RangeAllocator {
        &mut self.space
    }

    /// Adds a device that is about to be registered, with `initial` as its range
    /// if there is one.
    ///
    /// # Errors
    ///
    /// `ENXIO` if the region is going away, `EEXIST` if the id is taken, and what
    /// [`RangeAllocator::take_exact`] fails with; nothing is changed then.
    pub(crate) fn insert(
        &mut self,
        mut ranges: Ranges<DevDax>,
        initial: Option<PhysRange>,
        node: RBTreeNodeReservation<i32, DeviceState>,
    ) -> Result {
        if self.dead {
            return Err(ENXIO);
        }
        let id = ranges.device().id();
        if self.devices.get(&id).is_some() {
            return Err(EEXIST);
        }
        if let Some(range) = initial {
            let align = ranges.align();
            self.space.take_exact(&mut *ranges.edit()?, range, align)?;
        }
        let record = DeviceState {
            ranges,
            driver: None,
            was_kmem: false,
            draining: false,
            ever_bound: false,
            registered: None,
        };
        self.devices.insert(node.into_node(id, record));
        Ok(())
    }

    /// The device that was added is registered now. Gives it back if it was removed,
    /// which nobody does before: it must not be unregistered under the lock.
    pub(crate) fn set_registered(
        &mut self,
        device: Registration<DevDax>,
    ) -> Option<Registration<DevDax>> {
        match self.parts(device.object()) {
            Ok((_, record)) => record.registered.replace(device),
            Err(_) => Some(device),
        }
    }

    /// Takes `device` out of the region: from now on it is gone for everyone.
    pub(crate) fn remove(&mut self, device: &DevDax) -> Option<DeviceState> {
        self.parts(device).ok()?;
        self.remove_id(device.id())
    }

    fn remove_id(&mut self, id: i32) -> Option<DeviceState> {
        let record = self.devices.remove(&id)?;
        if self.seed == Some(id) {
            self.seed = None;
        }
        if self.youngest == Some(id) {
            self.youngest = None;
        }
        Some(record)
    }

    /// Takes the device with the highest id out of the region.
    fn remove_any(&mut self) -> Option<DeviceState> {
        let id = *self.devices.cursor_back()?.current().0;
        self.remove_id(id)
    }

    /// Frees the memory of a device that was taken out of the region.
    fn release(&mut self, record: &mut DeviceState) {
        match record.ranges.edit() {
            Ok(mut layout) => self.space.release_all(&mut layout),
            // A driver is there that cannot be there; its memory stays taken.
            Err(_) => {
                warn_on!(true);
            }
        }
    }

    /// The user created `device`. It may be bound already, or gone.
    fn set_youngest(&mut self, device: &DevDax) {
        let Ok(record) = self.record(device) else {
            return;
        };
        if !record.ever_bound {
            self.seed.get_or_insert(device.id());
        }
        self.youngest = Some(device.id());
    }

    /// A driver was bound to `device`, which therefore is no seed any more.
    pub(crate) fn clear_seed(&mut self, device: &DevDax) {
        let Ok(record) = self.record(device) else {
            return;
        };
        record.ever_bound = true;
        if self.seed == Some(device.id()) {
            self.seed = None;
        }
    }
}

impl DeviceState {
    /// A driver is about to be bound: from here on the ranges stay as they are.
    ///
    /// # Errors
    ///
    /// `ENXIO` if there is nothing to bind to, `EBUSY` if pages are pinned since the
    /// last time.
    pub(crate) fn begin_bind(&mut self, driver: DriverType) -> Result {
        if self.draining {
            return Err(EBUSY);
        }
        if self.ranges.layout().size() == 0 {
            return Err(ENXIO);
        }
        self.ranges.pin();
        self.driver = Some(driver);
        self.was_kmem |= driver == DriverType::Kmem;
        Ok(())
    }

    /// Whether kmem left a part of the memory with the page allocator. Such memory
    /// is nobody else's until it is offline.
    fn has_system_ram(&self) -> bool {
        self.was_kmem && self.ranges.layout().ranges().any(has_system_ram)
    }
}

/// A region that is in service: in the tree of all regions, in the parent's driver data
/// and sysfs, with devices. Owned by the parent's driver binding; dropping it ends all that.
pub(crate) struct RegionRegistration {
    region: DriverData<Region>,
    _resource: RegionResource,
}

impl RegionRegistration {
    /// Puts `region` in service.
    pub(crate) fn new(region: DriverData<Region>, resource: RegionResource) -> Self {
        Self {
            region,
            _resource: resource,
        }
    }

    /// Adds the region's attributes. If one of their files cannot be made, devices may
    /// have been created by those before it; dropping the registration takes them away.
    ///
    /// # Errors
    ///
    /// What `sysfs_create_groups()` fails with.
    pub(crate) fn add_attributes(
        &mut self,
        groups: &'static Groups<Attribute<Stored<Region>>>,
    ) -> Result {
        self.region.add_groups(groups)
    }
}

impl Drop for RegionRegistration {
    /// C: `dax_region_unregister()` and the devices' own devres actions.
    fn drop(&mut self) {
        self.region.data().lock().dead = true;
        // Waits for whoever is creating or deleting a device.
        self.region.remove_groups();
        self.region.data().shut_down();
    }
}
