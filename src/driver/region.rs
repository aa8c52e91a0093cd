// SPDX-License-Identifier: GPL-2.0

//! Regions: spans of physical memory that devices are carved from.
//!
//! C: `struct dax_region` and the code of bus.c for it.
//!
//! The region lock, [`Region::lock`], is a mutex. It guards everything in a region that
//! changes, including the ranges of its devices. Code holds it to look something up or to
//! commit a reservation. No code registers or unregisters a device, probes or removes a
//! driver, or waits for a reader or writer of a sysfs file while it holds the lock.
//!
//! A [`DeviceRecord`] belongs to one device from [`RegionState::insert`] on. Another device
//! may get the id of a deleted one, so look-ups take the device itself, not its id.

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
    driver::{
        device::{
            DevDax,
            DevDaxData, //
        },
        params, //
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
        hwpoison,
        ida::Ida,
        log,
        memory::RegionMemory,
        object::has_driver,
        resource::{
            has_system_ram,
            RegionResource, //
        },
        sysfs::{
            Attribute,
            Groups, //
        },
        task::{
            is_going_down,
            Waiter, //
        }, //
    }, //
};

/// Whether the owner (static) or user space (dynamic) decides which devices there are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The owner creates one device over the whole region; user space can change nothing.
    /// (pmem)
    Static,
    /// User space creates, resizes and deletes devices through sysfs. (hmem, cxl)
    Dynamic,
}

/// The parameters of a new region.
pub(crate) struct Config {
    /// X of daxX.Y.
    pub(crate) id: i32,
    /// The physical memory.
    pub(crate) memory: RegionMemory,
    /// Initial alignment of its devices.
    pub(crate) align: Align,
    /// NUMA node that kmem adds the memory to; negative for none.
    pub(crate) target_node: i32,
    /// Whether the owner or user space decides which devices there are.
    pub(crate) kind: Kind,
    /// Whether kmem binds the devices, unless `new_id` names another driver.
    pub(crate) kmem: bool,
}

/// A span of physical memory that devices are carved from. C: `struct dax_region`.
#[pin_data]
pub(crate) struct Region {
    /// The `struct dax_region` that C reads.
    c: Arc<CRegion>,
    config: Config,
    #[pin]
    ids: Ida,
    #[pin]
    state: Mutex<RegionState>,
    /// Notified when a device has drained or was zeroed, and when the waiter must give up.
    #[pin]
    drained: CondVar,
}

/// The part of a region that changes. The region lock guards all of it.
pub(crate) struct RegionState {
    /// The device that created the region, until the region is shut down. References of the
    /// region may outlive that device.
    parent: Option<ARef<Device>>,
    /// The holes of the region.
    allocator: RangeAllocator,
    /// The devices, by id. A device that is not in this tree is gone, even if somebody
    /// still has a reference.
    devices: RBTree<i32, DeviceRecord>,
    /// A device that the user created and that was never bound: the first one that was
    /// created while there was no seed.
    seed: Option<i32>,
    /// The device that the user created last.
    youngest: Option<i32>,
    /// Number of devices that drain, including those that were deleted meanwhile.
    draining: usize,
    /// Whether struct pages of a device are in memory of the region's owner, so that the
    /// owner must not get the memory back while the device drains.
    has_altmap: bool,
    /// The task that waits until `draining` is 0.
    waiter: Option<Waiter>,
    /// Number of devices that a work item zeroes, including those that were deleted
    /// meanwhile.
    zeroing: usize,
    /// Whether a part of the memory was System RAM when the region was made: kmem of an
    /// earlier region could not take it offline. It may still be online.
    pub(super) had_system_ram: bool,
    /// Whether memory is zeroed before a device gains it, and after kmem had it.
    pub(super) zero_on_alloc: bool,
}

/// The region's record of a device.
pub(crate) struct DeviceRecord {
    /// The device and its ranges. The ranges do not change while a driver is bound.
    pub(crate) ranges: Ranges<DevDax>,
    /// The driver that is bound or being bound.
    pub(crate) driver: Option<DriverType>,
    /// kmem was bound at some time, or had the memory of an earlier region. Memory that it
    /// onlined may still be online.
    kmem_ever_bound: bool,
    /// kmem was bound, and since then neither was another driver nor was the memory zeroed.
    kmem_was_last: bool,
    /// Memory of the device, or memory that it is about to gain, is being zeroed. Until it
    /// is, nobody may bind, change or delete the device.
    pub(super) zeroing: bool,
    /// The device was unbound, but some of its pages are still pinned.
    draining: bool,
    /// A driver was bound at some time: the device cannot become the seed any more.
    ever_bound: bool,
    /// `None` until `device_add()` succeeded.
    registered: Option<Registration<DevDax>>,
}

