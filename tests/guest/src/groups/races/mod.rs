// SPDX-License-Identifier: GPL-2.0
//! Operations at the same time. Each test races for a few seconds, then checks the invariants.
//!
//! The tests leave the C driver out of most races, each with its reason: what it did when somebody
//! tried it with `DAX_GUEST_FORCE`.

mod devices;
mod growth;
mod ids;
mod region;
mod signals;

use crate::errno::Errno;
use crate::invariants::check_invariants;
use crate::ktap::{Failure, Outcome, Test};
use crate::region::Region;
use crate::sysfs::Error;

/// The tests, by file.
pub const FILES: &[&[Test]] = &[
    devices::TESTS,
    growth::TESTS,
    ids::TESTS,
    region::TESTS,
    signals::TESTS,
];

/// Errors of calls on a path whose device goes away meanwhile.
const GONE: &[Errno] = &[Errno::ENOENT, Errno::ENODEV, Errno::ENXIO];

/// The CPU where a hog and what it is to disturb take turns.
const SLOW: usize = 1;

/// Lets a racer run there, with its first step.
fn slow_down(round: u64) -> Result<(), Errno> {
    match round {
        0 => crate::cpu::yield_to_all_on(SLOW),
        _ => Ok(()),
    }
}

/// Binds the region again, whatever the race left, and checks that it works.
fn check_alive(region: &Region) -> Outcome {
    if !region.is_bound() {
        region.bind()?;
    }
    check_invariants(region)?;
    let device = region.create_sized(crate::units::UNIT)?;
    device.bind(crate::device::Driver::DeviceDax)?;
    region.destroy(&device).map_err(Failure::from)
}

/// The error number of an access, as the result of a step.
fn errno(error: Error) -> Errno {
    error.errno
}
