// SPDX-License-Identifier: GPL-2.0

//! What C calls: the symbols that hmem, pmem, cxl, kmem and fsdev link to.

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
    }, //
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

/// Makes a region for `parent`, until that is unbound. `NULL` on failure.
///
/// # Context
///
/// In the probe of `parent`, whose driver data must be unused. May sleep.
///
/// # Safety
///
/// `parent` is being probed and `range` is valid.
#[export]
pub(crate) unsafe extern "C" fn alloc_dax_region(
    parent: *mut bindings::device,
    region_id: c_int,
    range: *mut bindings::range,
    target_node: c_int,
    align: c_uint,
    flags: c_ulong,
) -> *mut bindings::dax_region {
    // SAFETY: By the contract.
    let dev: &Device = unsafe { Device::from_raw(parent) };
    // SAFETY: By the contract.
    let (start, last) = unsafe { ((*range).start, (*range).end) };
    let make = || {
        let span = PhysRange::new(start, last).ok_or(EINVAL)?;
        let align = Align::new(u64::from(align)).ok_or(EINVAL)?;
        if !span.is_aligned(align) {
            dev_err!(dev, "dax region {:#x}-{:#x} is not aligned\n", start, last);
            return Err(EINVAL);
        }
        let flags = flags as u32;
        let config = Config {
            id: region_id,
            span,
            align,
            target_node,
            kind: if flags & bindings::IORESOURCE_DAX_STATIC as u32 != 0 {
                Kind::Static
            } else {
                Kind::Dynamic
            },
            kmem: flags & bindings::IORESOURCE_DAX_KMEM as u32 != 0,
        };
        let resource = RegionResource::request(dev, span, flags)?;
        let region = Region::new(dev, config)?;
        let raw = Arc::as_ptr(&region);
        // SAFETY: By the contract the device is being probed; the registration goes with
        // its managed resources.
        let data = unsafe { DriverData::set(dev, region) }.inspect_err(|_| {
            dev_err!(dev, "dax core failed to setup private data\n");
        })?;
        let mut registration = RegionRegistration::new(data, resource);
        registration.add_attributes(&REGION_GROUPS)?;
        // SAFETY: By the contract the device is being probed.
        devres::register(unsafe { dev.as_bound() }, registration, GFP_KERNEL)?;
        Ok(raw)
    };
    make().map_or(core::ptr::null_mut(), |region: *const Region| {
        region.cast_mut().cast()
    })
}

/// Creates a device in a region, until the region goes. `ERR_PTR` on failure,
/// see [`DevDax::create`].
///
/// # Context
///
/// In the probe of the region's parent. May sleep, and may probe drivers.
///
/// # Safety
///
/// `data` is valid, its region in service, its page map valid if there is one.
#[export]
pub(crate) unsafe extern "C" fn devm_create_dev_dax(
    data: *mut bindings::dev_dax_data,
) -> *mut bindings::dev_dax {
    // SAFETY: By the contract.
    let data = unsafe { &*data };
    // SAFETY: That is what `alloc_dax_region` gave, of a region in service.
    let region = unsafe { ArcBorrow::from_raw(data.dax_region.cast_const().cast::<Region>()) };
    let region: Arc<Region> = region.into();
    let make = || {
        let template = match NonNull::new(data.pgmap) {
            // SAFETY: By the contract; only static regions bring one, with one
            // range, to be used from here on through the copy.
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
        // The region keeps the device.
        Ok(device) => device.as_dev_dax(),
        Err(e) => e.to_ptr(),
    }
}

/// Registers a driver of the dax bus.
///
/// # Context
///
/// May sleep, and may probe devices.
///
/// # Safety
///
/// `driver` and `name` are valid until [`dax_driver_unregister`], which is
/// called before `module` goes.
#[export]
pub(crate) unsafe extern "C" fn __dax_driver_register(
    driver: *mut bindings::dax_device_driver,
    module: *mut bindings::module,
    name: *const c_char,
) -> c_int {
    // SAFETY: By the contract.
    match unsafe { BUS.register_driver(driver, module, name) } {
        Ok(()) => 0,
        Err(e) => e.to_errno(),
    }
}

/// Unbinds and unregisters a driver, then forgets its ids: as long as it is
/// registered, `new_id` may add some.
///
/// # Context
///
/// May sleep, and unbinds devices.
///
/// # Safety
///
/// `driver` is registered.
#[export]
pub(crate) unsafe extern "C" fn dax_driver_unregister(driver: *mut bindings::dax_device_driver) {
    // SAFETY: By the contract.
    let driver = unsafe { Driver::from_raw(driver) };
    // SAFETY: By the contract.
    unsafe { driver.unregister() };
    ids::forget(driver);
}

/// Ends all access to a device that a driver makes unavailable.
///
/// # Context
///
/// Called while a driver is unbound from the device. Sleeps for an SRCU grace
/// period.
///
/// # Safety
///
/// `dev_dax` is alive.
#[export]
pub(crate) unsafe extern "C" fn kill_dev_dax(dev_dax: *mut bindings::dev_dax) {
    // SAFETY: By the contract.
    unsafe { DevDax::from_raw(dev_dax) }.kill();
}

/// Whether the device is of a static region.
///
/// # Safety
///
/// `dev_dax` is alive.
#[export]
pub(crate) unsafe extern "C" fn static_dev_dax(dev_dax: *mut bindings::dev_dax) -> bool {
    // SAFETY: By the contract.
    unsafe { DevDax::from_raw(dev_dax) }.region().is_static()
}

/// The physical address of the `size` bytes at page `pgoff`, all ones if they
/// are not within one range. What the weak `dax_pgoff_to_phys()` does.
///
/// # Safety
///
/// `dev_dax` is bound to the driver that calls.
#[export]
pub(crate) unsafe extern "C" fn dax_rust_pgoff_to_phys(
    dev_dax: *mut bindings::dev_dax,
    pgoff: c_ulong,
    size: c_ulong,
) -> bindings::phys_addr_t {
    // SAFETY: By the contract; ranges do not change while a driver is bound.
    let entries = unsafe { RawDevDax::entries(dev_dax) };
    layout::pgoff_to_phys(entries, pgoff as u64, size as u64).unwrap_or(bindings::phys_addr_t::MAX)
}

/// Registers the bus: at `subsys_initcall` when built in, see glue.c. It stays for
/// good then.
///
/// # Safety
///
/// Called when the kernel boots.
#[export]
pub(crate) unsafe extern "C" fn dax_rust_bus_init() -> c_int {
    match BUS.register() {
        Ok(bus) => {
            core::mem::forget(bus);
            0
        }
        Err(e) => e.to_errno(),
    }
}
