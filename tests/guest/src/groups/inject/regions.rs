// SPDX-License-Identifier: GPL-2.0
//! Binding and unbinding the region itself.

use super::THE_COPY;
use crate::inject::{injector, Operation};
use crate::ktap::{Outcome, Test};
use crate::region::{self, Region};
use crate::sysfs;
use crate::test;
use std::path::Path;

/// The file that says whether drivers are bound to devices as they appear.
const AUTOPROBE: &str = "/sys/bus/dax/drivers_autoprobe";

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(region_bind_without_memory_changes_nothing)
        .not_on_c("deadlocks")
        .slow(),
    test!(region_bind_with_device_without_memory_changes_nothing)
        .not_on_c("deadlocks")
        .slow(),
    test!(region_unbind_without_memory_does_all_or_nothing).slow(),
];

fn region_bind_without_memory_changes_nothing(region: &Region) -> Outcome {
    region.unbind()?;
    Operation::write(Region::driver_attr("bind"), region.hmem(), || {
        region.unbind()
    })
    .walk(region, &injector()?)?;
    Ok(region.bind()?)
}

/// The first device has all of the region, and a mapping. No driver is bound to it: the driver
/// core would not tell who binds the region that this failed.
fn region_bind_with_device_without_memory_changes_nothing(region: &Region) -> Outcome {
    region.unbind()?;
    region::set_idle(false)?;
    sysfs::write(Path::new(AUTOPROBE), "0")?;
    Operation::write(Region::driver_attr("bind"), region.hmem(), || {
        region.unbind()
    })
    .walk(region, &injector()?)?;
    sysfs::write(Path::new(AUTOPROBE), "1")?;
    region::set_idle(true)?;
    Ok(region.bind()?)
}

fn region_unbind_without_memory_does_all_or_nothing(region: &Region) -> Outcome {
    Operation::write(Region::driver_attr("unbind"), region.hmem(), || {
        region.bind()
    })
    .failing_at_most(THE_COPY)
    .walk(region, &injector()?)
}
