// SPDX-License-Identifier: GPL-2.0

//! Regions: a span of physical memory that devices are carved from.
//!
//! C: `struct dax_region` and what bus.c does with it.
//!
//! All that changes in a region, its devices' ranges included, is behind one
//! mutex, [`Region::lock`]. It is held for look-ups and for applying a plan,
//! never while a device is registered or unregistered, never while a driver is
//! probed or removed, and never while waiting for a sysfs reader or writer.

#![forbid(unsafe_code)]

use kernel::device::Device;
use kernel::new_mutex;
use kernel::prelude::*;
use kernel::rbtree::{RBTree, RBTreeNodeReservation};
use kernel::sync::aref::ARef;
use kernel::sync::lock::mutex::MutexBackend;
use kernel::sync::lock::Guard;
use kernel::sync::{Arc, Mutex};

use crate::device::{DevDax, Spec};
use crate::layout::Layout;
use crate::range::{Align, PhysRange};
use crate::space::Space;
use crate::sys::bus::DriverType;
use crate::sys::dev_dax::CRegion;
use crate::sys::device::{has_driver, Ref, Registered};
use crate::sys::ida::Ida;
use crate::sys::resource::Span;
use crate::sys::sysfs::AddedGroups;

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
///
/// # Invariants
///
/// Lives in an `Arc`, see [`Region::new`].
#[pin_data]
#[repr(C)]
pub(crate) struct Region {
    /// What C sees; first, so that the addresses are the same.
    #[pin]
    c: CRegion,
    config: Config,
    parent: ARef<Device>,
    #[pin]
    ids: Ida,
    #[pin]
    state: Mutex<State>,
}

/// What changes in a region.
pub(crate) struct State {
    /// The parent is being unbound: nothing may be added or changed any more.
    dead: bool,
    /// What of the span is free.
    space: Space,
    /// Its devices, by instance id. A device that is not here is gone, even if
    /// somebody still refers to it.
    devices: RBTree<i32, Record>,
    /// The first device that was created by the user and was never bound.
    seed: Option<i32>,
    /// The device that the user created last.
    youngest: Option<i32>,
}

