// SPDX-License-Identifier: GPL-2.0

//! fs/sysfs and fs/kernfs: files of a device or a driver. A task that reads or writes a file has an
//! active reference, and removal of the file waits for it.

use std::cell::{Cell, RefCell};
use std::ffi::{CStr, CString};
use std::rc::Rc;

use super::*;
use crate::error::code::{EACCES, EIO, ENODEV, ENOENT, ENOMEM};
use crate::error::{Error, Result};
use crate::ffi::c_int;
use crate::lockdep;
use crate::sched;

/// One file.
pub(crate) struct File {
    name: String,
    attribute: *const attribute,
    /// Which groups it was made by, to remove them.
    groups: usize,
    mode: umode_t,
    active: Cell<usize>,
    gone: Cell<bool>,
    class: String,
}

/// The files of a device or a driver.
#[derive(Default)]
pub(crate) struct Files(RefCell<Vec<Rc<File>>>);

/// The groups of a NULL-terminated array, and the attributes in each.
unsafe fn attributes(
    groups: *const *const attribute_group,
) -> Vec<(*const attribute_group, Vec<*const attribute>)> {
    let mut found = Vec::new();
    let mut at = groups;
    // SAFETY: The array ends with NULL, and so does the one in each group.
    unsafe {
        while !at.is_null() && !(*at).is_null() {
            let group = *at;
            let mut list = Vec::new();
            let mut attr = (*group).__bindgen_anon_2.attrs_const;
            while !attr.is_null() && !(*attr).is_null() {
                list.push(*attr);
                attr = attr.add(1);
            }
            found.push((group, list));
            at = at.add(1);
        }
    }
    found
}

impl Files {
    /// `sysfs_create_groups()` on a device: files come one by one, so when the last one
    /// cannot be made the others were there for a while.
    pub(crate) unsafe fn create(
        &self,
        core: &Core,
        groups: *const *const attribute_group,
    ) -> Result {
        // SAFETY: By the contract of the caller.
        let all = unsafe { attributes(groups) };
        let mut new = Vec::new();
        for (group, list) in all {
            if sched::fails("sysfs_create_group()") {
                return Err(ENOMEM);
            }
            // SAFETY: Groups are static.
            let (folder, visible) =
                unsafe { ((*group).name, (*group).__bindgen_anon_1.is_visible) };
            for (index, attr) in list.into_iter().enumerate() {
                // SAFETY: Attributes are static.
                let mut mode = unsafe { (*attr).mode };
                if let Some(visible) = visible {
                    // SAFETY: By the contract of the group.
                    mode = unsafe {
                        visible(&raw mut (*core.dev).kobj, attr.cast_mut(), index as c_int)
                    };
                }
                if mode != 0 {
                    // SAFETY: As above.
                    let name = unsafe { name_of(folder, (*attr).name) };
                    let class = format!("s_active({}/{name})", core.kind());
                    new.push(File::new(name, class, attr, groups as usize, mode));
                }
            }
        }
        let late = !new.is_empty() && sched::fails("sysfs_add_file_mode_ns()");
        if late {
            new.pop();
        }
        self.0.borrow_mut().extend(new);
        if late {
            sched::point(|| format!("the files of {} go again", core.name()));
            self.remove(groups as usize);
            return Err(ENOMEM);
        }
        Ok(())
    }

    /// Files of a driver: what its bus has, and `bind` and `unbind`.
    pub(crate) unsafe fn create_for_driver(&self, groups: *const *const attribute_group) {
        // SAFETY: By the contract of the caller.
        let all = unsafe { attributes(groups) };
        let mut new = Vec::new();
        for attr in all.into_iter().flat_map(|(_, list)| list) {
            // SAFETY: Attributes are static.
            let (name, mode) = unsafe { (name_of(core::ptr::null(), (*attr).name), (*attr).mode) };
            let class = format!("s_active(driver/{name})");
            new.push(File::new(name, class, attr, groups as usize, mode));
        }
        for name in ["bind", "unbind"] {
            // DRIVER_ATTR_IGNORE_LOCKDEP
            let class = String::new();
            new.push(File::new(
                name.to_owned(),
                class,
                core::ptr::null(),
                0,
                0o200,
            ));
        }
        self.0.borrow_mut().extend(new);
    }

    /// Removes all files, and waits for those who use them.
    pub(crate) fn remove_all(&self) {
        let files = std::mem::take(&mut *self.0.borrow_mut());
        Self::drain(files);
    }

    /// Removes the files of `groups`, and waits for those who use them.
    fn remove(&self, groups: usize) {
        let mut files = self.0.borrow_mut();
        let (going, staying) = std::mem::take(&mut *files)
            .into_iter()
            .partition(|file| file.groups == groups);
        *files = staying;
        drop(files);
        Self::drain(going);
    }

    fn drain(files: Vec<Rc<File>>) {
        for file in &files {
            file.gone.set(true);
            if !file.class.is_empty() {
                lockdep::ordered(&file.class);
            }
        }
        for file in files {
            if file.active.get() > 0 {
                sched::wait_until(|| format!("the users of {}", file.name), &|| {
                    file.active.get() == 0
                });
            }
        }
    }

