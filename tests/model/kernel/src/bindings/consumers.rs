// SPDX-License-Identifier: GPL-2.0

//! The modules around the driver: those that own regions (hmem, pmem, cxl), and kmem,
//! which takes devices.

use std::cell::Cell;
use std::rc::Rc;

use super::*;
use crate::error::code::{EBUSY, ENOMEM};
use crate::error::Result;
use crate::ffi::c_int;
use crate::memory;
use crate::sched;

/// A device of another module, whose driver makes a region. Dropping it says nothing;
/// see [`Parent::unload`].
pub struct Parent {
    dev: *mut device,
    /// So that probing and unbinding do not meet.
    bound: Cell<bool>,
}

// SAFETY: All tasks of the model are on one thread of the host.
unsafe impl Send for Parent {}
// SAFETY: As above.
unsafe impl Sync for Parent {}

static PARENT_TYPE: ParentType = ParentType(device_type {
    name: core::ptr::null(),
    groups: core::ptr::null_mut(),
    release: Some(release_parent),
});

struct ParentType(device_type);
// SAFETY: Never written.
unsafe impl Sync for ParentType {}

unsafe extern "C" fn release_parent(dev: *mut device) {
    // SAFETY: It came from `Box::into_raw`, and this was the last reference.
    unsafe { memory::free(dev.cast(), std::alloc::Layout::new::<device>()) };
}

impl Parent {
    /// A device without driver.
    pub fn new(name: &str) -> Self {
        // SAFETY: Zeroes are a valid device.
        let dev = Box::into_raw(Box::new(unsafe { core::mem::zeroed::<device>() }));
        let name = std::ffi::CString::new(name).expect("names have no NUL");
        // SAFETY: It is fresh.
        unsafe {
            (*dev).type_ = &PARENT_TYPE.0;
            device_initialize(dev);
            dev_set_name(dev, c"%s".as_ptr().cast(), name.as_ptr().cast());
        }
        let this = core(dev, "a parent");
        this.set_in_service(false);
        this.registered.set(true);
        Self {
            dev,
            bound: Cell::new(false),
        }
    }

    /// Its driver is bound: `probe` makes the region. Whether that worked.
    ///
    /// # Errors
    ///
    /// The error of `probe`; `EBUSY` if the device is bound.
    pub fn bind(&self, probe: impl FnOnce(*mut device) -> Result) -> Result {
        let this = core(self.dev, "a parent");
        this.lock();
        let result = match self.bound.get() {
            true => Err(EBUSY),
            false => {
                this.set_in_service(true);
                let result = probe(self.dev);
                self.bound.set(result.is_ok());
                if result.is_err() {
                    self.cleanup(&this);
                }
                result
            }
        };
        this.unlock();
        result
    }

    /// Its driver is unbound.
    pub fn unbind(&self) {
        sched::point(|| "unbind the parent".to_owned());
        let this = core(self.dev, "a parent");
        this.lock();
        if self.bound.replace(false) {
            self.cleanup(&this);
        }
        this.unlock();
    }

    /// `device_unbind_cleanup()`.
    fn cleanup(&self, this: &Core) {
        this.devres.release_all();
        sched::require(
            this.driver_data().is_null(),
            "the driver data of a parent was left behind",
        );
        this.set_in_service(false);
        sched::trace(|| format!("{} is unbound", this.name()));
    }

    /// Its module is unloaded: nobody may refer to it any more.
    pub fn unload(&self) {
        let this = core(self.dev, "a parent");
        sched::require(
            this.references() == 1,
            format!("{} is unloaded, and somebody refers to it", this.name()),
        );
        sched::require(!self.bound.get(), "a parent is unloaded while it is bound");
        this.registered.set(false);
        this.set_in_service(true);
        // SAFETY: The reference is ours.
        unsafe { put_device(self.dev) };
    }

    /// Reads a file of the device.
    ///
    /// # Errors
    ///
    /// The errno that the reader gets.
    pub fn read(&self, name: &str) -> Result<String> {
        read_attribute(self.dev, name)
    }

    /// Writes to a file of the device.
    ///
    /// # Errors
    ///
    /// The errno that the writer gets.
    pub fn write(&self, name: &str, text: &str) -> Result {
        write_attribute(self.dev, name, text)
    }
}

/// A device that kmem has.
struct Kmem {
    dev_dax: *mut dev_dax,
    ranges: Vec<(u64, u64)>,
    seen: Rc<Seen>,
}

/// The ranges that C saw when a driver was bound.
#[derive(PartialEq, Eq, Debug)]
struct Seen {
    align: u32,
    ranges: Vec<(usize, u64, u64)>,
}

#[derive(Default)]
struct Kmems(Vec<Kmem>);

/// Whether memory can be taken offline when kmem is unbound.
#[derive(Default)]
struct Sticky(bool);

/// From now on memory of kmem stays online when it is unbound, or not.
pub fn keep_memory_online(on: bool) {
    sched::part(|sticky: &mut Sticky| sticky.0 = on);
}

