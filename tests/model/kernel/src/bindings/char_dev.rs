// SPDX-License-Identifier: GPL-2.0

//! fs/char_dev.c and the VFS around it: opening and closing of character devices.

use std::cell::Cell;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use super::*;
use crate::alloc::Memory;
use crate::error::code::{ENODEV, ENOENT, ENOMEM, ENXIO};
use crate::error::{Error, Result};
use crate::ffi::{c_int, c_uint};
use crate::memory;
use crate::sched;

/// The model's data of a cdev.
struct Known {
    raw: *mut cdev,
    references: Cell<i32>,
    added: Cell<bool>,
    _memory: Memory,
}

/// All cdevs.
#[derive(Default)]
struct Cdevs(Vec<Rc<Known>>);

fn known(raw: *const cdev, what: &str) -> Rc<Known> {
    let find = |cdevs: &mut Cdevs| cdevs.0.iter().find(|k| k.raw.cast_const() == raw).cloned();
    match sched::part(find) {
        Some(known) => known,
        None => sched::violation(format!("{what}: the cdev was freed before")),
    }
}

/// Whether a kobject is that of a cdev.
pub(crate) fn is_cdev(kobj: *const kobject) -> bool {
    sched::part(|cdevs: &mut Cdevs| cdevs.0.iter().any(|k| k.raw.cast_const().cast() == kobj))
}

/// `cdev_alloc()`.
///
/// # Safety
///
/// The contract is that of the C function. This holds for all functions here.
pub unsafe extern "C" fn cdev_alloc() -> *mut cdev {
    let Ok(memory) = Memory::new() else {
        return core::ptr::null_mut();
    };
    let raw = Box::into_raw(Box::new(cdev {
        kobj: kobject {
            parent: core::ptr::null_mut(),
            _opaque: 0,
        },
        owner: core::ptr::null_mut(),
        ops: core::ptr::null(),
        dev: 0,
    }));
    let known = Known {
        raw,
        references: Cell::new(1),
        added: Cell::new(false),
        _memory: memory,
    };
    sched::part(|cdevs: &mut Cdevs| cdevs.0.push(Rc::new(known)));
    raw
}

/// `cdev_set_parent()`.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn cdev_set_parent(raw: *mut cdev, kobj: *mut kobject) {
    // SAFETY: By the contract.
    unsafe { (*raw).kobj.parent = kobj };
}

/// `cdev_add()`.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn cdev_add(raw: *mut cdev, dev: dev_t, _count: c_uint) -> c_int {
    let this = known(raw, "cdev_add()");
    if sched::fails("cdev_add()") {
        return ENOMEM.to_errno();
    }
    sched::point(|| format!("cdev_add({dev})"));
    let same = |cdevs: &mut Cdevs| {
        // SAFETY: Known cdevs are valid.
        cdevs
            .0
            .iter()
            .any(|k| k.added.get() && unsafe { (*k.raw).dev } == dev)
    };
    sched::require(!sched::part(same), "cdev_add(): the number is taken");
    this.added.set(true);
    // SAFETY: By the contract.
    unsafe { (*raw).dev = dev };
    // SAFETY: By the contract; the parent is a device.
    unsafe { get_device((*raw).kobj.parent.cast()) };
    0
}

/// `cdev_del()`: nobody finds it any more. Files go on to refer to it.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn cdev_del(raw: *mut cdev) {
    if sched::inert() {
        return;
    }
    let this = known(raw, "cdev_del()");
    sched::point(|| "cdev_del()".to_owned());
    sched::require(this.added.replace(false), "cdev_del(): it was not added");
    // SAFETY: By the contract.
    unsafe { put_cdev(raw) };
}

/// `cdev_put()`, but for the module: the last one frees it and lets go of its parent.
///
/// # Safety
///
/// The caller owns a reference.
pub(crate) unsafe fn put_cdev(raw: *mut cdev) {
    if sched::inert() {
        return;
    }
    let this = known(raw, "cdev_put()");
    this.references.set(this.references.get() - 1);
    if this.references.get() > 0 {
        return;
    }
    // SAFETY: It is known.
    let parent = unsafe { (*raw).kobj.parent };
    purge(raw);
    sched::part(|cdevs: &mut Cdevs| cdevs.0.retain(|k| k.raw != raw));
    // SAFETY: It came from `Box::into_raw` and has no destructor.
    unsafe { memory::free(raw.cast(), std::alloc::Layout::new::<cdev>()) };
    // SAFETY: The reference of cdev_add(); there is no parent without one.
    unsafe { kobject_put(parent) };
}

/// A file that is open, as often as it is used: by who opened it, and by each mapping.
/// When the last of them is dropped it is closed.
#[derive(Clone)]
pub struct OpenFile(Arc<Struct>);

/// `struct file` and its inode.
pub(crate) struct Struct {
    pub(crate) file: *mut file,
    node: Rc<Node>,
}

/// A node in /dev: its inode remembers the cdev that it was opened as, as long as that
/// exists.
struct Node {
    dev: *const device,
    inode: *mut inode,
}

/// The nodes in /dev, and those that are open and not there any more.
#[derive(Default)]
struct Nodes {
    there: Vec<Rc<Node>>,
    all: Vec<Weak<Node>>,
}

impl Drop for Node {
    fn drop(&mut self) {
        if !sched::inert() {
            // SAFETY: It came from `Box::into_raw`, and nobody has it open.
            unsafe { memory::free(self.inode.cast(), std::alloc::Layout::new::<inode>()) };
        }
    }
}

