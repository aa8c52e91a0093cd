// SPDX-License-Identifier: GPL-2.0

//! The dax bus: which driver a device goes to.

#![forbid(unsafe_code)]

use kernel::prelude::*;
use kernel::rbtree::{RBTree, RBTreeNode};

use crate::abi::IDS;
use crate::device::DevDax;
use crate::parse::{parse_device_name, DeviceName};
use crate::sys::bus::{BusOps, BusType, Driver, DriverType, Uevent};
use crate::sys::sysfs::{AttributeList, DriverAttribute, DriverStore, Group, Groups};

/// A device that the user gave to a driver by name. It need not exist.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Id {
    driver: usize,
    region: i32,
    device: i32,
}

impl Id {
    fn new(driver: &Driver, name: &DeviceName) -> Self {
        Self {
            driver: driver.key(),
            region: name.region,
            device: name.id,
        }
    }
}

/// The ids of all drivers, behind [`IDS`]. C: `dax_device_driver.ids`.
pub(crate) struct Ids(RBTree<Id, ()>);

impl Ids {
    /// No ids.
    pub(crate) fn new() -> Self {
        Self(RBTree::new())
    }

    /// Forgets the ids of a driver that is gone.
    pub(crate) fn forget(&mut self, driver: usize) {
        loop {
            let first = Id {
                driver,
                region: i32::MIN,
                device: i32::MIN,
            };
            let cursor = self.0.cursor_lower_bound(&first);
            let found = cursor.map(|cursor| *cursor.current().0);
            let Some(id) = found.filter(|id| id.driver == driver) else {
                break;
            };
            self.0.remove(&id);
        }
    }
}

/// The bus.
pub(crate) struct DaxBus;

/// C: `dax_bus_type`.
pub(crate) static BUS: BusType<DaxBus> = BusType::new(c"dax", &DRIVER_GROUPS);

impl BusOps for DaxBus {
    type Device = DevDax;

    /// C: `dax_bus_match()`.
    fn matches(device: &DevDax, driver: &Driver) -> bool {
        let name = DeviceName {
            region: device.region().id(),
            id: device.id(),
        };
        if has_id(driver, &name) {
            return true;
        }
        let kind = if device.region().is_kmem() {
            DriverType::Kmem
        } else {
            DriverType::Device
        };
        // Without kmem there is only one driver for all devices.
        driver.kind() == kind || (driver.kind() == DriverType::Device && !cfg!(CONFIG_DEV_DAX_KMEM))
    }

    /// C: `dax_bus_uevent()`.
    fn uevent(env: &mut Uevent<'_>) -> Result {
        env.add(c"MODALIAS=dax:t0")
    }

    /// C: `dax_bus_probe()`, which calls the driver's probe after this.
    fn prepare(device: &DevDax, driver: &Driver) -> Result {
        device.begin_bind(driver.kind())
    }

    fn bound(device: &DevDax) {
        device.bound();
    }

    /// C: `dax_bus_remove()`, which calls the driver's remove before this.
    fn unbound(device: &DevDax) {
        device.unbound();
    }
}

/// Whether the user gave the device of that name to `driver`.
fn has_id(driver: &Driver, name: &DeviceName) -> bool {
    IDS.lock()
        .as_ref()
        .is_some_and(|ids| ids.0.get(&Id::new(driver, name)).is_some())
}

/// `new_id`: from now on the driver takes the device of that name.
struct NewId;

impl DriverStore for NewId {
    /// `EINVAL` if that is no name of a device, `ENOMEM`. C: `new_id_store()`.
    fn store(driver: &Driver, text: &[u8]) -> Result {
        let id = Id::new(driver, &parse_device_name(text)?);
        // Of an id that is there already, the node is not needed.
        let node = RBTreeNode::new(id, (), GFP_KERNEL)?;
        let spare = {
            let mut ids = IDS.lock();
            ids.get_or_insert_with(Ids::new).0.insert(node)
        };
        drop(spare);
        driver.attach()
    }
}

/// `remove_id`: undoes `new_id`; that there is nothing to undo is no error.
struct RemoveId;

impl DriverStore for RemoveId {
    /// `EINVAL` if that is no name of a device. C: `remove_id_store()`.
    fn store(driver: &Driver, text: &[u8]) -> Result {
        let id = Id::new(driver, &parse_device_name(text)?);
        if let Some(ids) = IDS.lock().as_mut() {
            ids.0.remove(&id);
        }
        Ok(())
    }
}

static NEW_ID: DriverAttribute = DriverAttribute::wo::<NewId>(c"new_id", 0o200);
static REMOVE_ID: DriverAttribute = DriverAttribute::wo::<RemoveId>(c"remove_id", 0o200);
static DRIVER_ATTRIBUTES: AttributeList<DriverAttribute, 2> =
    AttributeList::new([&NEW_ID, &REMOVE_ID]);
static DRIVER_GROUP: Group<DriverAttribute> = Group::new(None, &DRIVER_ATTRIBUTES);
static DRIVER_GROUPS: Groups<DriverAttribute> = Groups::new(&DRIVER_GROUP);
