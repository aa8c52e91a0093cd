// SPDX-License-Identifier: GPL-2.0

//! Devices: daxX.Y, made of ranges of a region.
//!
//! C: `struct dev_dax` and the code of bus.c for it.
//!
//! A device gains memory in three steps. It reserves the memory, with all checks and
//! allocations; it registers the `mappingN` children; it commits the reservation, which
//! cannot fail. If the children cannot be registered, the memory becomes holes again. So a
//! change is made in full or not at all.
//!
//! The ranges lock of a device serialises its writers. Writers hold it while they register
//! and unregister `mappingN` children. That cannot deadlock: the attributes of mappings
//! take no lock and mappings have no driver, so nothing that `device_del()` waits for needs
//! the ranges lock.
//!
//! `device_add()` creates the device's files before it returns, and may still fail after
//! that. The ranges cannot be changed before then, since the mappings of the initial ranges
//! do not exist yet. A program may write as soon as it sees the uevent, so its `write(2)` is
//! restarted, for a limited time. The write must not wait in the kernel instead: when
//! `device_add()` fails, it waits for all writers to leave.

use kernel::{
    new_mutex,
    prelude::*,
    rbtree::RBTreeNodeReservation,
    sync::{
        aref::ARef,
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
            Change,
            RangeError,
            Reservation, //
        },
        layout::DevDaxRange,
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
            Snapshot, //
        },
        device::{
            Registration,
            Unregistered, //
        },
        driver::DriverType,
        liveness::Liveness,
        log::{
            self,
            Action, //
        },
        object::{
            device,
            has_driver, //
        },
        pagemap,
        resource::has_system_ram,
        task::restart_write,
        template::PgmapTemplate, //
    }, //
};

/// The `mappingN` children of a device. The ranges lock guards them.
pub(crate) struct Mappings {
    /// In page-offset order. One for each range, once the device is created.
    list: KVVec<Registration<Mapping>>,
    /// Whether the device is registered and its initial ranges have mappings.
    created: bool,
    /// When the device began to be registered.
    since: Instant<Monotonic>,
}

/// The ranges lock of a device, held.
pub(crate) type RangesGuard<'a> = Guard<'a, Mappings, MutexBackend>;

/// How a change of the ranges began, under the region lock.
enum FirstStep {
    /// The device has the wanted size already.
    Unchanged,
    /// The device has `count` ranges left. The last one was cut to `last`, if that is `Some`.
    Shrunk {
        count: usize,
        last: Option<PhysRange>,
    },
    /// The memory that the device gains is reserved. If `zero`, it must be zeroed, and the
    /// record of the device is marked as `zeroing`.
    Reserved {
        reservation: Reservation,
        zero: bool,
    },
}

/// How long after a device began to be registered a write to it is restarted, in
/// milliseconds, while the device is not created yet.
const PATIENCE_MS: i64 = 100;

/// A device. The part that changes is in the
/// [`DeviceRecord`](crate::driver::region::DeviceRecord) of its region. C: `struct dev_dax`.
pub(crate) type DevDax = DaxObject<DevDaxPrivate>;

/// The part of a device that C does not see. Its ranges are in the record of the region.
#[pin_data]
pub(crate) struct DevDaxPrivate {
    id: i32,
    #[pin]
    mappings: Mutex<Mappings>,
    /// The current binding of the device_dax driver, if any.
    #[pin]
    binding: Mutex<Option<Arc<Binding>>>,
    region: Arc<Region>,
}

/// One binding of a device to the device_dax driver. A file refers to the binding during
/// which it was opened for as long as the file exists. A later binding may have other
/// ranges, so the file never switches to that.
pub(crate) struct Binding {
    device: ARef<DevDax>,
    /// Page size of the device in bytes.
    page_size: usize,
    /// Size of the device in bytes.
    size: u64,
    /// The window that a fault maps around a page; `None` for the page alone.
    window: Option<Window>,
    /// Ends when the device is unbound.
    liveness: Arc<Liveness>,
}

