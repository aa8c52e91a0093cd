// SPDX-License-Identifier: GPL-2.0

//! The C interface: the symbols that hmem, pmem, cxl, kmem and fsdev link to,
//! and the structs that they read.

use core::mem::{offset_of, size_of};
use core::ptr::NonNull;
use kernel::bindings;
use kernel::device::Device;
use kernel::devres;
use kernel::ffi::{c_char, c_int, c_uint, c_ulong};
use kernel::macros::export;
use kernel::prelude::*;
use kernel::sync::{global_lock, Arc, ArcBorrow};

use crate::attrs;
use crate::bus::{DaxBus, Ids, BUS};
use crate::device::{DevDax, Spec};
use crate::layout::{self, Entry};
use crate::mapping::{self, Mapping};
use crate::range::{Align, PhysRange};
use crate::region::{Config, Kind, Region, Registration};
use crate::sys::bus::{register_driver, Driver, OwnDriver, RegisteredBus};
use crate::sys::dev_dax::CDevDax;
use crate::sys::device::{DeviceType, FromDevice, Object, Ref};
use crate::sys::module::THIS_MODULE;
use crate::sys::pagemap::Template;
use crate::sys::resource::Span;
use crate::sys::sysfs::AddedGroups;

// What C reads must be where C looks for it.
const _: () = {
    assert!(size_of::<Entry>() == size_of::<bindings::dev_dax_range>());
    assert!(offset_of!(Entry, pgoff) == offset_of!(bindings::dev_dax_range, pgoff));
    assert!(
        offset_of!(Entry, start)
            == offset_of!(bindings::dev_dax_range, range) + offset_of!(bindings::range, start)
    );
    assert!(
        offset_of!(Entry, last)
            == offset_of!(bindings::dev_dax_range, range) + offset_of!(bindings::range, end)
    );
    assert!(offset_of!(Entry, mapping) == offset_of!(bindings::dev_dax_range, mapping));
};

// SAFETY: A `DevDax` begins with its zeroed `struct dev_dax`, which has the
// device at that offset. The type is used for it alone.
unsafe impl Object for DevDax {
    const OFFSET: usize = offset_of!(bindings::dev_dax, dev);

    fn device_type() -> &'static DeviceType<Self> {
        &attrs::DEVICE_TYPE
    }
}

// SAFETY: A `Mapping` begins with its zeroed device. The type is used for it
// alone.
unsafe impl Object for Mapping {
    const OFFSET: usize = 0;

    fn device_type() -> &'static DeviceType<Self> {
        &mapping::TYPE
    }
}

// SAFETY: `alloc_dax_region()` stores the region in the driver data of the
// device before it adds the attributes, and clears it only after they are gone.
unsafe impl FromDevice for Region {
    unsafe fn from_device<'a>(dev: *mut bindings::device) -> &'a Self {
        // SAFETY: By the contract, and see above.
        unsafe { &*bindings::dev_get_drvdata(dev).cast_const().cast::<Self>() }
    }
}

impl Region {
    /// A counted reference to the region.
    pub(crate) fn arc(&self) -> Arc<Self> {
        // SAFETY: By the type invariant it lives in an `Arc`.
        unsafe { ArcBorrow::from_raw(self) }.into()
    }

    /// The region behind a C pointer.
    ///
    /// # Safety
    ///
    /// `region` came from [`alloc_dax_region`] and is in service.
    unsafe fn from_raw<'a>(region: *mut bindings::dax_region) -> &'a Self {
        // SAFETY: That is what it was made from; see the contract.
        unsafe { &*region.cast_const().cast::<Self>() }
    }
}

impl DevDax {
    /// The device behind a C pointer.
    ///
    /// # Safety
    ///
    /// `dev_dax` came from [`devm_create_dev_dax`] or a probe, and is alive.
    unsafe fn from_raw<'a>(dev_dax: *mut bindings::dev_dax) -> &'a Self {
        // SAFETY: A device begins with what C sees; see the contract.
        unsafe { &*dev_dax.cast_const().cast::<Self>() }
    }
}

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
        // SAFETY: By the contract the device is being probed.
        if !unsafe { bindings::dev_get_drvdata(parent) }.is_null() {
            dev_err!(dev, "dax core failed to setup private data\n");
            return Err(EBUSY);
        }
        let span = PhysRange::new(start, last).ok_or(EINVAL)?;
        let align = Align::new(u64::from(align)).ok_or(EINVAL)?;
        if !span.is_aligned(align) {
            dev_err!(dev, "dax region {:#x}-{:#x} is not aligned\n", start, last);
            return Err(EINVAL);
        }
        let flags = flags as u32;
        let region = Region::new(
            dev,
            Config {
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
            },
        )?;
        let claim = Span::request(dev, span, flags)?;
        let raw = Arc::as_ptr(&region);
        // SAFETY: The device is being probed, and its data is unused.
        unsafe { bindings::dev_set_drvdata(parent, raw.cast_mut().cast()) };
        let mut registration = Registration::new(region, claim);
        // SAFETY: The driver data is the region. It is cleared when the owner is
        // dropped, which removes the groups first.
        let groups = unsafe { AddedGroups::add(dev, &attrs::REGION_GROUPS) };
        let added = groups.map(|groups| registration.set_groups(groups));
        let owner = Owner {
            registration: Some(registration),
            parent: dev.into(),
        };
        // If a file could not be added, `create` may have been there for a while: the
        // owner takes such devices away.
        added?;
        // SAFETY: By the contract the device is being probed.
        devres::register(unsafe { dev.as_bound() }, owner, GFP_KERNEL)?;
        Ok(raw)
    };
    make().map_or(core::ptr::null_mut(), |region: *const Region| {
        region.cast_mut().cast()
    })
}

