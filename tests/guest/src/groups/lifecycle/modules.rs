// SPDX-License-Identifier: GPL-2.0
//! Loading and removing the modules.

use crate::device::Driver;
use crate::errno::Errno;
use crate::family;
use crate::kernel::{has_module, modprobe, modprobe_remove};
use crate::ktap::{check, Failure, Outcome, Test};
use crate::mmap::{self, Map};
use crate::region::Region;
use crate::test;
use crate::trap::Signal;
use crate::units::UNIT;

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(modules_reload_10_times_works).slow(),
    test!(modules_removed_under_live_devices_take_them_along),
    test!(modules_removed_under_open_file_let_it_close),
];

fn modules_reload_10_times_works(region: &Region) -> Outcome {
    family::require_modules()?;
    for round in 0..10 {
        family::unload_bus()?;
        check("device_dax", has_module("device_dax"), false)?;
        check("device", region.first_device().is_ok(), false)?;
        if round % 2 == 0 {
            // In the other order dax_hmem brings what it needs along.
            modprobe(&["device_dax"])?;
        }
        let region = Region::fresh()?;
        let device = region.create_bound(UNIT, &[region.units(3, 1)])?;
        check("store", Map::whole(&device)?.store(0, round), Ok(()))?;
        region.destroy(&device)?;
    }
    Ok(())
}

fn modules_removed_under_live_devices_take_them_along(region: &Region) -> Outcome {
    family::require_modules()?;
    let sized = region.create_sized(2 * UNIT)?;
    let bound = region.create_bound(UNIT, &[region.units(5, 1), region.units(3, 1)])?;
    let empty = region.create()?;
    modprobe_remove("dax_hmem")?;
    for device in [sized, bound, empty] {
        check(
            device.name(),
            device.exists() || device.node().exists(),
            false,
        )?;
    }
    family::unload()?;
    let region = Region::fresh()?;
    check("devices", region.devices()?.len(), 1)?;
    check("available", region.available()?, region.span().len())
}

fn modules_removed_under_open_file_let_it_close(region: &Region) -> Outcome {
    family::require_modules()?;
    let device = region.create_bound(UNIT, &[region.units(5, 2)])?;
    let file = mmap::open(&device.node()).map_err(|e| Failure::Fail(format!("open: {e}")))?;
    let map = Map::shared(&file, UNIT, 0).map_err(|e| Failure::Fail(format!("mmap: {e}")))?;
    check("store", map.store(0, 1), Ok(()))?;
    modprobe_remove("dax_hmem")?;
    // The file's code is in device_dax, which therefore has to stay.
    check("device_dax", has_module("device_dax"), true)?;
    check("load", map.load(0), Err(Signal::BUS))?;
    let again = Map::shared(&file, UNIT, 0).map(|m| m.addr());
    check("mmap", again, Err(Errno::ENXIO))?;
    drop((map, file));
    family::unload()?;
    check("device_dax", has_module("device_dax"), false)?;
    let region = Region::fresh()?;
    let device = region.create_bound(UNIT, &[region.units(5, 2)])?;
    check("load", Map::whole(&device)?.load(0), Ok(1))?;
    check(
        "driver",
        device.driver(),
        Some(Driver::DeviceDax.name().into()),
    )
}