impl Binding {
    /// A binding of `device`, which has `size` bytes in pages of `align` bytes, for as long
    /// as `liveness` lasts.
    ///
    /// # Errors
    ///
    /// `EINVAL` if `align` does not fit into a `usize`.
    pub(super) fn new(
        device: ARef<DevDax>,
        size: u64,
        align: Align,
        window: Option<Window>,
        liveness: Arc<Liveness>,
    ) -> Result<Self> {
        Ok(Self {
            device,
            size,
            page_size: usize::try_from(align.bytes()).map_err(|_| EINVAL)?,
            window,
            liveness,
        })
    }

    /// The device that is bound.
    pub(crate) fn device(&self) -> &DevDax {
        &self.device
    }

    /// Page size of the device in bytes.
    pub(crate) fn page_bytes(&self) -> usize {
        self.page_size
    }

    /// Size of the device in bytes, which does not change while it is bound.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Order of the device's pages: one has 2^order pages of `PAGE_SIZE`.
    pub(crate) fn order(&self) -> u32 {
        self.liveness.order()
    }

    /// The window that a fault maps around a page; `None` for the page alone.
    pub(crate) fn window(&self) -> Option<Window> {
        self.window
    }

    /// The liveness of this binding: ends when the device is unbound.
    pub(crate) fn liveness(&self) -> &Arc<Liveness> {
        &self.liveness
    }
}

/// The parameters of a new device. C: `struct dev_dax_data`.
pub(crate) struct DevDaxData {
    /// Size of the initial range in bytes, from the start of the region; 0 for no range.
    pub(crate) size: u64,
    /// Y of daxX.Y in a static region. `None` in a dynamic region, which chooses the id.
    pub(crate) id: Option<i32>,
    /// Whether kmem places the memmap in the memory itself.
    pub(crate) memmap_on_memory: bool,
    /// The page map that the owner of a static region supplies.
    pub(crate) template: Option<PgmapTemplate>,
}

impl DevDaxData {
    /// The parameters of an empty device that the user creates.
    pub(crate) fn empty() -> Self {
        Self {
            size: 0,
            id: None,
            memmap_on_memory: false,
            template: None,
        }
    }
}

/// The granule of a device: start and length of each range must be multiples of it. It is
/// the larger of the device's alignment and the least alignment for struct pages.
/// C: `alloc_is_aligned()`.
fn granule(align: Align) -> Align {
    Align::new(pagemap::compat_align()).map_or(align, |compat| align.max(compat))
}

impl DevDaxPrivate {
    fn new(region: Arc<Region>, id: i32) -> impl PinInit<Self, Error> {
        let mappings = Mappings {
            list: KVVec::new(),
            created: false,
            since: Instant::now(),
        };
        try_pin_init!(Self {
            id,
            mappings <- new_mutex!(mappings, "dev_dax::mappings"),
            binding <- new_mutex!(None, "dev_dax::binding"),
            region,
        }? Error)
    }
}

impl DevDax {
    /// Creates and registers a device. Drivers may be bound to it before this returns.
    /// Sleeps; no lock is held. C: `__devm_create_dev_dax()`.
    ///
    /// # Errors
    ///
    /// `EINVAL` if a static region gets no id, if a dynamic one gets one, or if the size is
    /// misaligned. `EBUSY` if the memory is taken, `ERANGE` if the size exceeds the region,
    /// `EEXIST` if the id is taken, `ENXIO` if the region is going away, `ENOMEM`, and the
    /// errors of `device_add()`.
    pub(crate) fn create(region: &Arc<Region>, spec: DevDaxData) -> Result<ARef<Self>> {
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
        // The region has a record of the device now. `retire()` frees the id.
        let registered = device.zero_initial().and_then(|()| {
            // Zeroing may have taken minutes, and nobody could write meanwhile.
            device.lock_ranges().since = Instant::now();
            unregistered.register(&parent)
        });
        let published = registered.and_then(|registered| {
            let unplaced = region.lock().set_registered(registered);
            if warn_on!(unplaced.is_some()) {
                return Err(ENXIO);
            }
            device.publish()
        });
        if let Err(e) = published {
            let record = region.lock().remove(&device);
            // If there is no record, somebody has deleted the device already. Then it had
            // been created, which is a success.
            if let Some(record) = record {
                region.retire(record);
                return Err(e);
            }
        }
        Ok(device)
    }