/// All memory that was left online goes offline.
pub fn take_memory_offline() {
    for (start, last) in system_ram() {
        let used = sched::part(|all: &mut Kmems| {
            all.0
                .iter()
                .any(|kmem| kmem.ranges.contains(&(start, last)))
        });
        if !used {
            set_system_ram(start, last, false);
            unclaim(start, last);
        }
    }
}

/// The ranges of a device as C sees them.
unsafe fn seen(dev_dax: *const dev_dax) -> Seen {
    // SAFETY: The device is bound, by the contract of the caller.
    unsafe {
        let (count, first) = ((*dev_dax).nr_range, (*dev_dax).ranges);
        sched::require(count > 0, "a driver is bound to a device without ranges");
        memory::check(first, "the ranges of a device");
        let ranges = (0..count as usize).map(|i| {
            let range = first.add(i);
            ((*range).pgoff, (*range).range.start, (*range).range.end)
        });
        Seen {
            align: (*dev_dax).align,
            ranges: ranges.collect(),
        }
    }
}

/// `dev_dax_kmem_probe()`.
unsafe extern "C" fn kmem_probe(dev_dax: *mut dev_dax) -> c_int {
    // SAFETY: By the contract of the bus.
    let seen = unsafe { seen(dev_dax) };
    let name = c"System RAM (kmem)".as_ptr().cast();
    if sched::fails("kmem") {
        return ENOMEM.to_errno();
    }
    let mut ranges = Vec::new();
    for (_, start, last) in &seen.ranges {
        if claim(*start, *last, name) {
            ranges.push((*start, *last));
        }
    }
    if ranges.len() < seen.ranges.len() {
        for (start, last) in ranges {
            unclaim(start, last);
        }
        return EBUSY.to_errno();
    }
    for (start, last) in &ranges {
        sched::point(|| format!("kmem adds {start:#x}-{last:#x}"));
        require_unused(*start, *last, "kmem");
        written_by_others(*start, *last);
        set_system_ram(*start, *last, true);
    }
    let kmem = Kmem {
        dev_dax,
        ranges,
        seen: Rc::new(seen),
    };
    sched::part(|all: &mut Kmems| all.0.push(kmem));
    0
}

/// `dev_dax_kmem_remove()`.
unsafe extern "C" fn kmem_remove(dev_dax: *mut dev_dax) {
    let kmem = sched::part(|all: &mut Kmems| {
        let at = all.0.iter().position(|kmem| kmem.dev_dax == dev_dax)?;
        Some(all.0.remove(at))
    });
    let kmem = kmem.expect("kmem removes what it probed");
    // SAFETY: By the contract of the bus.
    let now = unsafe { seen(dev_dax) };
    sched::require(
        now == *kmem.seen,
        format!(
            "the ranges of a bound device changed: {:?}, {now:?}",
            kmem.seen
        ),
    );
    if sched::part(|sticky: &mut Sticky| sticky.0) {
        sched::trace(|| "kmem leaves memory online".to_owned());
        return;
    }
    for (start, last) in kmem.ranges {
        sched::point(|| format!("kmem removes {start:#x}-{last:#x}"));
        set_system_ram(start, last, false);
        unclaim(start, last);
    }
}

/// The driver kmem, to be registered. It lives as long as the execution.
pub fn kmem_driver() -> *mut dax_device_driver {
    #[derive(Default)]
    struct Static(Option<Box<dax_device_driver>>);
    sched::part(|kmem: &mut Static| {
        let new = || {
            Box::new(dax_device_driver {
                // SAFETY: Zeroes are valid.
                drv: unsafe { core::mem::zeroed() },
                // SAFETY: As above.
                ids: unsafe { core::mem::zeroed() },
                type_: dax_driver_type_DAXDRV_KMEM_TYPE,
                probe: Some(kmem_probe),
                remove: Some(kmem_remove),
            })
        };
        &raw mut **kmem.0.get_or_insert_with(new)
    })
}

/// The function that the driver exports and consumers call.
#[derive(Default)]
struct Exports(Option<unsafe extern "C" fn(*mut dev_dax)>);

/// Tells the consumers where `kill_dev_dax()` is.
pub fn link(kill_dev_dax: unsafe extern "C" fn(*mut dev_dax)) {
    sched::part(|exports: &mut Exports| exports.0 = Some(kill_dev_dax));
}

/// `fsdev_open()`: it relies on nothing but the dax device.
unsafe extern "C" fn fsdev_open(_: *mut inode, _: *mut file) -> c_int {
    0
}

/// `fsdev_release()`
unsafe extern "C" fn fsdev_release(_: *mut inode, _: *mut file) -> c_int {
    0
}

static FSDEV_FILES: file_operations = file_operations {
    owner: core::ptr::null_mut(),
    llseek: None,
    open: Some(fsdev_open),
    release: Some(fsdev_release),
    mmap_prepare: None,
    get_unmapped_area: None,
    fop_flags: 0,
};