/// The region lock, held.
pub(crate) type RegionGuard<'a> = Guard<'a, RegionState, MutexBackend>;

impl Region {
    /// Makes a region without devices. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(parent: &Device, config: Config) -> Result<Arc<Self>> {
        let state = RegionState {
            parent: Some(parent.into()),
            allocator: RangeAllocator::new(config.memory.span())?,
            devices: RBTree::new(),
            seed: None,
            youngest: None,
            draining: 0,
            has_altmap: false,
            waiter: None,
            zeroing: 0,
            had_system_ram: config.kind == Kind::Dynamic && has_system_ram(config.memory.span()),
            zero_on_alloc: config.kind == Kind::Dynamic && params::zero_on_alloc(),
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

    /// The physical memory.
    pub(crate) fn span(&self) -> PhysRange {
        self.config.memory.span()
    }

    /// The physical memory, of which parts can be claimed in `/proc/iomem`.
    pub(crate) fn memory(&self) -> RegionMemory {
        self.config.memory
    }

    /// Initial alignment of its devices.
    pub(crate) fn align(&self) -> Align {
        self.config.align
    }

    /// NUMA node that kmem adds the memory to; negative for none.
    pub(crate) fn target_node(&self) -> i32 {
        self.config.target_node
    }

    /// Whether the owner alone decides which devices there are. C: `is_static()`.
    pub(crate) fn is_static(&self) -> bool {
        self.config.kind == Kind::Static
    }

    /// Whether kmem binds the devices, unless `new_id` names another driver.
    pub(crate) fn is_kmem(&self) -> bool {
        self.config.kmem
    }

    /// The device that created the region. Takes the region lock.
    ///
    /// # Errors
    ///
    /// `ENXIO` if the region was shut down.
    pub(crate) fn parent(&self) -> Result<ARef<Device>> {
        self.lock().parent.clone().ok_or(ENXIO)
    }

    /// The `struct dax_region` that C reads.
    pub(crate) fn c(&self) -> &Arc<CRegion> {
        &self.c
    }

    /// The allocator of ids for the devices of a dynamic region.
    pub(crate) fn ids(&self) -> &Ida {
        &self.ids
    }

    /// Takes the region lock. May sleep, but only briefly: see the table in `dax.rs`.
    pub(crate) fn lock(&self) -> RegionGuard<'_> {
        self.state.lock()
    }

    /// Free bytes. Takes the region lock. C: `dax_region_avail_size()`.
    pub(crate) fn available(&self) -> u64 {
        self.lock().allocator.available()
    }

    /// Id of the device that `daxctl create-device` should use next. Takes the region lock.
    pub(crate) fn seed(&self) -> Option<i32> {
        self.lock().seed
    }

    /// Id of the device that the user created last. Takes the region lock.
    pub(crate) fn youngest(&self) -> Option<i32> {
        self.lock().youngest
    }

    /// Whether memory is zeroed before a device gains it. Takes the region lock.
    pub(crate) fn zero_on_alloc(&self) -> bool {
        self.lock().zero_on_alloc
    }

    /// Sets [`Region::zero_on_alloc`]. Changes in progress keep to the old value. Takes the
    /// region lock.
    pub(crate) fn set_zero_on_alloc(&self, on: bool) {
        self.lock().zero_on_alloc = on;
    }

    /// Creates an empty device for the user. May sleep; no lock is held.
    /// C: `create_store()`.
    ///
    /// # Errors
    ///
    /// `ENOSPC` if the region has no free memory, and the errors of [`DevDax::create`].
    pub(crate) fn create(self: &Arc<Self>) -> Result {
        if self.available() == 0 {
            return Err(ENOSPC);
        }
        let device = DevDax::create(self, DevDaxData::empty())?;
        self.lock().set_youngest(&device);
        Ok(())
    }