    /// Makes a device and adds it to the region, but does not register it. May sleep; takes
    /// the region lock.
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
        let state = DevDaxPrivate::new(region.clone(), id);
        let (mut device, ranges) = Self::make(identity, region.align(), state)?;
        device.set_dax_name(&DeviceName {
            region: region.id(),
            id,
        })?;
        device.set_bus();

        let initial = match spec.size {
            0 => None,
            size => Some(PhysRange::with_size(region.span().start(), size).ok_or(EINVAL)?),
        };
        region.lock().insert(ranges, initial, node)?;
        if let Some(range) = initial {
            log::range::<Self>(device.object(), Action::Alloc, 0, range);
        }
        Ok(device)
    }

    /// Zeroes the initial range of a device that is not registered yet, if the region wants
    /// that. Sleeps; no lock is held.
    fn zero_initial(&self) -> Result {
        let initial = {
            let mut state = self.region.lock();
            let zero = state.zero_on_alloc;
            let first = state.record(self)?.ranges.layout().first();
            first.filter(|_| zero)
        };
        self.zero(initial.into_iter())
    }

    /// Registers a mapping for each initial range, once the device is registered. After
    /// that the ranges can be changed. Sleeps; takes the ranges lock and the region lock.
    fn publish(&self) -> Result {
        let mut mappings = self.lock_ranges();
        let snapshot = self.snapshot()?;
        let ranges = snapshot.entries().iter();
        mappings.register(
            self,
            ranges.filter_map(|entry| Some((entry.pgoff(), entry.range()?))),
        )?;
        mappings.created = true;
        Ok(())
    }

    /// Y of daxX.Y.
    pub(crate) fn id(&self) -> i32 {
        self.id
    }

    /// The region that the device is in.
    pub(crate) fn region(&self) -> &Region {
        &self.region
    }

    /// The current binding of the device_dax driver, if any. May sleep, for a lock that is
    /// held briefly.
    pub(crate) fn binding(&self) -> Option<Arc<Binding>> {
        self.binding.lock().clone()
    }

    /// Replaces the value that [`DevDax::binding`] returns. May sleep.
    pub(crate) fn set_binding(&self, binding: Option<Arc<Binding>>) {
        let old = core::mem::replace(&mut *self.binding.lock(), binding);
        drop(old);
    }

    /// Takes the ranges lock, which serialises writers of the device's ranges. May sleep
    /// for as long as another writer needs to register mappings. C: `dax_region_rwsem`,
    /// which is one lock for all devices.
    pub(crate) fn lock_ranges(&self) -> RangesGuard<'_> {
        self.mappings.lock()
    }

    /// Takes the ranges lock for a writer.
    ///
    /// # Errors
    ///
    /// If the device is not created yet: the error that restarts `write(2)` for
    /// `PATIENCE_MS`. After that `EBUSY` if the device is being bound meanwhile, otherwise
    /// `ENXIO`.
    fn write(&self) -> Result<RangesGuard<'_>> {
        let mappings = self.lock_ranges();
        if mappings.created {
            return Ok(mappings);
        }
        let waited = mappings.since.elapsed();
        drop(mappings);
        if waited.as_millis() < PATIENCE_MS {
            Err(restart_write())
        } else if has_driver(self) {
            Err(EBUSY)
        } else {
            Err(ENXIO)
        }
    }

    /// Checks that the device is not gone. Takes the region lock.
    ///
    /// # Errors
    ///
    /// `ENXIO` if it is.
    pub(super) fn is_there(&self) -> Result {
        self.region.lock().record(self).map(drop)
    }

    /// Size in bytes. Takes the region lock. C: `dev_dax_size()`.
    ///
    /// # Errors
    ///
    /// `ENXIO` if the device is gone.
    pub(crate) fn size(&self) -> Result<u64> {
        Ok(self.region.lock().record(self)?.ranges.layout().size())
    }

    /// The alignment of the device's ranges and of VMAs that map it. Takes the region lock.
    ///
    /// # Errors
    ///
    /// `ENXIO` if the device is gone.
    pub(crate) fn align(&self) -> Result<Align> {
        Ok(self.region.lock().record(self)?.ranges.align())
    }

    /// Physical address of the first range; of the region if the device is empty. Takes the
    /// region lock.
    ///
    /// # Errors
    ///
    /// `ENXIO` if the device is gone.
    pub(crate) fn resource(&self) -> Result<u64> {
        let mut state = self.region.lock();
        let first = state.record(self)?.ranges.layout().first();
        Ok(first.map_or(self.region.span().start(), |range| range.start()))
    }

    /// Copies the ranges and their alignment, for a driver that is being probed. May sleep;
    /// takes the region lock.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `ENXIO` if the device is gone.
    pub(crate) fn snapshot(&self) -> Result<Snapshot<Self>> {
        self.region.lock().record(self)?.ranges.snapshot()
    }

    /// Grows or shrinks the device to `size` bytes. Sleeps; takes the ranges lock and the
    /// region lock. C: `dev_dax_resize()`.
    ///
    /// # Errors
    ///
    /// `EINVAL` if `size` is misaligned, `ENXIO` if the device is gone or going away,
    /// `EBUSY` if it is in use, `ENOSPC` if the region has not enough free memory,
    /// `ENOMEM`, and those of [`DevDax::zero`]. Nothing changes then. A write before the
    /// device is created may be restarted.
    pub(crate) fn set_size(&self, size: u64) -> Result {
        self.change(Change::Resize(size))
    }

    /// Appends `ranges` in this order, all or none. Sleeps; takes the ranges lock and the
    /// region lock. C: `mapping_store()`, which takes one range.
    ///
    /// # Errors
    ///
    /// `EINVAL` if a range is misaligned, `ENXIO` if the device is gone or going away,
    /// `EBUSY` if it is in use or a part of a range is taken, `ERANGE` if a range is not
    /// within the region, `ENOMEM`, and those of [`DevDax::zero`]. Nothing changes then. A
    /// write before the device is created may be restarted.
    pub(crate) fn add_ranges(&self, ranges: &[PhysRange]) -> Result {
        self.change(Change::Append(ranges))
    }

    /// Changes the alignment. Sleeps; takes the ranges lock and the region lock.
    /// C: `align_store()`.
    ///
    /// # Errors
    ///
    /// `ENXIO` if the device is gone or going away, `EBUSY` if it is in use, `EINVAL` if a
    /// range does not have that alignment. A write before the device is created may be
    /// restarted.
    pub(crate) fn set_align(&self, align: Align) -> Result {
        let _ranges = self.write()?;
        let mut state = self.region.lock();
        let (_, record) = state.editable(self)?;
        if !record.ranges.layout().is_aligned(granule(align)) {
            log::refused(self, c"a range has not that alignment");
            return Err(EINVAL);
        }
        record.ranges.set_align(align)
    }

    /// Sets whether kmem places the memmap in the memory itself. Takes the region lock.
    /// C: `memmap_on_memory_store()`.
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP` if the kernel does not support that, `ENXIO` if the device is gone,
    /// `EBUSY` if kmem is bound.
    pub(crate) fn set_memmap_on_memory(&self, on: bool) -> Result {
        if on {
            pagemap::check_memmap_on_memory()
                .inspect_err(|_| log::debug(self, c"memmap_on_memory is not available"))?;
        }
        let mut state = self.region.lock();
        let record = state.record(self)?;
        if on != self.c().memmap_on_memory() {
            if record.driver == Some(DriverType::Kmem) {
                log::refused(self, c"kmem has it");
                return Err(EBUSY);
            }
            self.c().set_memmap_on_memory(on);
        }
        Ok(())
    }

    /// Changes the ranges, or nothing if that fails.
    fn change(&self, change: Change<'_>) -> Result {
        let mut mappings = self.write()?;
        match self.shrink_or_reserve(change)? {
            FirstStep::Shrunk { count, last } => {
                self.log_last(Action::Shrink, count, last);
                mappings.trim(count, last);
                Ok(())
            }
            FirstStep::Unchanged => Ok(()),
            FirstStep::Reserved { reservation, zero } => self.gain(mappings, reservation, zero),
        }
    }

    /// Shrinks the device, or reserves what it gains. The caller holds the ranges lock. Takes
    /// the region lock.
    fn shrink_or_reserve(&self, change: Change<'_>) -> Result<FirstStep> {
        let mut state = self.region.lock();
        let (zero, had_system_ram) = (state.zero_on_alloc, state.had_system_ram);
        let granule = granule(state.record(self)?.ranges.align());
        change
            .check_aligned(granule)
            .inspect_err(|e| self.log_range_error(e))?;
        let (allocator, record) = state.editable(self)?;
        let mut layout = record.ranges.edit()?;
        let reservation = match change {
            Change::Resize(size) if size < layout.size() => {
                let last = allocator.shrink(&mut layout, size, granule, self.log_delete())?;
                let count = layout.len();
                return Ok(FirstStep::Shrunk { count, last });
            }
            Change::Resize(size) => allocator.grow(&mut layout, size, granule),
            Change::Append(ranges) => allocator.append(&mut layout, ranges, granule),
        };
        let reservation = reservation.inspect_err(|e| self.log_range_error(e))?;
        if reservation.is_empty() {
            return Ok(FirstStep::Unchanged);
        }
        drop(layout);
        if had_system_ram && reservation.memory().any(has_system_ram) {
            log::refused(self, c"the memory is online as System RAM");
            reservation.cancel(allocator);
            return Err(EBUSY);
        }
        record.zeroing = zero;
        Ok(FirstStep::Reserved { reservation, zero })
    }

    /// Gives the reserved memory to the device, zeroed if `zero`; frees it if that fails.
    /// Sleeps; takes the region lock, and takes the ranges lock again after zeroing.
    fn gain<'a>(
        &'a self,
        mut mappings: RangesGuard<'a>,
        reservation: Reservation,
        zero: bool,
    ) -> Result {
        let mut gained = Ok(());
        if zero {
            // Others must not wait for this: a task that binds the device holds the device
            // lock, and one that shuts the region down holds that of the parent. So let go
            // of the ranges lock. Meanwhile `zeroing` keeps the device as it is.
            drop(mappings);
            gained = self.zero(reservation.memory());
            mappings = self.lock_ranges();
            // If the device is gone, its mappings are being unregistered, and there must not
            // be a second `mapping0`. If it is there, nobody unregisters its mappings until we
            // release the ranges lock.
            gained = gained.and_then(|()| self.is_there());
        }
        // Register the mappings without the region lock, which must not be held across
        // `device_add()`.
        let old = mappings.list.len();
        let registered = gained.and_then(|()| mappings.register(self, reservation.added()));
        let changed = self.commit(&mappings, reservation, registered);
        if changed.is_err() {
            mappings.trim(old, None);
        }
        changed
    }

    /// Gives the reserved memory to the device. `registered` tells whether the memory was
    /// zeroed and its mappings registered; an error is returned, and the memory freed. Takes
    /// the region lock.
    fn commit(&self, mappings: &Mappings, reservation: Reservation, registered: Result) -> Result {
        let mut state = self.region.lock();
        let (allocator, mut record) = state.allocator_and_record(self);
        if let Ok(record) = &mut record {
            record.zeroing = false;
        }
        // A driver that came meanwhile waits for the ranges lock in `begin_bind()`.
        let record = registered.and(record);
        let mut layout = match record.and_then(|record| record.ranges.edit()) {
            Ok(layout) => layout,
            Err(e) => {
                reservation.cancel(allocator);
                return Err(e);
            }
        };
        let old = layout.len();
        let extended = reservation.extended();
        reservation.commit(allocator, &mut layout);
        let new = layout.entries().get(old..).unwrap_or_default();
        for (index, range) in (old..).zip(new.iter().filter_map(DevDaxRange::range)) {
            log::range(self, Action::Alloc, index, range);
        }
        drop(layout);
        drop(state);
        self.log_last(Action::Extend, old, extended);
        mappings.set_end(old, extended);
        Ok(())
    }

    /// Logs why a change is refused.
    fn log_range_error(&self, e: &RangeError) {
        match e {
            RangeError::OutOfRegion(range) => {
                log::refused_range(self, *range, c"is not within the region");
            }
            RangeError::MisalignedRange(range) => {
                log::refused_range(self, *range, c"is no multiple of the alignment");
            }
            RangeError::Overlap(range) => log::refused_range(self, *range, c"is not free"),
            RangeError::NoSpace => log::refused(self, c"too little free memory that is aligned"),
            RangeError::Misaligned => log::refused(self, c"no multiple of the alignment"),
            RangeError::NoMemory => {}
        }
    }

    /// Returns a function that takes the index of a range and the range, and logs that it is
    /// removed.
    pub(crate) fn log_delete(&self) -> impl Fn(usize, PhysRange) + '_ {
        |index, range| log::range(self, Action::Delete, index, range)
    }

    /// Logs that range `count` - 1 became `last` by `action`; nothing if `last` is `None`.
    fn log_last(&self, action: Action, count: usize, last: Option<PhysRange>) {
        if let Some(last) = last {
            log::range(self, action, count.saturating_sub(1), last);
        }
    }

    /// Unregisters all mappings of a device that is being retired. Sleeps; takes the ranges
    /// lock.
    pub(crate) fn drop_mappings(&self) {
        let mut list = core::mem::replace(&mut self.lock_ranges().list, KVVec::new());
        // Last one first, as in C.
        while let Some(mapping) = list.pop() {
            drop(mapping);
        }
    }

    /// Zeroes what kmem left in the memory, if the region wants that, and records that
    /// `driver` is about to be probed. From then on the ranges do not change. Sleeps; takes
    /// the ranges lock and the region lock.
    ///
    /// The driver core has set `dev->driver` already. A writer that gets the ranges lock
    /// after this sees that driver and fails; an earlier writer finishes before this gets
    /// the lock.
    ///
    /// # Errors
    ///
    /// `ENXIO` if the device is gone, and those of [`Region::note_zeroing`], of
    /// [`DevDax::zero_after_kmem`] and of
    /// [`DeviceRecord::begin_bind`](crate::driver::region::DeviceRecord::begin_bind).
    pub(crate) fn begin_bind(&self, driver: DriverType) -> Result {
        let mut ranges = self.lock_ranges();
        if driver != DriverType::Kmem && self.region.note_zeroing(self)? {
            drop(ranges);
            self.zero_after_kmem()?;
            ranges = self.lock_ranges();
        }
        let begun = self.region.lock().record(self)?.begin_bind(driver);
        drop(ranges);
        begun
    }

    /// Records that the driver's probe succeeded. Takes the region lock.
    pub(crate) fn bound(&self) {
        log::debug(self, c"bound");
        let mut state = self.region.lock();
        if let Ok(record) = state.record(self) {
            record.bound();
        }
        if !self.region.is_static() {
            state.clear_seed(self);
        }
    }

    /// Records that the driver's probe failed, or that its remove was called. Takes the
    /// region lock.
    pub(crate) fn unbound(&self) {
        log::debug(self, c"unbound");
        if let Ok(record) = self.region.lock().record(self) {
            record.driver = None;
        }
    }

    /// Ends all access to a device that a C driver makes unavailable: marks the dax device
    /// of super.c dead, and removes every page of the device from every page table. Sleeps.
    /// C: `kill_dev_dax()`.
    pub(crate) fn kill(&self) {
        self.c().dax().kill();
        self.c().dax().unmap_all();
    }
}

impl Mappings {
    /// Registers a mapping of `parent` for each of `ranges`, after the existing ones.
    /// After an error, the mappings registered so far are in the list. Sleeps.
    fn register(
        &mut self,
        parent: &DevDax,
        ranges: impl Iterator<Item = (PgOff, PhysRange)>,
    ) -> Result {
        for (pgoff, range) in ranges {
            let index = self.list.len();
            let mapping = Mapping::register(device(parent), index, range, pgoff)?;
            self.list.push(mapping, GFP_KERNEL)?;
        }
        Ok(())
    }

    /// Unregisters all but the first `count` mappings. The last one that is kept ends where
    /// `last` does, if given.
    fn trim(&mut self, count: usize, last: Option<PhysRange>) {
        while self.list.len() > count {
            drop(self.list.pop());
        }
        self.set_end(count, last);
    }

    /// Sets the end of mapping `count` - 1 to the end of `last`, if given.
    fn set_end(&self, count: usize, last: Option<PhysRange>) {
        let Some(range) = last else {
            return;
        };
        match count.checked_sub(1).and_then(|index| self.list.get(index)) {
            Some(mapping) => mapping.object().set_end(range),
            // Each range has a mapping.
            None => {
                warn_on!(true);
            }
        }
    }
}
