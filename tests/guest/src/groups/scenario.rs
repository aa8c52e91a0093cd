// SPDX-License-Identifier: GPL-2.0
//! The main job of the driver, which `dax-guest demo` shows, as a test.

use crate::ascii_map::Style;
use crate::ktap::{check, Outcome, Test};
use crate::region::Region;
use crate::scenario::{play, Narrator};
use crate::test;

/// The tests of this file.
pub const TESTS: &[Test] = &[test!(main_job_from_empty_to_empty_region_holds)];

fn main_job_from_empty_to_empty_region_holds(region: &Region) -> Outcome {
    let out = Narrator {
        prefix: "# ",
        style: Style::ASCII,
        maps: false,
    };
    let totals = play(region, &out)?;
    check("a device over several ranges", totals.ranges >= 3, true)
}
