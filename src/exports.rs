// SPDX-License-Identifier: GPL-2.0

//! The functions that C calls: the symbols that hmem, pmem, cxl, kmem and fsdev link to.

use core::ptr::NonNull;

use kernel::{
    bindings,
    device::Device,
    devres,
    ffi::{
        c_char,
        c_int,
        c_uint,
        c_ulong, //
    },
    macros::export,
    prelude::*,
    sync::{
        Arc,
        ArcBorrow, //
    },
    warn_on, //
};

use crate::{
    driver::{
        attrs::REGION_GROUPS,
        bus::BUS,
        device::{
            DevDax,
            DevDaxData, //
        },
        region::{
            Config,
            Kind,
            Region,
            RegionRegistration, //
        }, //
    },
    ranges::{
        layout,
        range::{
            usize_as_u64,
            Align,
            PhysRange, //
        }, //
    },
    sys::{
        dev_dax::RawDevDax,
        driver::Driver,
        drvdata::DriverData,
        ids,
        resource::RegionResource,
        template::PgmapTemplate, //
    }, //
};

/// Makes a region for `parent`. The region exists until `parent` is unbound. Returns `NULL`
/// on failure.
///
/// # Context
///
/// Called in the probe of `parent`. May sleep.
///
/// # Safety
///
/// `parent` is being probed, and its driver does not use its driver data. `range` is valid,
/// and is memory that the driver owns until it is unbound.
#[export]
pub(crate) unsafe extern "C" fn alloc_dax_region(
    parent: *mut bindings::device,
    region_id: c_int,
    range: *mut bindings::range,
    target_node: c_int,
    align: c_uint,
    flags: c_ulong,
) -> *mut bindings::dax_region {
    // SAFETY: By the contract `parent` is valid, and it stays so for this call.
    let dev: &Device = unsafe { Device::from_raw(parent) };
    // SAFETY: By the contract `range` is valid.
    let (start, last) = unsafe { ((*range).start, (*range).end) };
    let make = || {
        let span = PhysRange::new(start, last).ok_or(EINVAL)?;
        let align = Align::new(u64::from(align)).ok_or(EINVAL)?;
        if !span.is_aligned(align) {
            dev_err!(dev, "dax region {:#x}-{:#x} is not aligned\n", start, last);
            return Err(EINVAL);
        }
        // SAFETY: By the contract the memory is the parent's, which is being probed. The
        // registration below drops the resource when the parent is unbound.
        let resource = unsafe { RegionResource::request(dev, span, flags) }?;
        let config = Config {
            id: region_id,
            memory: resource.memory(),
            align,
            target_node,
            kind: if flags & bindings::IORESOURCE_DAX_STATIC != 0 {
                Kind::Static
            } else {
                Kind::Dynamic
            },
            kmem: flags & bindings::IORESOURCE_DAX_KMEM != 0,
        };
        let region = Region::new(dev, config)?;
        let raw = Arc::as_ptr(&region);
        // SAFETY: By the contract the device is being probed and its driver data is ours.
        // The result is in the registration, which is dropped with the managed resources of
        // the device.
        let data = unsafe { DriverData::set(dev, region) }.inspect_err(|_| {
            dev_err!(dev, "dax core failed to setup private data\n");
        })?;
        let mut registration = RegionRegistration::new(data, resource);
        registration.add_attributes(&REGION_GROUPS)?;
        // SAFETY: By the contract the device is being probed, so to the driver core it is
        // bound.
        devres::register(unsafe { dev.as_bound() }, registration, GFP_KERNEL)?;
        Ok(raw)
    };
    make().map_or(core::ptr::null_mut(), |region: *const Region| {
        // CAST: The callers only pass the pointer on to `devm_create_dev_dax`.
        region.cast_mut().cast()
    })
}

/// Creates a device in a region. The device exists until the region is shut down, or the
/// user deletes it. Returns an `ERR_PTR` on failure, see [`DevDax::create`].
///
/// # Context
///
/// Called in the probe of the region's parent. May sleep and probe drivers.
///
/// # Safety
///
/// `data` is valid, and its region is in service. `data.pgmap` is null, or the region is
/// static and the page map is valid, has one range and is not in use. A page map in a region
/// that is dynamic is a bug of the caller: warns, and fails with `EINVAL`.
#[export]
pub(crate) unsafe extern "C" fn devm_create_dev_dax(
    data: *mut bindings::dev_dax_data,
) -> *mut bindings::dev_dax {
    // SAFETY: By the contract `data` is valid.
    let data = unsafe { &*data };
    // SAFETY: `alloc_dax_region` returned this pointer, from `Arc::as_ptr`. The region is
    // in service, so its registration owns an `Arc`.
    let region = unsafe { ArcBorrow::from_raw(data.dax_region.cast_const().cast::<Region>()) };
    let region: Arc<Region> = region.into();
    let make = || {
        // C warns, and uses the page map for whatever ranges the user chooses.
        if warn_on!(!data.pgmap.is_null() && !region.is_static()) {
            return Err(EINVAL);
        }
        let template = match NonNull::new(data.pgmap) {
            // SAFETY: By the contract the page map is valid, has one range and is not in
            // use. From here on only the copy is used.
            Some(pgmap) => Some(unsafe { PgmapTemplate::copy(pgmap.as_ptr()) }?),
            None => None,
        };
        let spec = DevDaxData {
            size: data.size,
            id: (data.id >= 0).then_some(data.id),
            memmap_on_memory: data.memmap_on_memory,
            template,
        };
        DevDax::create(&region, spec)
    };
    match make() {
        // The region owns a reference to the device, unless the user has deleted the device
        // by now. The callers only look whether this is an error.
        Ok(device) => device.as_dev_dax(),
        Err(e) => e.to_ptr(),
    }
}

