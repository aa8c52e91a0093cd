// SPDX-License-Identifier: GPL-2.0
//! Open files and mappings of a device may be closed at any later time: after the device, its
//! region, the region's parent and the modules of all of them are gone (L1).

use crate::device::{Device, Driver};
use crate::errno::Errno;
use crate::family;
use crate::kernel::{self, has_module};
use crate::ktap::{check, Failure, Outcome, Test};
use crate::mmap::{self, Map};
use crate::pin::failed;
use crate::region::{self, Region};
use crate::sysfs;
use crate::test;
use crate::trap::Signal;
use crate::units::UNIT;
use std::fs::File;
use std::path::Path;
use std::thread;
use std::time::Duration;

/// The tests of this file, for soft-reserved memory. Other memory has tests in its own group.
pub const TESTS: &[Test] = &[
    test!(l1_file_outlives_the_region_of_its_device, tear_down),
    test!(l1_file_outlives_the_platform_device, tear_down),
    test!(l1_file_outlives_the_modules_of_its_region, tear_down).slow(),
];

/// Time for the work that follows the last reference of an object.
const MOMENT: Duration = Duration::from_millis(200);

/// A file and a mapping that outlive their device.
pub struct Left {
    file: File,
    map: Map,
}

impl Left {
    /// Ways to close: the file first, and the mapping first.
    pub const WAYS: [bool; 2] = [false, true];

    /// Opens a bound device, maps a page and touches it.
    pub fn of(device: &Device) -> Result<Left, Failure> {
        check("driver", device.driver(), Some("device_dax".into()))?;
        let file = mmap::open(&device.node()).map_err(failed("open"))?;
        let map = Map::shared(&file, UNIT, 0).map_err(failed("mmap"))?;
        check("store", map.store(0, 1), Ok(()))?;
        Ok(Left { file, map })
    }

    /// Checks that neither the file nor the mapping works.
    pub fn check_dead(&self) -> Outcome {
        check("load", self.map.load(0), Err(Signal::BUS))?;
        let mapped = Map::shared(&self.file, UNIT, 0).map(drop);
        check("mmap", mapped, Err(Errno::ENXIO))
    }

    /// Closes both, and lets the kernel do what follows.
    fn close(self, mapping_first: bool) {
        if mapping_first {
            drop(self.map);
            drop(self.file);
        } else {
            drop(self.file);
            drop(self.map);
        }
        thread::sleep(MOMENT * kernel::slowness());
    }
}

/// Closes the file and the mapping after `what` is gone, and checks the kernel's health.
pub fn closed_after(what: &str, left: Left, mapping_first: bool) -> Outcome {
    let health = kernel::Health::now();
    kernel::log(&format!("what is open is closed, after {what} is gone"));
    left.close(mapping_first);
    check(
        format!("health once closed after {what}"),
        kernel::Health::now(),
        health,
    )
}

/// Unloads every module but the one whose file is open, and closes it once the module `last` is
/// gone; then that one can go too.
pub fn unload_and_close(device: &Device, last: &str) -> Outcome {
    let left = Left::of(device)?;
    let mut left = Some(left);
    let mut closed = Ok(());
    family::unload_noting(|module| {
        if module != last || has_module(module) {
            return;
        }
        if let Some(left) = left.take() {
            closed = left
                .check_dead()
                .and_then(|()| closed_after(module, left, module.len() % 2 == 0));
        }
    })?;
    closed?;
    check(format!("{last} is gone"), left.is_none(), true)?;
    check("loaded", family::loaded(), vec![])
}

/// The driver that makes the regions.
const PLATFORM: &str = "/sys/bus/platform/drivers/hmem_platform";
const PLATFORM_DEVICE: &str = "hmem_platform.0";

/// Puts the platform's device back, and empties the region.
fn tear_down() -> sysfs::Result<()> {
    let driver = Path::new(PLATFORM);
    if driver.exists() && !driver.join(PLATFORM_DEVICE).exists() {
        sysfs::write(&driver.join("bind"), PLATFORM_DEVICE)?;
    }
    region::tear_down()
}

/// A bound device in a region of soft-reserved memory.
fn bound() -> sysfs::Result<(Region, Device)> {
    let region = Region::fresh()?;
    let device = region.create_bound(UNIT, &[region.units(4, 2), region.units(1, 1)])?;
    Ok((region, device))
}

fn l1_file_outlives_the_region_of_its_device() -> Outcome {
    for mapping_first in Left::WAYS {
        for unbound_first in [false, true] {
            let (region, device) = bound()?;
            let left = Left::of(&device)?;
            if unbound_first {
                region.destroy(&device)?;
            }
            region.unbind()?;
            left.check_dead()?;
            closed_after("its region", left, mapping_first)?;
        }
    }
    Ok(())
}

fn l1_file_outlives_the_platform_device() -> Outcome {
    for mapping_first in Left::WAYS {
        let (_, device) = bound()?;
        let left = Left::of(&device)?;
        sysfs::write(&Path::new(PLATFORM).join("unbind"), PLATFORM_DEVICE)?;
        check("devices", Device::all(), vec![])?;
        left.check_dead()?;
        closed_after("the platform device", left, mapping_first)?;
        sysfs::write(&Path::new(PLATFORM).join("bind"), PLATFORM_DEVICE)?;
    }
    let (_, device) = bound()?;
    device.unbind()?;
    Ok(device.bind(Driver::DeviceDax)?)
}

fn l1_file_outlives_the_modules_of_its_region() -> Outcome {
    family::require_modules()?;
    for last in ["dax_hmem", "kmem"] {
        let (_, device) = bound()?;
        unload_and_close(&device, last)?;
    }
    Ok(())
}
