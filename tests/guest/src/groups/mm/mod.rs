// SPDX-License-Identifier: GPL-2.0
//! Other work of the memory manager on mappings: huge pages by choice, advice, dirty bits,
//! userfaultfd, core dumps, memory cgroups, NUMA balancing.

mod advice;
mod balance;
mod cgroup;
mod core;
mod dirty;
mod thp;
mod watch;

use crate::device::Device;
use crate::errno::Errno;
use crate::ktap::{needs_units, Failure, Test};
use crate::region::Region;
use crate::units::{Span, GIB, PAGE, UNIT};

/// The tests of small and huge pages, by file.
pub const FILES: &[&[Test]] = &[
    thp::TESTS,
    advice::TESTS,
    dirty::TESTS,
    watch::TESTS,
    core::TESTS,
    cgroup::TESTS,
    balance::TESTS,
];
/// The tests at 1 GiB.
pub const GIANT: &[Test] = &[thp::GIANT, core::GIANT];

/// A bound device of two ranges, the upper one first.
fn device(region: &Region, align: u64) -> Result<Device, Failure> {
    needs_units(region, 8)?;
    Ok(region.create_bound(align, &spans(region, align))?)
}

/// The ranges of such a device.
fn spans(region: &Region, align: u64) -> [Span; 2] {
    match align {
        // The first region of the group has no more than 256 MiB.
        PAGE | UNIT => [region.units(5, 3), region.units(1, 2)],
        _ => [2, 0].map(|gib| region.units(gib * GIB / UNIT, GIB / UNIT)),
    }
}

/// Names a failed system call.
fn failed(what: &str) -> impl Fn(Errno) -> Failure + '_ {
    move |errno| Failure::Fail(format!("{what}: {errno}"))
}