    /// Deletes the device with the given id, which must be empty and not bound. May sleep;
    /// no lock is held. C: `delete_store()`.
    ///
    /// # Errors
    ///
    /// `ENXIO` if there is no such device, or if it is not registered yet. `EBUSY` if it
    /// has a size or a driver, if its pages are pinned, or if `id` is 0: as in C, device 0
    /// stays, so that `/sys/bus/dax` is never empty.
    pub(crate) fn delete(&self, id: i32) -> Result {
        let device = {
            let state = self.lock();
            let record = state.devices.get(&id).ok_or(ENXIO)?;
            record.ranges.device().clone()
        };
        let record = {
            // Wait for a resize in progress.
            let _ranges = device.lock_ranges();
            let mut state = self.lock();
            let record = state.record(&device)?;
            if record.registered.is_none() {
                return Err(ENXIO);
            }
            let why = if id == 0 {
                Some(c"device 0 stays")
            } else {
                let has_size = record.ranges.layout().size() != 0;
                record.in_use().or(has_size.then_some(c"its size is not 0"))
            };
            if let Some(why) = why {
                log::refused::<DevDax>(&device, why);
                return Err(EBUSY);
            }
            state.remove(&device).ok_or(ENXIO)?
        };
        self.retire(record);
        Ok(())
    }

    /// Unregisters a device that was taken out of the region, and frees its ranges and its
    /// id. Sleeps; no lock is held. C: `unregister_dev_dax()`.
    pub(crate) fn retire(&self, mut record: DeviceRecord) {
        let device = record.ranges.device().clone();
        device.drop_mappings();
        // Unbinds the driver.
        drop(record.registered.take());
        self.lock().release(&mut record);
        if !self.is_static() {
            self.ids.free(device.id());
        }
        // This hides the ranges from C. `device` holds a reference, so the device is not freed
        // here.
        drop(record);
    }

    /// Shuts the region down, because the parent is being unbound: retires all devices,
    /// then waits until none drains or the waiter must give up. Sleeps; no lock of ours is
    /// held.
    ///
    /// The caller removed the region's attributes before this, so nobody can create or
    /// delete devices. Writers of a device's attributes find the device gone.
    fn shut_down(&self) {
        loop {
            let Some(record) = self.lock().remove_any() else {
                break;
            };
            self.retire(record);
        }
        self.wait_until_zeroed();
        self.wait_until_drained();
        let parent = self.lock().parent.take();
        drop(parent);
    }

    /// Waits until no work item zeroes memory of the region. Sleeps, but not for long: zeroing
    /// ends early once its device is gone.
    fn wait_until_zeroed(&self) {
        let mut state = self.lock();
        while state.zeroing > 0 {
            self.drained.wait(&mut state);
        }
    }

    /// Waits until no device of the region drains.
    ///
    /// Once the parent is unbound, its owner may take the memory away, so no page may be in
    /// use any more. The caller holds the device lock of the parent and no other lock.
    ///
    /// The wait is uninterruptible, so the hung-task detector reports it. The wait ends
    /// early in two cases: when the waiting task is killed, since that task may itself have
    /// pinned the pages, and when the machine goes down, since shutdown needs the parent's
    /// device lock. The struct pages and the claims of pinned memory then outlive the
    /// region. Struct pages in memory of the owner cannot do that (`ndctl create-namespace
    /// -M dev`), so then a kill does not end the wait.
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

    /// If kmem was bound last and the region wants that, marks `device` as being zeroed by a
    /// work item, until [`Region::note_zeroed`]. Returns whether it did. The caller holds
    /// the ranges lock, so no writer is about to commit a change. Takes the region lock.
    ///
    /// # Errors
    ///
    /// `ENXIO` if the device is gone. `EBUSY` if it must be zeroed, but its pages are pinned
    /// or somebody else zeroes its memory.
    pub(super) fn note_zeroing(&self, device: &DevDax) -> Result<bool> {
        let mut state = self.lock();
        let wanted = state.zero_on_alloc;
        let record = state.record(device)?;
        if !(wanted && record.kmem_was_last) {
            return Ok(false);
        }
        record.check_unchanging()?;
        record.zeroing = true;
        state.zeroing = state.zeroing.saturating_add(1);
        Ok(true)
    }

    /// Ends what [`Region::note_zeroing`] began. `done` tells whether all of the memory is
    /// zeroed. Takes the region lock.
    pub(super) fn note_zeroed(&self, device: &DevDax, done: bool) {
        let mut state = self.lock();
        if let Ok(record) = state.record(device) {
            record.zeroing = false;
            record.kmem_was_last &= !done;
        }
        warn_on!(state.zeroing == 0);
        state.zeroing = state.zeroing.saturating_sub(1);
        self.drained.notify_all();
    }

    /// Marks `device` as draining: it was unbound, but some of its pages are still pinned.
    /// Until [`Region::note_drained`] it can be neither bound nor changed. Takes the region
    /// lock.
    pub(crate) fn note_draining(&self, device: &DevDax) {
        let mut state = self.lock();
        state.draining = state.draining.saturating_add(1);
        // A device that is being retired has no record any more, but it counts.
        if let Ok(record) = state.record(device) {
            record.draining = true;
        }
    }

