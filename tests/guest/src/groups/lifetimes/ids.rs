// SPDX-License-Identifier: GPL-2.0
//! Unloading the module frees the ids of drivers (L5).

use crate::device::Driver;
use crate::family;
use crate::kernel::modprobe;
use crate::ktap::{Outcome, Test};
use crate::leaks::Usage;
use crate::region;
use crate::sysfs;
use crate::test;

/// The tests of this file.
pub const TESTS: &[Test] = &[test!(l5_ids_go_with_the_module, region::tear_down).slow()];

/// Ids that a driver is told before it goes: so many that what holds them is no small object.
const IDS: u32 = 150;
/// Number of repetitions.
const ROUNDS: u64 = 60;

/// The module comes, is told ids, and goes.
fn round() -> sysfs::Result<()> {
    modprobe(&["device_dax"])?;
    let new_id = Driver::DeviceDax.attr("new_id");
    (0..IDS).try_for_each(|id| sysfs::write(&new_id, &format!("dax9.{id}")))?;
    family::unload()
}

fn l5_ids_go_with_the_module() -> Outcome {
    family::require_modules()?;
    family::unload()?;
    (0..5).try_for_each(|_| round())?;
    let before = Usage::now()?;
    (0..ROUNDS).try_for_each(|_| round())?;
    before.check_no_growth(&Usage::now()?, ROUNDS)
}
