// SPDX-License-Identifier: GPL-2.0
//! Everything at once.

use crate::ktap::{Outcome, Test};
use crate::region::Region;
use crate::{stress, test};

/// The tests of this file.
pub const TESTS: &[Test] = &[test!(everything_at_once_keeps_the_books)
    .not_on_c("hangs or oopses")
    .slow()
    .may_warn()];

/// The share of `make stress` that is a test.
fn everything_at_once_keeps_the_books(region: &Region) -> Outcome {
    stress::run(region, 1, 60)
}
