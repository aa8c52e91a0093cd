// SPDX-License-Identifier: GPL-2.0
//! The output of `dax-guest colours`: the page frames of two tenants, by how their devices were
//! made.

use crate::{print_as_json, Impl};
use serde::{Deserialize, Serialize};

/// The way in which the devices of two tenants were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Placement {
    /// By one write to `size` each: the driver chooses the addresses.
    OneWrite,
    /// By writes to `size` in turns, each by an amount that follows from a seed.
    InTurns(u64),
    /// By daxlayout, in one half of the cache each.
    Colours,
    /// By daxlayout, in two ranges at this distance each.
    Pairs(u64),
}

/// A memory-side cache, as daxlayout shows it and as sysfs has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cache {
    pub size: u64,
    pub line_size: u64,
    /// `indexing` of sysfs; 0 means direct-mapped.
    pub indexing: u64,
    /// `write_policy` of sysfs; 0 means write-back.
    pub write_policy: u64,
    /// The directory in sysfs.
    pub directory: String,
}

/// Consecutive page frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    pub first: u64,
    pub count: u64,
}

impl Run {
    /// Joins frames into runs, and keeps their order.
    pub fn of(frames: &[u64]) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        for &frame in frames {
            match runs.last_mut() {
                Some(run) if run.first + run.count == frame => run.count += 1,
                _ => runs.push(Run {
                    first: frame,
                    count: 1,
                }),
            }
        }
        runs
    }

    /// The single frames of runs.
    pub fn frames(runs: &[Run]) -> Vec<u64> {
        let frames = runs.iter().flat_map(|run| run.first..run.first + run.count);
        frames.collect()
    }
}

/// The page frames of two tenants, in the order of their pages, as `/proc/self/pagemap` has them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tenants {
    pub placement: Placement,
    pub frames: [Vec<Run>; 2],
}

/// A line of the output.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Line {
    /// The first line.
    Machine {
        driver: Impl,
        /// The kernel's release.
        kernel: String,
        cache: Cache,
        /// The page frames of the region.
        region: Run,
    },
    Tenants(Tenants),
    /// The last line: the number of pairs of tenants.
    Done(u64),
}
print_as_json!(Line);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_put_together_and_taken_apart() {
        let frames = [5, 6, 7, 2, 3, 9];
        let runs = Run::of(&frames);
        let all = [(5, 3), (2, 2), (9, 1)].map(|(first, count)| Run { first, count });
        assert_eq!(runs, all);
        assert_eq!(Run::frames(&runs), frames);
        assert!(Run::of(&[]).is_empty());
    }
}