    /// Opens a file and begins to use it.
    pub(crate) fn open(&self, name: &str) -> Result<Active> {
        let found = self
            .0
            .borrow()
            .iter()
            .find(|file| file.name == name)
            .cloned();
        let file = found.ok_or(ENOENT)?;
        if file.gone.get() {
            return Err(ENODEV);
        }
        file.active.set(file.active.get() + 1);
        if !file.class.is_empty() {
            lockdep::ordered(&file.class);
            lockdep::acquired(&file.class, Rc::as_ptr(&file) as usize);
        }
        Ok(Active(file))
    }
}

unsafe fn name_of(folder: *const crate::ffi::c_char, name: *const crate::ffi::c_char) -> String {
    // SAFETY: By the contract of the caller.
    let text = |name: *const crate::ffi::c_char| {
        unsafe { CStr::from_ptr(name.cast()) }
            .to_string_lossy()
            .into_owned()
    };
    match folder.is_null() {
        true => text(name),
        false => format!("{}/{}", text(folder), text(name)),
    }
}

impl File {
    fn new(
        name: String,
        class: String,
        attribute: *const attribute,
        groups: usize,
        mode: umode_t,
    ) -> Rc<Self> {
        Rc::new(Self {
            name,
            attribute,
            groups,
            mode,
            active: Cell::new(0),
            gone: Cell::new(false),
            class,
        })
    }
}

/// A file in use.
pub(crate) struct Active(Rc<File>);

impl Active {
    pub(crate) fn attribute(&self) -> *const attribute {
        self.0.attribute
    }

    pub(crate) fn may(&self, mode: umode_t) -> Result {
        if self.0.mode & mode == 0 {
            return Err(EACCES);
        }
        Ok(())
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        if sched::inert() {
            return;
        }
        self.0.active.set(self.0.active.get() - 1);
        if !self.0.class.is_empty() {
            lockdep::released(&self.0.class, Rc::as_ptr(&self.0) as usize);
        }
    }
}

/// `write(2)` to a file of a device; as often as it has to be begun again.
///
/// # Errors
///
/// The errno that the writer gets.
pub fn write_attribute(dev: *mut device, name: &str, text: &str) -> Result {
    let core = core(dev, "write(2)");
    loop {
        sched::point(|| format!("write {text:?} to {}/{name}", core.name()));
        match write_once(&core, name, text)? {
            RESTART => sched::yield_to_others("begin write(2) again"),
            result => return finish(&core, name, result),
        }
    }
}

/// The result of the store handler.
fn write_once(core: &Core, name: &str, text: &str) -> Result<c_int> {
    let active = core.files.open(name)?;
    active.may(0o222)?;
    let text = CString::new(text).expect("users write no NUL");
    let attr = active.attribute().cast::<device_attribute>().cast_mut();
    // SAFETY: The attribute is static, and on the device.
    let result = unsafe {
        let store = (*attr).__bindgen_anon_2.store.ok_or(EIO)?;
        store(core.dev, attr, text.as_ptr().cast(), text.to_bytes().len())
    };
    Ok(result as c_int)
}

fn finish(core: &Core, name: &str, result: c_int) -> Result {
    sched::trace(|| format!("{}/{name}: {result}", core.name()));
    sched::require(result != 0, "a store handler answers 0");
    match result {
        ..=-1 => Err(Error::from_errno(result)),
        _ => Ok(()),
    }
}

/// `read(2)` of a file of a device.
///
/// # Errors
///
/// The errno that the reader gets.
pub fn read_attribute(dev: *mut device, name: &str) -> Result<String> {
    let core = core(dev, "read(2)");
    sched::point(|| format!("read {}/{name}", core.name()));
    let active = core.files.open(name)?;
    active.may(0o444)?;
    let mut page = vec![0u8; 4096];
    let attr = active.attribute().cast::<device_attribute>().cast_mut();
    // SAFETY: The attribute is static, and on the device; sysfs gives it a page.
    let result = unsafe {
        let show = (*attr).__bindgen_anon_1.show.ok_or(EIO)?;
        show(dev, attr, page.as_mut_ptr().cast())
    };
    if result < 0 {
        return Err(Error::from_errno(result as i32));
    }
    page.truncate(result as usize);
    Ok(String::from_utf8(page)
        .expect("sysfs shows text")
        .trim_end()
        .to_owned())
}

/// `sysfs_create_groups()`.
///
/// # Safety
///
/// The contract is that of the C function. This holds for all functions here.
pub unsafe extern "C" fn sysfs_create_groups(
    kobj: *mut kobject,
    groups: *mut *const attribute_group,
) -> c_int {
    let core = core(kobj.cast(), "sysfs_create_groups()");
    core.used("sysfs_create_groups()");
    // SAFETY: By the contract.
    match unsafe { core.files.create(&core, groups) } {
        Ok(()) => 0,
        Err(e) => e.to_errno(),
    }
}

/// `sysfs_remove_groups()`.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn sysfs_remove_groups(
    kobj: *mut kobject,
    groups: *mut *const attribute_group,
) {
    if sched::inert() {
        return;
    }
    let core = core(kobj.cast(), "sysfs_remove_groups()");
    core.used("sysfs_remove_groups()");
    sched::point(|| format!("the files of {} go", core.name()));
    core.files.remove(groups as usize);
}