/// What a region knows of a device.
pub(crate) struct Record {
    /// Its memory. Does not change while a driver is bound.
    pub(crate) layout: Layout,
    /// Start, length and page offset of each range are multiples of it.
    pub(crate) align: Align,
    /// The driver that is bound or being bound.
    pub(crate) driver: Option<DriverType>,
    /// Whether a driver ever was bound: then it is no seed.
    sprouted: bool,
    /// The device; `None` until it is registered.
    device: Option<Registered<DevDax>>,
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
            dead: false,
            space: Space::new(config.span)?,
            devices: RBTree::new(),
            seed: None,
            youngest: None,
        };
        let (id, target_node, align) = (config.id, config.target_node, config.align);
        Arc::pin_init(
            try_pin_init!(Self {
                c: CRegion::new(id, target_node, align),
                config,
                parent: parent.into(),
                ids <- Ida::new(),
                state <- new_mutex!(state, "dax_region::state"),
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
    pub(crate) fn parent(&self) -> &Device {
        &self.parent
    }

    /// What C sees.
    pub(crate) fn c(&self) -> &CRegion {
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
        let id = DevDax::create(self, Spec::empty())?.id();
        self.lock().set_youngest(id);
        Ok(())
    }

    /// Deletes a device that is empty and not bound. C: `delete_store()`.
    ///
    /// # Errors
    ///
    /// `ENXIO` if there is no such device; `EBUSY` if it has a size or a driver,
    /// or is the one that keeps `/sys/bus/dax` populated, id 0.
    pub(crate) fn delete(&self, id: i32) -> Result {
        let device = self.lock().device(id)?.clone();
        let record = {
            // A resize that is under way ends first.
            let _edit = device.edit();
            let mut state = self.lock();
            let record = state.record(&device)?;
            if id == 0 || has_driver::<DevDax>(&device) || record.layout.size() != 0 {
                return Err(EBUSY);
            }
            state.remove(id).ok_or(ENXIO)?
        };
        self.retire(id, record);
        Ok(())
    }

    /// Unregisters a device that was taken out of the region and frees what it
    /// had. Sleeps; no lock is held. C: `unregister_dev_dax()`.
    pub(crate) fn retire(&self, id: i32, mut record: Record) {
        if let Some(registered) = record.device.take() {
            let device = registered.object().clone();
            device.drop_mappings();
            drop(registered);
            device.hide_layout();
        }
        self.lock().space.release_all(&mut record.layout);
        if !self.is_static() {
            self.ids.free(id);
        }
    }

    /// Takes the region out of service: the parent is being unbound.
    ///
    /// The owner has removed the region's attributes already, so nobody creates
    /// or deletes devices; writers to devices' attributes find them gone.
    fn shut_down(&self) {
        loop {
            let Some((id, record)) = self.lock().remove_any() else {
                break;
            };
            self.retire(id, record);
        }
    }
}

impl State {
    /// The registered device `id`.
    ///
    /// # Errors
    ///
    /// `ENXIO` if there is none.
    fn device(&self, id: i32) -> Result<&Ref<DevDax>> {
        let record = self.devices.get(&id).ok_or(ENXIO)?;
        Ok(record.device.as_ref().ok_or(ENXIO)?.object())
    }

    /// The record of `device`.
    ///
    /// # Errors
    ///
    /// `ENXIO` if the device is gone.
    pub(crate) fn record(&mut self, device: &DevDax) -> Result<&mut Record> {
        Ok(self.parts(device)?.1)
    }

    /// What of the region is free, and the record of `device`.
    ///
    /// # Errors
    ///
    /// `ENXIO` if the device is gone.
    pub(crate) fn parts(&mut self, device: &DevDax) -> Result<(&mut Space, &mut Record)> {
        let record = self.devices.get_mut(&device.id()).ok_or(ENXIO)?;
        match &record.device {
            // The id may have been given to another device since.
            Some(other) if !core::ptr::eq::<DevDax>(&**other.object(), device) => Err(ENXIO),
            _ => Ok((&mut self.space, record)),
        }
    }

    /// Like [`State::parts`], for a writer: nothing in use may be changed.
    ///
    /// # Errors
    ///
    /// `ENXIO` if the device or the region is gone or going, `EBUSY` if a driver
    /// is bound.
    pub(crate) fn editable(&mut self, device: &DevDax) -> Result<(&mut Space, &mut Record)> {
        if self.dead {
            return Err(ENXIO);
        }
        let parts = self.parts(device)?;
        if has_driver(device) {
            return Err(EBUSY);
        }
        Ok(parts)
    }

    /// What of the region is free.
    pub(crate) fn space(&mut self) -> &mut Space {
        &mut self.space
    }

    /// Adds a device that is about to be registered, with `initial` as its range
    /// if there is one.
    ///
    /// # Errors
    ///
    /// `ENXIO` if the region is going away, `EEXIST` if the id is taken, and what
    /// [`Space::take_exact`] fails with; nothing is changed then.
    pub(crate) fn insert(
        &mut self,
        id: i32,
        initial: Option<PhysRange>,
        align: Align,
        node: RBTreeNodeReservation<i32, Record>,
    ) -> Result<&Layout> {
        if self.dead {
            return Err(ENXIO);
        }
        if self.devices.get(&id).is_some() {
            return Err(EEXIST);
        }
        let mut layout = Layout::new();
        if let Some(range) = initial {
            self.space.take_exact(&mut layout, range, align)?;
        }
        let record = Record {
            layout,
            align,
            driver: None,
            sprouted: false,
            device: None,
        };
        self.devices.insert(node.into_node(id, record));
        Ok(&self.devices.get(&id).ok_or(ENXIO)?.layout)
    }

    /// The device that was added as `id` is registered now. Gives it back if it
    /// was removed: it must not be unregistered under the lock.
    pub(crate) fn set_registered(
        &mut self,
        id: i32,
        device: Registered<DevDax>,
    ) -> Option<Registered<DevDax>> {
        match self.devices.get_mut(&id) {
            Some(record) => record.device.replace(device),
            None => Some(device),
        }
    }

    /// Takes a device out of the region: from now on it is gone for everyone.
    pub(crate) fn remove(&mut self, id: i32) -> Option<Record> {
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
    fn remove_any(&mut self) -> Option<(i32, Record)> {
        let id = *self.devices.cursor_back()?.current().0;
        Some((id, self.remove(id)?))
    }

    /// The user created device `id`. It may be bound already, or gone.
    fn set_youngest(&mut self, id: i32) {
        if let Some(record) = self.devices.get(&id) {
            if !record.sprouted {
                self.seed.get_or_insert(id);
            }
            self.youngest = Some(id);
        }
    }

    /// A driver was bound to `id`, which therefore is no seed any more.
    pub(crate) fn sprout(&mut self, id: i32) {
        if let Some(record) = self.devices.get_mut(&id) {
            record.sprouted = true;
        }
        if self.seed == Some(id) {
            self.seed = None;
        }
    }
}

/// A region that is in service: in the tree of all regions, in sysfs, with
/// devices. Owned by the parent's driver binding; dropping it ends all that.
pub(crate) struct Registration {
    region: Arc<Region>,
    groups: Option<AddedGroups>,
    _span: Span,
}

impl Registration {
    /// Puts `region` in service, once its attributes were added.
    pub(crate) fn new(region: Arc<Region>, groups: AddedGroups, span: Span) -> Self {
        Self {
            region,
            groups: Some(groups),
            _span: span,
        }
    }
}

impl Drop for Registration {
    /// C: `dax_region_unregister()` and the devices' own devres actions.
    fn drop(&mut self) {
        self.region.lock().dead = true;
        // Waits for whoever is creating or deleting a device.
        drop(self.groups.take());
        self.region.shut_down();
    }
}
