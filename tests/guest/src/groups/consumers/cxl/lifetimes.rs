// SPDX-License-Identifier: GPL-2.0
//! An open file of a device outlives its region, the region's memory and all modules (L1).

use super::{devdax, empty};
use crate::cxl;
use crate::device::Device;
use crate::family;
use crate::groups::lifetimes::parents::{closed_after, unload_and_close, Left};
use crate::ktap::{check, Outcome, Test};
use crate::test;
use crate::units::UNIT;

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(l1_file_outlives_the_region_of_its_device, cxl::tear_down),
    test!(l1_file_outlives_the_memory_of_its_region, cxl::tear_down),
    test!(l1_file_outlives_the_modules_of_its_region, cxl::tear_down).slow(),
];

fn l1_file_outlives_the_region_of_its_device() -> Outcome {
    for mapping_first in Left::WAYS {
        let (region, dax) = empty()?;
        let left = Left::of(&devdax(&dax, UNIT, &[dax.units(7, 1)])?)?;
        region.destroy()?;
        check("devices", Device::all(), vec![])?;
        left.check_dead()?;
        closed_after("its region", left, mapping_first)?;
    }
    Ok(())
}

fn l1_file_outlives_the_memory_of_its_region() -> Outcome {
    let (region, dax) = empty()?;
    let left = Left::of(&devdax(&dax, UNIT, &[dax.units(7, 1)])?)?;
    cxl::run(&["disable-memdev", "-f", "all"])?;
    check("devices", Device::all(), vec![])?;
    left.check_dead()?;
    closed_after("its memory", left, true)?;
    check("region", cxl::dir(region.name()).exists(), true)
}

fn l1_file_outlives_the_modules_of_its_region() -> Outcome {
    family::require_modules()?;
    for last in ["dax_cxl", "cxl_mem", "cxl_port", "cxl_core"] {
        let (_, dax) = empty()?;
        unload_and_close(&devdax(&dax, UNIT, &[dax.units(3, 1)])?, last)?;
    }
    Ok(())
}
