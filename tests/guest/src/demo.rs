// SPDX-License-Identifier: GPL-2.0
//! Shows people the main job of the driver.

use crate::ascii_map::Style;
use crate::kernel::{self, Health, Impl};
use crate::ktap::Failure;
use crate::region::{self, Region};
use crate::scenario::{self, Narrator, Totals};
use crate::trap;
use std::time::Instant;

/// Runs the scenario. Returns whether all of it succeeded.
pub fn run() -> bool {
    let dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb");
    let out = Narrator {
        prefix: "",
        style: if dumb { Style::ASCII } else { Style::UTF8 },
        maps: true,
    };
    let started = Instant::now();
    let result = play(&out);
    let seconds = started.elapsed().as_secs_f64();
    match result {
        Ok(totals) => {
            out.line(&format!(
                "All of it held: a device over up to {} ranges, {} range boundaries crossed, {} page \
                 frames and {:.1} MB compared, {seconds:.0} s.",
                totals.ranges,
                totals.boundaries,
                totals.frames,
                totals.bytes as f64 / 1e6,
            ));
            true
        }
        Err(Failure::Fail(why) | Failure::Skip(why)) => {
            out.line(&why);
            out.line(&format!("It did not hold, after {seconds:.0} s."));
            false
        }
    }
}

/// Runs the scenario and cleans up.
fn play(out: &Narrator) -> Result<Totals, Failure> {
    let fail = |why: String| Failure::Fail(why);
    trap::install().map_err(|errno| fail(format!("sigaction: {errno}")))?;
    let implementation = kernel::detect()?;
    out.line(&format!(
        "device-dax in {}, on Linux {}",
        match implementation {
            Impl::Rust => "Rust",
            Impl::C => "C",
        },
        std::fs::read_to_string("/proc/sys/kernel/osrelease")
            .unwrap_or_default()
            .trim(),
    ));
    let health = Health::now();
    let region = Region::fresh()?;
    let totals = scenario::play(&region, out);
    let cleaned = region::tear_down();
    let totals = totals?;
    cleaned?;
    let after = Health::now();
    if after != health {
        return Err(fail(format!(
            "the kernel complained: {health:?}, then {after:?}"
        )));
    }
    Ok(totals)
}
