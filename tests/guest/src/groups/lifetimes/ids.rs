// SPDX-License-Identifier: GPL-2.0
//! Unloading the module frees what statics refer to: the ids of drivers (L5), and the list of
//! poisoned pages.

use super::poison::poison;
use crate::device::Driver;
use crate::family;
use crate::kernel::modprobe;
use crate::ktap::{needs_memory_failure, Failure, Outcome, Test};
use crate::leaks::Usage;
use crate::region::{self, Region};
use crate::sysfs;
use crate::test;
use crate::units::UNIT;

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(l5_ids_go_with_the_module, region::tear_down).slow(),
    test!(l5_poisoned_pages_go_with_the_module, region::tear_down).slow(),
];

/// Ids that a driver is told before it goes: so many that what holds them is no small object.
const IDS: u32 = 150;
/// Number of repetitions.
const ROUNDS: u64 = 60;
/// Number of repetitions with a poisoned page.
const POISONED: u64 = 40;

/// The module comes, is told ids, and goes.
fn round() -> sysfs::Result<()> {
    modprobe(&["device_dax"])?;
    let new_id = Driver::DeviceDax.attr("new_id");
    (0..IDS).try_for_each(|id| sysfs::write(&new_id, &format!("dax9.{id}")))?;
    family::unload()
}

/// Nothing is left after `rounds` rounds.
fn leaves_nothing<E>(rounds: u64, round: fn() -> Result<(), E>) -> Outcome
where
    Failure: From<E>,
{
    family::require_modules()?;
    family::unload()?;
    (0..5).try_for_each(|_| round())?;
    let before = Usage::now()?;
    (0..rounds).try_for_each(|_| round())?;
    before.check_no_growth(&Usage::now()?, rounds)
}

fn l5_ids_go_with_the_module() -> Outcome {
    leaves_nothing(ROUNDS, round)
}

/// The module comes, a page of a device is poisoned, and the module goes.
fn poisoned_round() -> Outcome {
    let region = Region::fresh()?;
    let device = region.create_bound(UNIT, &[region.units(0, 1)])?;
    poison(&device, 0)?;
    Ok(family::unload()?)
}

fn l5_poisoned_pages_go_with_the_module() -> Outcome {
    needs_memory_failure()?;
    leaves_nothing(POISONED, poisoned_round)
}