/// A region in service, with its place in the parent's driver data.
struct Owner {
    registration: Option<Registration>,
    parent: kernel::sync::aref::ARef<Device>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        drop(self.registration.take());
        let parent: &Device = &self.parent;
        // SAFETY: We put the region there and own a reference of the device,
        // whose driver is not fully unbound yet.
        unsafe {
            bindings::dev_set_drvdata(
                core::ptr::from_ref(parent).cast_mut().cast(),
                core::ptr::null_mut(),
            )
        };
    }
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
    // SAFETY: By the contract.
    let region = unsafe { Region::from_raw(data.dax_region) };
    let make = || {
        let template = match NonNull::new(data.pgmap) {
            // SAFETY: By the contract; only static regions bring one, with one
            // range, to be used from here on through the copy.
            Some(pgmap) => Some(unsafe { Template::copy(pgmap.as_ptr()) }?),
            None => None,
        };
        let spec = Spec {
            size: data.size,
            id: (data.id >= 0).then_some(data.id),
            memmap_on_memory: data.memmap_on_memory,
            template,
        };
        DevDax::create(&region.arc(), spec)
    };
    match make() {
        // The region keeps the device.
        Ok(device) => {
            let device: &DevDax = &device;
            core::ptr::from_ref(device).cast_mut().cast()
        }
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
    match unsafe { register_driver(driver, &BUS, module, name) } {
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
    let key = driver.key();
    // SAFETY: By the contract.
    unsafe { driver.unregister() };
    forget_ids(key);
}

/// Forgets the ids of a driver that is gone.
fn forget_ids(driver: usize) {
    if let Some(ids) = IDS.lock().as_mut() {
        ids.forget(driver);
    }
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
    let entries = unsafe { CDevDax::entries(dev_dax) };
    layout::pgoff_to_phys(entries, pgoff as u64, size as u64).unwrap_or(bindings::phys_addr_t::MAX)
}

global_lock! {
    /// The names that `new_id` gave to drivers. A leaf: taken last, held briefly.
    // SAFETY: `dax_rust_bus_init()` initialises it before there is a bus.
    pub(crate) unsafe(uninit) static IDS: Mutex<Option<Ids>> = None;
}

/// Registers the bus: at `subsys_initcall` when built in, see glue.c. It stays for
/// good then.
///
/// # Safety
///
/// Called once, before anything else of the bus.
#[export]
pub(crate) unsafe extern "C" fn dax_rust_bus_init() -> c_int {
    // SAFETY: By the contract.
    match unsafe { register_bus() } {
        Ok(bus) => {
            core::mem::forget(bus);
            0
        }
        Err(e) => e.to_errno(),
    }
}

/// # Safety
///
/// Called once, before anything else of the bus.
unsafe fn register_bus() -> Result<RegisteredBus<DaxBus>> {
    // SAFETY: Called once, by the contract.
    unsafe { IDS.init() };
    // SAFETY: As above.
    unsafe { BUS.register() }
}

/// The bus, for as long as the module is loaded.
pub(crate) struct BusRegistration {
    _bus: Option<RegisteredBus<DaxBus>>,
}

impl BusRegistration {
    /// Registers the bus, unless it was when the kernel booted.
    ///
    /// # Errors
    ///
    /// What `bus_register()` fails with.
    pub(crate) fn new() -> Result<Self> {
        let bus = if cfg!(MODULE) {
            // SAFETY: A module is initialised once, and this comes first.
            Some(unsafe { register_bus() }?)
        } else {
            None
        };
        Ok(Self { _bus: bus })
    }
}

impl Drop for BusRegistration {
    fn drop(&mut self) {
        let ids = IDS.lock().take();
        drop(ids);
    }
}

/// This crate's own driver, for as long as the module is loaded.
pub(crate) struct DriverRegistration(&'static Driver);

impl DriverRegistration {
    /// Registers `driver` under the module's name.
    ///
    /// # Errors
    ///
    /// What `driver_register()` fails with.
    pub(crate) fn new(driver: &'static OwnDriver) -> Result<Self> {
        let raw = driver.as_ptr();
        // SAFETY: The driver is static and unregistered when this is dropped,
        // before the module goes.
        unsafe { register_driver(raw, &BUS, THIS_MODULE, c"device_dax".as_char_ptr()) }?;
        // SAFETY: It is registered now, until this is dropped.
        Ok(Self(unsafe { Driver::from_raw(raw) }))
    }
}

impl Drop for DriverRegistration {
    fn drop(&mut self) {
        // SAFETY: `new` registered it.
        unsafe { self.0.unregister() };
        forget_ids(self.0.key());
    }
}

// `Ref` is what keeps a device alive; C keeps it through the region.
const _: () = assert!(size_of::<Ref<DevDax>>() == size_of::<*mut bindings::dev_dax>());
