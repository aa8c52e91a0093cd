// SPDX-License-Identifier: GPL-2.0

//! The dax bus: which driver a device goes to.

#![forbid(unsafe_code)]

use kernel::prelude::*;

use crate::abi::IDS;
use crate::device::DevDax;
use crate::parse::{parse_device_name, DeviceName};
use crate::sys::bus::{BusOps, BusType, Driver, DriverType, Uevent};
use crate::sys::sysfs::{AttributeList, DriverAttribute, DriverStore, Group, Groups};

/// A device that the user gave to a driver by name. It need not exist.
struct Id {
    driver: usize,
    name: DeviceName,
}

/// The ids of all drivers, behind [`IDS`]. C: `dax_device_driver.ids`.
pub(crate) struct Ids(KVec<Id>);

impl Ids {
    /// No ids.
    pub(crate) const fn new() -> Self {
        Self(KVec::new())
    }

    fn position(&self, driver: &Driver, name: &DeviceName) -> Option<usize> {
        self.0
            .iter()
            .position(|id| id.driver == driver.key() && id.name == *name)
    }

    /// Forgets the ids of a driver that is gone.
    pub(crate) fn forget(&mut self, driver: &Driver) {
        self.0.retain(|id| id.driver != driver.key());
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
        if IDS.lock().position(driver, &name).is_some() {
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

    /// C: `dax_bus_probe()`.
    fn probe(device: &DevDax, driver: &Driver) -> Result {
        device.begin_bind(driver)?;
        device
            .c()
            .probe_with(driver)
            .inspect_err(|_| device.unbound())?;
        device.bound();
        Ok(())
    }

    /// C: `dax_bus_remove()`.
    fn remove(device: &DevDax, driver: &Driver) {
        device.c().remove_from(driver);
        device.unbound();
    }
}

/// `new_id`: from now on the driver takes the device of that name.
struct NewId;

impl DriverStore for NewId {
    /// `EINVAL` if that is no name of a device, `ENOMEM`. C: `new_id_store()`.
    fn store(driver: &Driver, text: &[u8]) -> Result {
        let name = parse_device_name(text)?;
        {
            let mut ids = IDS.lock();
            if ids.position(driver, &name).is_none() {
                let id = Id {
                    driver: driver.key(),
                    name,
                };
                ids.0.push(id, GFP_KERNEL)?;
            }
        }
        driver.attach()
    }
}

/// `remove_id`: undoes `new_id`; that there is nothing to undo is no error.
struct RemoveId;

impl DriverStore for RemoveId {
    /// `EINVAL` if that is no name of a device. C: `remove_id_store()`.
    fn store(driver: &Driver, text: &[u8]) -> Result {
        let name = parse_device_name(text)?;
        let mut ids = IDS.lock();
        if let Some(index) = ids.position(driver, &name) {
            // The index is in range, so this cannot fail.
            let _ = ids.0.remove(index);
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
