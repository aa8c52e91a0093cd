// SPDX-License-Identifier: GPL-2.0
//! Runs all operations at once, as `make stress` does, for a short time.

use crate::ktap::{check, Outcome, Test};
use crate::region::Region;
use crate::{stress, sysfs, test};

/// The tests of this file.
pub const TESTS: &[Test] = &[test!(everything_at_once_keeps_the_books)
    .not_on_c("hangs or oopses")
    .slow()
    .may_warn()];

/// The tests of this file in a region that zeroes memory.
pub const ZERO: &[Test] = &[test!(nobody_reads_what_another_device_wrote)
    .slow()
    .may_warn()];

/// Runs the stress in a region that zeroes memory, where a device may show its own stamps only.
fn nobody_reads_what_another_device_wrote(region: &Region) -> Outcome {
    let attribute = sysfs::read(&region.attr("zero_on_alloc"))?;
    check("zero_on_alloc", attribute, "1".into())?;
    stress::run(region, 2, 30)
}

/// Runs the stress for the time that a test may take.
fn everything_at_once_keeps_the_books(region: &Region) -> Outcome {
    stress::run(region, 1, 60)
}