/// `devtmpfs_create_node()`.
pub(crate) fn create_node(dev: *const device) {
    // SAFETY: The device is being added.
    let i_rdev = unsafe { (*dev).devt };
    let inode = Box::into_raw(Box::new(inode {
        i_mapping: core::ptr::null_mut(),
        i_rdev,
        i_cdev: core::ptr::null_mut(),
    }));
    let node = Rc::new(Node { dev, inode });
    sched::part(|nodes: &mut Nodes| {
        nodes.all.push(Rc::downgrade(&node));
        nodes.there.push(node);
    });
}

/// `devtmpfs_delete_node()`.
pub(crate) fn delete_node(dev: *const device) {
    let gone = sched::part(|nodes: &mut Nodes| {
        let at = nodes.there.iter().position(|node| node.dev == dev)?;
        Some(nodes.there.remove(at))
    });
    drop(gone);
}

/// `cdev_purge()`: no inode refers to a cdev that goes.
fn purge(raw: *mut cdev) {
    let all: Vec<Rc<Node>> = sched::part(|nodes: &mut Nodes| {
        nodes.all.retain(|node| node.strong_count() > 0);
        nodes.all.iter().filter_map(Weak::upgrade).collect()
    });
    for node in all {
        // SAFETY: The inode is the node's.
        unsafe {
            if (*node.inode).i_cdev == raw {
                (*node.inode).i_cdev = core::ptr::null_mut();
            }
        }
    }
}

// SAFETY: All tasks of the model are on one thread of the host.
unsafe impl Send for Struct {}
// SAFETY: As above.
unsafe impl Sync for Struct {}

impl OpenFile {
    pub(crate) fn raw(&self) -> *mut file {
        self.0.file
    }

    /// `open(2)` of the node of that device.
    ///
    /// # Errors
    ///
    /// The errno that the caller gets.
    pub fn open(name: &str) -> Result<Self> {
        sched::point(|| format!("open /dev/{name}"));
        let node = {
            let dev = find_device(name).ok_or(ENOENT)?.raw().cast_const();
            let find = |nodes: &mut Nodes| nodes.there.iter().find(|n| n.dev == dev).cloned();
            sched::part(find).ok_or(ENOENT)?
        };
        let inode = node.inode;
        // chrdev_open()
        sched::point(|| format!("look for the cdev of {name}"));
        // SAFETY: The inode is the node's.
        let (cached, devt) = unsafe { ((*inode).i_cdev, (*inode).i_rdev) };
        let known = match cached.is_null() {
            false => known(cached, "the cdev that an inode remembers"),
            true => {
                let find = |cdevs: &mut Cdevs| {
                    // SAFETY: Known cdevs are valid.
                    let mut all = cdevs.0.iter();
                    all.find(|k| k.added.get() && unsafe { (*k.raw).dev } == devt)
                        .cloned()
                };
                sched::part(find).ok_or(ENXIO)?
            }
        };
        if !try_get_module() {
            return Err(ENODEV);
        }
        known.references.set(known.references.get() + 1);
        let raw = known.raw;
        // SAFETY: We own a reference of the cdev, and the inode is the node's.
        let ops = unsafe {
            (*inode).i_cdev = raw;
            (*raw).ops
        };
        let file = Box::into_raw(Box::new(file {
            f_mapping: core::ptr::null_mut(),
            private_data: core::ptr::null_mut(),
            f_op: ops,
            f_inode: inode,
        }));
        let opened = Struct { file, node };
        // SAFETY: Operations are static.
        let open = unsafe { (*ops).open }.expect("the driver has an open");
        // SAFETY: By the contract of the operations.
        let result = unsafe { open(inode, file) };
        sched::trace(|| format!("open /dev/{name}: {result}"));
        if result != 0 {
            opened.put(raw);
            // The file was not opened, so it must not be closed.
            let opened = std::mem::ManuallyDrop::new(opened);
            // SAFETY: Once, instead of the destructor.
            drop(unsafe { std::ptr::read(&opened.node) });
            return Err(Error::from_errno(result));
        }
        Ok(Self(Arc::new(opened)))
    }
}

impl Struct {
    fn put(&self, cdev: *mut cdev) {
        // SAFETY: The reference of open().
        unsafe { put_cdev(cdev) };
        put_module();
        // SAFETY: Ours, and nobody else's any more.
        unsafe { memory::free(self.file.cast(), std::alloc::Layout::new::<file>()) };
    }
}

impl Drop for Struct {
    /// `__fput()`
    fn drop(&mut self) {
        if sched::inert() {
            return;
        }
        sched::point(|| "close a file".to_owned());
        // SAFETY: The file is open; operations are static.
        let cdev = unsafe {
            let release = (*(*self.file).f_op)
                .release
                .expect("the driver has a release");
            release(self.node.inode, self.file);
            (*self.node.inode).i_cdev
        };
        self.put(cdev);
    }
}

/// `SEEK_END` of `lseek(2)`.
pub const SEEK_END: u32 = 2;

/// `noop_llseek()`.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn noop_llseek(_: *mut file, _: loff_t, _: c_int) -> loff_t {
    0
}

/// The device of the cdev of an open file.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn dax_glue_inode_device(inode: *const inode) -> *mut device {
    // SAFETY: The caller has the inode open.
    let raw = unsafe { (*inode).i_cdev };
    known(raw, "the cdev of a file");
    // SAFETY: It is known.
    unsafe { (*raw).kobj.parent.cast() }
}

/// The address space of a file.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn dax_glue_file_set_mapping(
    _inode: *mut inode,
    file: *mut file,
    mapping: *mut address_space,
) {
    // SAFETY: The file is being opened.
    unsafe { (*file).f_mapping = mapping };
}
