// SPDX-License-Identifier: GPL-2.0
//! The data that two tenants push out of a direct-mapped cache for each other. A model of the
//! cache, fed with the page frames of their devices, counts it.

use crate::colours;
use crate::groups::layout::CACHE;
use crate::ktap::{check, Outcome, Test};
use crate::region::Region;
use crate::sysfs::Result;
use crate::test;
use crate::units::PAGE;
use dax_cache::{Memory, Turns};
use dax_protocol::colours::{Cache, Placement, Run};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(daxlayout_reads_the_geometry_that_the_firmware_tells),
    test!(tenants_of_one_colour_each_push_nothing_out),
    test!(tenants_of_first_fit_push_each_other_out),
    test!(tenants_that_grow_in_turns_push_each_other_out),
    test!(tenants_of_one_pair_each_push_nothing_out),
    test!(tenants_of_both_halves_push_each_other_out),
];

/// Accesses of each tenant.
const TURNS: Turns = Turns {
    warm_up: 0,
    counted: 100_000,
    seed: 1,
};

/// The number of places that both tenants have, and the number of pages that each lost to the
/// other.
fn shared_and_lost(
    region: &Region,
    placement: Placement,
    size: u64,
    memory: Memory,
) -> Result<(u64, [u64; 2])> {
    let tenants = colours::tenants(region, placement, size)?;
    let [a, b] = tenants.frames.map(|runs| Run::frames(&runs));
    let tallies = TURNS.play(memory, &[&a, &b]);
    let lost = [tallies[0].lost_to_others, tallies[1].lost_to_others];
    Ok((memory.shared(&a, &b), lost))
}

/// The cache whose geometry daxlayout reads.
fn cached(region: &Region) -> Result<Memory> {
    let places = colours::cache(region)?.size / PAGE;
    Ok(Memory::Cached { places })
}

/// Flat memory mode, as it would be if the first half of the region were near memory.
fn flat(region: &Region) -> Memory {
    Memory::Flat {
        base: region.span().start / PAGE,
        places: region.span().len() / 2 / PAGE,
    }
}

/// Fails if the one pushes anything of the other out.
fn apart(region: &Region, placement: Placement, size: u64, memory: Memory) -> Outcome {
    let found = shared_and_lost(region, placement, size, memory)?;
    check("shared places, lost pages", found, (0, [0, 0]))
}

/// Fails unless each pushes pages of the other out.
fn in_conflict(region: &Region, placement: Placement, size: u64, memory: Memory) -> Outcome {
    let (shared, lost) = shared_and_lost(region, placement, size, memory)?;
    let what = format!("{shared} shared places, {lost:?} lost pages: some of each");
    check(what, shared > 0 && lost.iter().all(|&lost| lost > 0), true)
}

fn daxlayout_reads_the_geometry_that_the_firmware_tells(region: &Region) -> Outcome {
    let wanted = Cache {
        size: CACHE,
        line_size: 64,
        indexing: 0,
        write_policy: 0,
        directory: "/sys/devices/system/node/node1/memory_side_cache/index1".to_owned(),
    };
    check("cache", colours::cache(region)?, wanted)
}

fn tenants_of_one_colour_each_push_nothing_out(region: &Region) -> Outcome {
    apart(region, Placement::Colours, CACHE, cached(region)?)
}

fn tenants_of_first_fit_push_each_other_out(region: &Region) -> Outcome {
    in_conflict(region, Placement::OneWrite, CACHE, cached(region)?)
}

fn tenants_that_grow_in_turns_push_each_other_out(region: &Region) -> Outcome {
    let placement = Placement::InTurns(1);
    in_conflict(region, placement, CACHE, cached(region)?)
}

fn tenants_of_one_pair_each_push_nothing_out(region: &Region) -> Outcome {
    let half = region.span().len() / 2;
    apart(region, Placement::Pairs(half), CACHE, flat(region))
}

fn tenants_of_both_halves_push_each_other_out(region: &Region) -> Outcome {
    let half = region.span().len() / 2;
    in_conflict(region, Placement::OneWrite, half, flat(region))
}