    /// Ends what [`Region::note_draining`] began: no page of `device` is pinned any more,
    /// and its struct pages are gone. Takes the region lock.
    pub(crate) fn note_drained(&self, device: &DevDax) {
        let mut state = self.lock();
        if let Ok(record) = state.record(device) {
            record.draining = false;
        }
        warn_on!(state.draining == 0);
        state.draining = state.draining.saturating_sub(1);
        self.drained.notify_all();
    }

    /// Wakes a waiter that must give up, although devices still drain. Takes the region
    /// lock.
    pub(crate) fn wake_if_giving_up(&self) {
        let mut state = self.lock();
        let Some(waiter) = &state.waiter else {
            return;
        };
        if is_going_down() || (waiter.was_killed() && !state.has_altmap) {
            state.waiter = None;
            self.drained.notify_all();
        }
    }
}

impl RegionState {
    /// The record of `device`.
    ///
    /// # Errors
    ///
    /// `ENXIO` if the device is gone.
    pub(crate) fn record(&mut self, device: &DevDax) -> Result<&mut DeviceRecord> {
        self.allocator_and_record(device).1
    }

    /// The allocator of the region, and the record of `device` or `ENXIO` if the device is
    /// gone.
    pub(crate) fn allocator_and_record(
        &mut self,
        device: &DevDax,
    ) -> (&mut RangeAllocator, Result<&mut DeviceRecord>) {
        let record = self.devices.get_mut(&device.id());
        // Another device may have got the id since.
        let record = record.filter(|record| core::ptr::eq(&**record.ranges.device(), device));
        (&mut self.allocator, record.ok_or(ENXIO))
    }

    /// Like [`RegionState::allocator_and_record`], but for a writer: refuses a device that is
    /// in use.
    ///
    /// # Errors
    ///
    /// `ENXIO` if the device is gone. `EBUSY` if a driver is bound, pages are pinned, or
    /// memory that kmem onlined is still online.
    pub(crate) fn editable(
        &mut self,
        device: &DevDax,
    ) -> Result<(&mut RangeAllocator, &mut DeviceRecord)> {
        let (allocator, record) = self.allocator_and_record(device);
        let record = record?;
        let why = record.in_use().or_else(|| {
            let online = record.has_system_ram();
            online.then_some(c"its memory is online as System RAM")
        });
        let Some(why) = why else {
            return Ok((allocator, record));
        };
        log::refused(device, why);
        Err(EBUSY)
    }

    /// Adds a device that is about to be registered, with `initial` as its only range if
    /// given.
    ///
    /// # Errors
    ///
    /// `EEXIST` if the id is taken, and the errors of [`RangeAllocator::append`]. Nothing
    /// changes then.
    pub(crate) fn insert(
        &mut self,
        mut ranges: Ranges<DevDax>,
        initial: Option<PhysRange>,
        node: RBTreeNodeReservation<i32, DeviceRecord>,
    ) -> Result {
        let id = ranges.device().id();
        if self.devices.get(&id).is_some() {
            return Err(EEXIST);
        }
        if let Some(range) = initial {
            let align = ranges.align();
            let mut layout = ranges.edit()?;
            let reservation = self.allocator.append(&mut layout, &[range], align)?;
            reservation.commit(&mut self.allocator, &mut layout);
        }
        self.has_altmap |= ranges.device().c().has_altmap();
        let record = DeviceRecord {
            ranges,
            driver: None,
            kmem_ever_bound: self.had_system_ram,
            kmem_was_last: false,
            zeroing: false,
            draining: false,
            ever_bound: false,
            registered: None,
        };
        let replaced = self.devices.insert(node.into_node(id, record));
        // There was no such id, see above.
        warn_on!(replaced.is_some());
        Ok(())
    }

    /// Records that the device was registered. Returns the registration if the device has no
    /// record, which is a bug. The caller then drops the registration without the region
    /// lock, since that unregisters the device.
    pub(crate) fn set_registered(
        &mut self,
        device: Registration<DevDax>,
    ) -> Option<Registration<DevDax>> {
        match self.record(device.object()) {
            Ok(record) => record.registered.replace(device),
            Err(_) => Some(device),
        }
    }

    /// Removes the record of `device`. From then on no look-up finds the device.
    pub(crate) fn remove(&mut self, device: &DevDax) -> Option<DeviceRecord> {
        self.record(device).ok()?;
        self.remove_id(device.id())
    }

