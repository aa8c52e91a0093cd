// SPDX-License-Identifier: GPL-2.0
//! Everything at once, and the same again and again.

mod endurance;

use crate::ktap::{Outcome, Test};
use crate::region::Region;
use crate::{stress, test};

/// The tests, by file.
pub const FILES: &[&[Test]] = &[TESTS, endurance::TESTS];

/// The tests of this file.
const TESTS: &[Test] = &[test!(everything_at_once_keeps_the_books)
    .not_on_c("hangs or oopses")
    .slow()
    .may_warn()];

/// The share of `make stress` that is a test.
fn everything_at_once_keeps_the_books(region: &Region) -> Outcome {
    stress::run(region, 1, 60)
}
