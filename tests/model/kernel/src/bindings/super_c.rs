// SPDX-License-Identifier: GPL-2.0

//! drivers/dax/super.c: which dax devices are alive, and who relies on that.

use std::cell::Cell;
use std::rc::Rc;

use super::*;
use crate::alloc::Memory;
use crate::error::code::ENOMEM;
use crate::ffi::{c_int, c_void};
use crate::memory;
use crate::sched;

/// The model's data of a `struct dax_device`.
struct Known {
    raw: *mut dax_device,
    inode: *mut inode,
    mapping: *mut address_space,
    minor: u32,
    alive: Cell<bool>,
    _memory: Memory,
}

#[derive(Default)]
struct DaxDevices(Vec<Rc<Known>>);

/// SRCU: the sections that are open, by number.
#[derive(Default)]
struct Readers {
    last: c_int,
    open: Vec<c_int>,
}

fn known(raw: *mut dax_device, what: &str) -> Rc<Known> {
    let find = |all: &mut DaxDevices| all.0.iter().find(|known| known.raw == raw).cloned();
    match sched::part(find) {
        Some(known) => known,
        None => sched::violation(format!("{what}: the dax device was freed before")),
    }
}

/// `alloc_dax()`.
///
/// # Safety
///
/// The contract is that of the C function. This holds for all functions here.
pub unsafe extern "C" fn alloc_dax(_private: *mut c_void, _ops: *const c_void) -> *mut dax_device {
    let Ok(memory) = Memory::new() else {
        return ENOMEM.to_ptr();
    };
    let taken: Vec<u32> =
        sched::part(|all: &mut DaxDevices| all.0.iter().map(|known| known.minor).collect());
    let minor = (1..)
        .find(|minor| !taken.contains(minor))
        .expect("there are more numbers");
    let mapping = Box::into_raw(Box::new(address_space {
        a_ops: core::ptr::null(),
    }));
    let inode = Box::into_raw(Box::new(inode {
        i_mapping: mapping,
        i_rdev: minor,
        i_cdev: core::ptr::null_mut(),
    }));
    let raw = Box::into_raw(Box::new(dax_device { _opaque: [0; 2] }));
    let known = Known {
        raw,
        inode,
        mapping,
        minor,
        alive: Cell::new(true),
        _memory: memory,
    };
    sched::part(|all: &mut DaxDevices| all.0.push(Rc::new(known)));
    raw
}

/// `put_dax()`: the last reference.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn put_dax(raw: *mut dax_device) {
    if sched::inert() {
        return;
    }
    let this = known(raw, "put_dax()");
    sched::require(
        !this.alive.get(),
        "put_dax(): kill_dax() must be called before final iput()",
    );
    sched::require(
        !is_anything_mapped(this.mapping),
        "put_dax(): pages are mapped of an address space that goes",
    );
    sched::part(|all: &mut DaxDevices| all.0.retain(|known| known.raw != raw));
    // SAFETY: They came from `Box::into_raw`, and nobody knows them any more.
    unsafe {
        memory::free(
            this.mapping.cast(),
            std::alloc::Layout::new::<address_space>(),
        );
        memory::free(this.inode.cast(), std::alloc::Layout::new::<inode>());
        memory::free(raw.cast(), std::alloc::Layout::new::<dax_device>());
    }
}

/// `dax_inode()`.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn dax_inode(raw: *mut dax_device) -> *mut inode {
    known(raw, "dax_inode()").inode
}

/// `run_dax()`.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn run_dax(raw: *mut dax_device) {
    let this = known(raw, "run_dax()");
    sched::require(
        !this.alive.replace(true),
        "run_dax(): it is alive, and somebody else's",
    );
}

/// `dax_alive()` of a device of the bus.
///
/// # Safety
///
/// The device is inside of a `struct dev_dax` and lives.
pub unsafe fn is_alive(dev: *mut device) -> bool {
    // SAFETY: By the contract.
    known(
        unsafe { (*super::pages::dev_dax_of(dev)).dax_dev },
        "dax_alive()",
    )
    .alive
    .get()
}

/// `kill_dax()`: waits for those who may have seen it alive.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn kill_dax(raw: *mut dax_device) {
    if sched::inert() {
        return;
    }
    let this = known(raw, "kill_dax()");
    this.alive.set(false);
    let before = sched::part(|readers: &mut Readers| readers.open.clone());
    if !before.is_empty() {
        sched::wait_until(|| "an SRCU grace period".to_owned(), &|| {
            sched::part(|readers: &mut Readers| {
                !readers.open.iter().any(|reader| before.contains(reader))
            })
        });
    }
}

/// `dax_read_lock()`.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn dax_read_lock() -> c_int {
    sched::part(|readers: &mut Readers| {
        readers.last += 1;
        readers.open.push(readers.last);
        readers.last
    })
}

/// `dax_read_unlock()`.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn dax_read_unlock(id: c_int) {
    if !sched::inert() {
        sched::part(|readers: &mut Readers| readers.open.retain(|reader| *reader != id));
    }
}

/// `set_dax_synchronous()`.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn set_dax_synchronous(_: *mut dax_device) {}

/// `set_dax_nocache()`.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn set_dax_nocache(_: *mut dax_device) {}

/// `set_dax_nomc()`.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn set_dax_nomc(_: *mut dax_device) {}

/// Number of dax devices.
pub fn dax_devices() -> usize {
    sched::part(|all: &mut DaxDevices| all.0.len())
}