// SAFETY: Never written.
unsafe impl Sync for file_operations {}

/// `fsdev_acquire_pgmap()`: that of the owner of a static region, or a new one.
unsafe fn fsdev_pgmap(dev_dax: *mut dev_dax, seen: &Seen) -> Result<*mut dev_pagemap> {
    // SAFETY: By the contract of the bus.
    let (own, core) = unsafe { ((*dev_dax).pgmap, core(&raw const (*dev_dax).dev, "fsdev")) };
    if !own.is_null() {
        memory::check(own, "the page map of a static region");
        return Ok(own);
    }
    let memory = crate::alloc::Memory::new()?;
    let extra = size_of::<range>() * seen.ranges.len();
    let size = size_of::<dev_pagemap>() + extra;
    let layout = std::alloc::Layout::from_size_align(size, 8).expect("it is small");
    // SAFETY: It has a size.
    let pgmap = unsafe { std::alloc::alloc_zeroed(layout) }.cast::<dev_pagemap>();
    // SAFETY: There is room for the ranges.
    unsafe {
        (*pgmap).nr_range = seen.ranges.len() as c_int;
        let first = (&raw mut (*pgmap).__bindgen_anon_1).cast::<range>();
        for (index, (_, start, end)) in seen.ranges.iter().enumerate() {
            first.add(index).write(range {
                start: *start,
                end: *end,
            });
        }
    }
    // SAFETY: It is ours, and goes last.
    core.devres.add(Some(memory), move || unsafe {
        memory::free(pgmap.cast(), layout)
    });
    Ok(pgmap)
}

/// `fsdev_dax_probe()`.
unsafe extern "C" fn fsdev_probe(dev_dax: *mut dev_dax) -> c_int {
    // SAFETY: By the contract of the bus.
    match unsafe { fsdev_bind(dev_dax) } {
        Ok(()) => 0,
        Err(e) => e.to_errno(),
    }
}

unsafe fn fsdev_bind(dev_dax: *mut dev_dax) -> Result {
    // SAFETY: By the contract of the bus.
    let (dev, seen, dax, core) = unsafe {
        let dev = &raw mut (*dev_dax).dev;
        (dev, seen(dev_dax), (*dev_dax).dax_dev, core(dev, "fsdev"))
    };
    // SAFETY: As above.
    let pgmap = unsafe { fsdev_pgmap(dev_dax, &seen) }?;
    for (_, start, last) in &seen.ranges {
        // SAFETY: The device is being probed.
        let taken = unsafe {
            let size = last - start + 1;
            __devm_request_region(dev, &raw mut iomem_resource, *start, size, dev_name(dev))
        };
        if taken.is_null() {
            return Err(EBUSY);
        }
    }
    // SAFETY: As above.
    crate::error::from_err_ptr(unsafe { dax_glue_memremap_pages(dev, pgmap) })?;
    // SAFETY: As above.
    let cdev = unsafe { cdev_alloc() };
    if cdev.is_null() {
        return Err(ENOMEM);
    }
    // SAFETY: Fresh and ours.
    unsafe {
        (*cdev).ops = &FSDEV_FILES;
        cdev_set_parent(cdev, &raw mut (*dev).kobj);
        if cdev_add(cdev, (*dev).devt, 1) != 0 {
            (*cdev).kobj.parent = core::ptr::null_mut();
            put_cdev(cdev);
            return Err(ENOMEM);
        }
    }
    // SAFETY: It was added.
    core.devres.add(None, move || unsafe { cdev_del(cdev) });
    // SAFETY: The device is bound.
    unsafe { run_dax(dax) };
    core.devres.add(None, move || {
        let kill = sched::part(|exports: &mut Exports| exports.0);
        // SAFETY: The device is being unbound.
        unsafe {
            let now = self::seen(dev_dax);
            sched::require(
                now == seen,
                format!("the ranges of a bound device changed: {seen:?}, {now:?}"),
            );
            kill.expect("it is linked")(dev_dax);
        }
    });
    // SAFETY: The device is bound.
    unsafe { (*dev_dax).pgmap = pgmap };
    Ok(())
}

/// The driver fsdev_dax, to be registered. It lives as long as the execution.
pub fn fsdev_driver() -> *mut dax_device_driver {
    #[derive(Default)]
    struct Static(Option<Box<dax_device_driver>>);
    sched::part(|fsdev: &mut Static| {
        let new = || {
            Box::new(dax_device_driver {
                // SAFETY: Zeroes are valid.
                drv: unsafe { core::mem::zeroed() },
                // SAFETY: As above.
                ids: unsafe { core::mem::zeroed() },
                type_: dax_driver_type_DAXDRV_FSDEV_TYPE,
                probe: Some(fsdev_probe),
                remove: None,
            })
        };
        &raw mut **fsdev.0.get_or_insert_with(new)
    })
}

/// `INIT_LIST_HEAD()`.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn INIT_LIST_HEAD(_: *mut list_head) {}