    fn remove_id(&mut self, id: i32) -> Option<DeviceRecord> {
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
    fn remove_any(&mut self) -> Option<DeviceRecord> {
        let id = *self.devices.cursor_back()?.current().0;
        self.remove_id(id)
    }

    /// Frees the ranges of a device that was taken out of the region.
    fn release(&mut self, record: &mut DeviceRecord) {
        let device = record.ranges.device().clone();
        match record.ranges.edit() {
            Ok(mut layout) => self.allocator.release_all(&mut layout, device.log_delete()),
            // This is a bug: a driver is still bound. Warn, and leak the ranges, since the
            // driver may use them.
            Err(_) => {
                warn_on!(true);
            }
        }
    }

    /// Records that the user created `device`. By now it may be bound, or gone.
    fn set_youngest(&mut self, device: &DevDax) {
        let Ok(record) = self.record(device) else {
            return;
        };
        if !record.ever_bound {
            self.seed.get_or_insert(device.id());
        }
        self.youngest = Some(device.id());
    }

    /// Records that a driver was bound to `device`: it cannot be the seed any more.
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

impl DeviceRecord {
    /// Records that `driver` is about to be bound. From here on the ranges do not change.
    ///
    /// # Errors
    ///
    /// `ENXIO` if the device is empty, `EBUSY` if pages are still pinned from an earlier
    /// binding, or if memory is being zeroed.
    pub(crate) fn begin_bind(&mut self, driver: DriverType) -> Result {
        self.check_unchanging()?;
        if self.ranges.layout().size() == 0 {
            log::debug::<DevDax>(self.ranges.device(), c"it has no size");
            return Err(ENXIO);
        }
        self.ranges.freeze();
        self.driver = Some(driver);
        self.kmem_ever_bound |= driver == DriverType::Kmem;
        Ok(())
    }

    /// Records that the driver's probe succeeded.
    pub(super) fn bound(&mut self) {
        self.kmem_was_last = self.driver == Some(DriverType::Kmem);
    }

    /// Why nobody may change or delete the device now; `None` if nobody uses it.
    fn in_use(&self) -> Option<&'static CStr> {
        if has_driver::<DevDax>(self.ranges.device()) {
            return Some(c"it has a driver");
        }
        self.is_changing()
    }

    /// Checks that the device need not be left alone. Logs the reason otherwise.
    fn check_unchanging(&self) -> Result {
        let Some(why) = self.is_changing() else {
            return Ok(());
        };
        log::refused::<DevDax>(self.ranges.device(), why);
        Err(EBUSY)
    }

    /// Why the device must be left alone although it has no driver, if so.
    fn is_changing(&self) -> Option<&'static CStr> {
        if self.draining {
            Some(c"its pages are still pinned")
        } else if self.zeroing {
            Some(c"its memory is being zeroed")
        } else {
            None
        }
    }

    /// Whether memory that kmem onlined is still online. Nobody else may use such memory.
    fn has_system_ram(&self) -> bool {
        self.kmem_ever_bound && self.ranges.layout().ranges().any(has_system_ram)
    }
}

/// A region in service: it has a place in the tree of all regions, and it is in the driver
/// data of its parent. The parent's driver binding owns this; dropping it removes the
/// region's attributes, retires its devices and waits until they have drained.
pub(crate) struct RegionRegistration {
    region: DriverData<Region>,
    _resource: RegionResource,
}

impl RegionRegistration {
    /// Puts `region` into service.
    pub(crate) fn new(region: DriverData<Region>, resource: RegionResource) -> Self {
        Self {
            region,
            _resource: resource,
        }
    }

    /// Adds the region's attributes to the parent. May sleep. If a file cannot be made, the
    /// user may already have created devices through an earlier file; dropping the
    /// registration retires them.
    ///
    /// # Errors
    ///
    /// Those of `sysfs_create_groups()`.
    pub(crate) fn add_attributes(
        &mut self,
        groups: &'static Groups<Attribute<Stored<Region>>>,
    ) -> Result {
        self.region.add_groups(groups)
    }
}

impl Drop for RegionRegistration {
    /// C: `dax_region_unregister()` and the devices' own devres actions. Sleeps.
    fn drop(&mut self) {
        // Waits for tasks that are creating or deleting a device. Then nobody else can.
        self.region.remove_groups();
        let region = self.region.data();
        region.shut_down();
        // While pages are pinned, nobody else gets the memory, and its poisoned pages stay
        // what they are.
        if region.lock().draining == 0 {
            hwpoison::forget(region.span());
        }
    }
}
