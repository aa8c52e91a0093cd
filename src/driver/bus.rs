// SPDX-License-Identifier: GPL-2.0

//! The dax bus: which driver binds to which device.

use kernel::prelude::*;

use crate::{
    driver::device::DevDax,
    ranges::parse::{
        parse_device_name,
        DeviceName, //
    },
    sys::{
        bus::{
            BusOps,
            BusType,
            OnBus,
            Uevent, //
        },
        driver::{
            Driver,
            DriverAttribute,
            DriverStore,
            DriverType, //
        },
        ids,
        sysfs::{
            AttributeList,
            Group,
            Groups, //
        }, //
    }, //
};

/// The callbacks of the dax bus.
pub(crate) struct DaxBus;

/// C: `dax_bus_type`.
pub(crate) static BUS: BusType<DaxBus> = BusType::new(c"dax", &DRIVER_GROUPS);

impl OnBus for DevDax {
    type Ops = DaxBus;

    fn bus() -> &'static BusType<DaxBus> {
        &BUS
    }
}

impl BusOps for DaxBus {
    type Device = DevDax;

    /// C: `dax_bus_match()`.
    fn matches(device: &DevDax, driver: &Driver) -> bool {
        let kind = if device.region().is_kmem() {
            DriverType::Kmem
        } else {
            DriverType::Device
        };
        // Without kmem, device_dax binds to all devices.
        if driver.kind() == kind
            || (driver.kind() == DriverType::Device && !cfg!(CONFIG_DEV_DAX_KMEM))
        {
            return true;
        }
        let name = DeviceName {
            region: device.region().id(),
            id: device.id(),
        };
        ids::contains(driver, &name)
    }

    /// C: `dax_bus_uevent()`.
    fn uevent(env: &mut Uevent<'_>) -> Result {
        env.add(c"MODALIAS=dax:t0")
    }

    /// C: `dax_bus_probe()`, the part before the driver's own probe.
    fn prepare(device: &DevDax, driver: &Driver) -> Result {
        device.begin_bind(driver.kind())
    }

    fn bound(device: &DevDax) {
        device.bound();
    }

    /// C: `dax_bus_remove()`, the part after the driver's own remove.
    fn unbound(device: &DevDax) {
        device.unbound();
    }
}

/// `new_id`: makes the driver match the device of that name, and probes such a device.
struct NewId;

impl DriverStore for NewId {
    /// C: `new_id_store()`. May sleep and probe devices.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the text is not the name of a device, `ENOMEM`, and the errors of
    /// [`Driver::attach`].
    fn store(driver: &Driver, text: &CStr) -> Result {
        ids::add(driver, &parse_device_name(text.to_bytes()).ok_or(EINVAL)?)?;
        driver.attach()
    }
}

/// `remove_id`: undoes `new_id`. An id that was never added is not an error.
struct RemoveId;

impl DriverStore for RemoveId {
    /// C: `remove_id_store()`. May sleep.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the text is not the name of a device.
    fn store(driver: &Driver, text: &CStr) -> Result {
        ids::remove(driver, &parse_device_name(text.to_bytes()).ok_or(EINVAL)?);
        Ok(())
    }
}

static NEW_ID: DriverAttribute = DriverAttribute::wo::<NewId>(c"new_id", 0o200);
static REMOVE_ID: DriverAttribute = DriverAttribute::wo::<RemoveId>(c"remove_id", 0o200);
static DRIVER_ATTRIBUTES: AttributeList<DriverAttribute, 2> =
    AttributeList::new([&NEW_ID, &REMOVE_ID]);
static DRIVER_GROUP: Group<DriverAttribute> = Group::new(None, &DRIVER_ATTRIBUTES);
static DRIVER_GROUPS: Groups<DriverAttribute> = Groups::new(&DRIVER_GROUP);