/// Registers a driver of the dax bus. Returns 0 or a negative errno.
///
/// # Context
///
/// May sleep and probe devices.
///
/// # Safety
///
/// `driver` is not registered, and nobody else uses it. `driver` and `name`, a
/// NUL-terminated string, are valid until [`dax_driver_unregister`], which is called before
/// `module` is unloaded.
#[export]
pub(crate) unsafe extern "C" fn __dax_driver_register(
    driver: *mut bindings::dax_device_driver,
    module: *mut bindings::module,
    name: *const c_char,
) -> c_int {
    // SAFETY: The contract is the same.
    match unsafe { BUS.register_driver(driver, module, name) } {
        Ok(()) => 0,
        Err(e) => e.to_errno(),
    }
}

/// Unbinds and unregisters a driver, then forgets its ids. The order matters: `new_id` may
/// add ids until the driver is unregistered.
///
/// # Context
///
/// Sleeps, and unbinds devices.
///
/// # Safety
///
/// `driver` is registered, and this is called only once for it.
#[export]
pub(crate) unsafe extern "C" fn dax_driver_unregister(driver: *mut bindings::dax_device_driver) {
    // SAFETY: By the contract `driver` is registered, until `unregister` below.
    let driver = unsafe { Driver::from_raw(driver) };
    // SAFETY: By the contract `driver` is registered. Afterwards `forget` only uses its
    // key.
    unsafe { driver.unregister() };
    ids::forget(driver);
}

/// Ends all access to a device that its driver makes unavailable.
///
/// # Context
///
/// Called while a driver is unbound from the device. Sleeps for an SRCU grace period.
///
/// # Safety
///
/// `dev_dax` is a valid device of this bus, and a driver that is being unbound from it calls
/// this.
#[export]
pub(crate) unsafe extern "C" fn kill_dev_dax(dev_dax: *mut bindings::dev_dax) {
    // SAFETY: By the contract `dev_dax` is valid. All devices of the bus are `DevDax`.
    let device = unsafe { DevDax::from_raw(dev_dax) };
    device.kill();
    // SAFETY: By the contract a driver that is being unbound calls this.
    unsafe { device.c().clear_pagemap() };
}

/// Whether the device is in a static region.
///
/// # Safety
///
/// `dev_dax` is a valid device of this bus.
#[export]
pub(crate) unsafe extern "C" fn static_dev_dax(dev_dax: *mut bindings::dev_dax) -> bool {
    // SAFETY: By the contract `dev_dax` is valid. All devices of the bus are `DevDax`.
    unsafe { DevDax::from_raw(dev_dax) }.region().is_static()
}

/// The physical address of the `size` bytes at page `pgoff` of the device. Returns all ones
/// if they are not within one range. glue.c makes this the weak `dax_pgoff_to_phys()`.
///
/// # Safety
///
/// `dev_dax` is a valid device of this bus, and is bound to a driver for this call.
#[export]
pub(crate) unsafe extern "C" fn dax_rust_pgoff_to_phys(
    dev_dax: *mut bindings::dev_dax,
    pgoff: c_ulong,
    size: c_ulong,
) -> bindings::phys_addr_t {
    // SAFETY: By the contract `dev_dax` is valid and stays bound for this call.
    let entries = unsafe { RawDevDax::entries(dev_dax) };
    let (pgoff, size) = (usize_as_u64(pgoff), usize_as_u64(size));
    layout::pgoff_to_phys(entries, pgoff, size).unwrap_or(bindings::phys_addr_t::MAX)
}

/// Registers the bus for good. Only used when built in: glue.c makes this a
/// `subsys_initcall`. Returns 0 or a negative errno.
///
/// # Safety
///
/// The kernel calls this once, when it boots.
#[export]
pub(crate) unsafe extern "C" fn dax_rust_bus_init() -> c_int {
    match BUS.register() {
        Ok(bus) => {
            bus.keep();
            0
        }
        Err(e) => e.to_errno(),
    }
}
