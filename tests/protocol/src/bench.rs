// SPDX-License-Identifier: GPL-2.0
//! The output of `dax-guest bench`.

use crate::{print_as_json, Impl};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The way of measuring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// One CPU whose clock counts instructions.
    Count,
    /// Two CPUs and real time, in nanoseconds.
    Wall,
    /// Two CPUs that the emulator runs in turns, and its time, in nanoseconds.
    Turns,
    /// A little of everything, in nanoseconds.
    Smoke,
}

impl Mode {
    pub const ALL: [Mode; 4] = [Mode::Count, Mode::Wall, Mode::Turns, Mode::Smoke];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Count => "count",
            Mode::Wall => "wall",
            Mode::Turns => "turns",
            Mode::Smoke => "smoke",
        }
    }
}

/// The cost of an operation on a device of some ranges.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measurement {
    pub operation: String,
    pub ranges: u64,
    /// The unit of the three costs.
    pub unit: String,
    pub value: f64,
    /// Number of repetitions or things that were measured.
    pub count: u64,
    /// The lowest cost of one repetition, and the highest.
    pub least: f64,
    pub most: f64,
}

/// A line of the output.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Line {
    /// The first line.
    Run {
        driver: Impl,
        /// The kernel's release.
        kernel: String,
        mode: Mode,
    },
    Figure(Measurement),
    /// Bytes of a range, by slab cache.
    Caches(BTreeMap<String, f64>),
    /// The last line: the number of figures.
    Done(u64),
}
print_as_json!(Line);
