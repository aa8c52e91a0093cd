// SPDX-License-Identifier: GPL-2.0

//! drivers/base/devres.c: the resources that unbinding a driver releases.

use std::cell::{Cell, RefCell};

use super::*;
use crate::alloc::Memory;
use crate::ffi::{c_int, c_void};
use crate::sched;

/// The managed resources of a device.
#[derive(Default)]
pub(crate) struct Devres {
    list: RefCell<Vec<Resource>>,
    groups: Cell<usize>,
}

enum Resource {
    /// The start of a group that was not closed.
    Group(usize),
    /// An action to run at the end.
    Action(
        Box<dyn FnOnce()>,
        #[allow(dead_code, reason = "freed with it")] Option<Memory>,
    ),
}

impl Devres {
    /// Adds something to be done at the end.
    pub(crate) fn add(&self, memory: Option<Memory>, action: impl FnOnce() + 'static) {
        self.list
            .borrow_mut()
            .push(Resource::Action(Box::new(action), memory));
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.list.borrow().is_empty()
    }

    /// `devres_release_all()`: last come, first gone.
    pub(crate) fn release_all(&self) {
        let list = std::mem::take(&mut *self.list.borrow_mut());
        Self::run(list);
    }

    fn run(list: Vec<Resource>) {
        for resource in list.into_iter().rev() {
            if let Resource::Action(action, memory) = resource {
                action();
                drop(memory);
            }
        }
    }
}

/// `devres_open_group()`, with an id of its own.
///
/// # Safety
///
/// The contract is that of the C function. This holds for all functions here.
pub unsafe extern "C" fn devres_open_group(
    dev: *mut device,
    _id: *mut c_void,
    _flags: u32,
) -> *mut c_void {
    let core = core(dev, "devres_open_group()");
    if sched::fails("devres_open_group()") {
        return core::ptr::null_mut();
    }
    let id = core.devres.groups.get() + 1;
    core.devres.groups.set(id);
    core.devres.list.borrow_mut().push(Resource::Group(id));
    id as *mut c_void
}

/// `devres_release_group()`: all that was added since the group was opened.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn devres_release_group(dev: *mut device, id: *mut c_void) -> c_int {
    if sched::inert() {
        return 0;
    }
    let core = core(dev, "devres_release_group()");
    let mut list = core.devres.list.borrow_mut();
    let at = list
        .iter()
        .position(|r| matches!(r, Resource::Group(group) if *group == id as usize));
    let Some(at) = at else {
        sched::violation("devres_release_group(): there is no such group");
    };
    let group = list.split_off(at);
    drop(list);
    let count = group.len();
    Devres::run(group);
    count as c_int
}
