// SPDX-License-Identifier: GPL-2.0

//! The devices that users gave to drivers by name. C: `dax_device_driver.ids`.

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

global_lock! {
    /// A leaf: taken last, held briefly.
    // SAFETY: `bus::BusType::register()` initialises it, and there are no drivers before.
    unsafe(uninit) static IDS: Mutex<Option<RBTree<Id, ()>>> = None;
}

/// To be called before there is a bus.
///
/// # Safety
///
/// Called once.
pub(super) unsafe fn init() {
    // SAFETY: By the contract.
    unsafe { IDS.init() };
}

/// From now on `driver` takes the device of that name. May sleep.
///
/// # Errors
///
/// `ENOMEM`.
pub(crate) fn add(driver: &Driver, name: &DeviceName) -> Result {
    // Of an id that is there already, the node is not needed.
    let node = RBTreeNode::new(Id::new(driver, name), (), GFP_KERNEL)?;
    let unused = {
        let mut ids = IDS.lock();
        ids.get_or_insert_with(RBTree::new).insert(node)
    };
    drop(unused);
    Ok(())
}

/// Undoes [`add`]; that there is nothing to undo is no error. May sleep.
pub(crate) fn remove(driver: &Driver, name: &DeviceName) {
    if let Some(ids) = IDS.lock().as_mut() {
        ids.remove(&Id::new(driver, name));
    }
}

/// Whether the user gave the device of that name to `driver`. May sleep.
pub(crate) fn contains(driver: &Driver, name: &DeviceName) -> bool {
    let ids = IDS.lock();
    ids.as_ref()
        .is_some_and(|ids| ids.get(&Id::new(driver, name)).is_some())
}

/// Forgets the ids of a driver that is not registered any more: as long as it is,
/// `new_id` may add some. May sleep.
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

/// Forgets all ids. May sleep.
pub(super) fn forget_all() {
    let ids = IDS.lock().take();
    drop(ids);
}
