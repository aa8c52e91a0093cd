// SPDX-License-Identifier: GPL-2.0

//! The ids of drivers: names of devices that users wrote to `new_id`.
//! C: `dax_device_driver.ids`.

use kernel::{
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNode, //
    },
    sync::global_lock, //
};

use super::driver::Driver;

use crate::ranges::parse::DeviceName;

/// The name of a device that the user gave to a driver. There need not be such a device.
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

global_lock! {
    /// The ids of all drivers. A leaf lock: no other lock is taken under it.
    // SAFETY: `BusType::register()` initialises it before it registers the bus. All other
    // uses need a driver, and no driver can be registered before the bus.
    unsafe(uninit) static IDS: Mutex<Option<RBTree<Id, ()>>> = None;
}

/// Initialises the ids.
///
/// # Safety
///
/// Called only once, and before every other function of this file.
pub(super) unsafe fn init() {
    // SAFETY: By the contract this is the first and only call.
    unsafe { IDS.init() };
}

/// Makes `driver` match the device of that name. May sleep.
///
/// # Errors
///
/// `ENOMEM`.
pub(crate) fn add(driver: &Driver, name: &DeviceName) -> Result {
    // If the id is there already, `insert` returns a node; drop that without the lock.
    let node = RBTreeNode::new(Id::new(driver, name), (), GFP_KERNEL)?;
    let unused = {
        let mut ids = IDS.lock();
        ids.get_or_insert_with(RBTree::new).insert(node)
    };
    drop(unused);
    Ok(())
}

/// Undoes [`add`]. An id that was never added is not an error. May sleep.
pub(crate) fn remove(driver: &Driver, name: &DeviceName) {
    if let Some(ids) = IDS.lock().as_mut() {
        ids.remove(&Id::new(driver, name));
    }
}

/// Whether `driver` matches the device of that name by id. May sleep.
pub(crate) fn contains(driver: &Driver, name: &DeviceName) -> bool {
    let ids = IDS.lock();
    ids.as_ref()
        .is_some_and(|ids| ids.get(&Id::new(driver, name)).is_some())
}

/// Forgets all ids of a driver. Called after the driver was unregistered, since `new_id`
/// may add ids until then. May sleep.
pub(crate) fn forget(driver: &Driver) {
    let mut guard = IDS.lock();
    let Some(ids) = guard.as_mut() else {
        return;
    };
    let first = Id {
        driver: driver.key(),
        region: i32::MIN,
        device: i32::MIN,
    };
    loop {
        let cursor = ids.cursor_lower_bound(&first);
        let found = cursor.map(|cursor| *cursor.current().0);
        let Some(id) = found.filter(|id| id.driver == first.driver) else {
            break;
        };
        ids.remove(&id);
    }
}

/// Forgets the ids of all drivers. May sleep.
pub(super) fn forget_all() {
    let ids = IDS.lock().take();
    drop(ids);
}
