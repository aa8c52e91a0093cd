// SPDX-License-Identifier: GPL-2.0

//! Visits every state that any sequence of operations reaches in a small region.
//!
//! The search does not visit a state twice, so it ends, and its result holds for sequences of any
//! length. `DAX_DEPTH` is the number of pages in the region; each further page makes the search ten
//! times as long.

use std::collections::HashSet;
use std::time::Instant;

use crate::oracle::{Dense, Op};
use crate::ranges::allocator::RangeError;
use crate::real::Real;

/// Pages in the region if `DAX_DEPTH` does not say.
const DEFAULT_PAGES: usize = 6;
/// Alignments in pages.
const ALIGNS: [u64; 3] = [1, 2, 4];

/// Pages in the region.
pub(crate) fn depth(default: usize) -> usize {
    std::env::var("DAX_DEPTH").map_or(default, |depth| depth.parse().unwrap())
}

/// All operations on one device, those that must fail included.
pub(crate) fn operations(base: u64, pages: usize) -> Vec<Op> {
    let pages = pages as u64;
    let mut ops = vec![Op::Delete];
    ops.extend(ALIGNS.map(Op::Align));
    ops.extend((0..=pages + 1).map(Op::Resize));
    for first in base - 1..=base + pages {
        ops.extend((1..=base + pages + 1 - first).map(|pages| Op::MapAt(first, pages)));
    }
    ops
}

/// Two ranges at once: apart in either order, and one over the other.
pub(crate) fn two_at_once(base: u64, pages: usize) -> Vec<Op> {
    let mut ops = vec![Op::MapTwo((base, 1), (base, 2))];
    for first in base..base + pages as u64 {
        ops.push(Op::MapTwo((first, 1), (first + 2, 2)));
        ops.push(Op::MapTwo((first + 2, 1), (first, 2)));
    }
    ops
}

/// A state in few bytes; the same whichever device is which.
fn encode(dense: &Dense) -> Box<[u8]> {
    let codes = dense.devices.iter().map(|device| {
        let mut code = vec![device.ranges.len() as u8, device.align as u8];
        for (first, pages) in &device.ranges {
            code.extend([(first - dense.base) as u8, *pages as u8]);
        }
        code
    });
    let mut codes: Vec<Vec<u8>> = codes.collect();
    codes.sort();
    codes.concat().into()
}

/// An operation on a device, and the state that follows.
pub(crate) type Step = (usize, Op, Result<Dense, RangeError>);

/// Visits all states with all steps from each, and returns how many there are.
pub(crate) fn search(start: Dense, ops: &[Op], mut visit: impl FnMut(&Dense, &[Step])) -> usize {
    let mut seen = HashSet::from([encode(&start)]);
    let mut open = vec![start];
    while let Some(state) = open.pop() {
        let devices = 0..state.devices.len();
        let pairs = devices.flat_map(|device| ops.iter().map(move |op| (device, *op)));
        let steps: Vec<Step> = pairs
            .map(|(device, op)| (device, op, state.after(device, op)))
            .collect();
        visit(&state, &steps);
        for next in steps.into_iter().filter_map(|step| step.2.ok()) {
            if seen.insert(encode(&next)) {
                open.push(next);
            }
        }
    }
    seen.len()
}

/// Takes every step from `state`, each on a fresh copy, and returns at how many
/// points an allocation failed.
fn try_all(state: &Dense, steps: &[Step]) -> usize {
    let mut failures = 0;
    let mut real = Real::of(state);
    real.check(state);
    real.check_pgoff_to_phys(state);
    for (device, op, result) in steps {
        let (device, op) = (*device, *op);
        let expected = match result {
            Ok(expected) => expected,
            Err(e) => {
                assert_eq!(real.apply(device, op), Err(*e), "{op:?} of {state:?}");
                real.check(state);
                continue;
            }
        };
        failures += real.check_allocation_failures(state, device, op);
        if let Some(Ok(reservation)) = real.reserve(device, op) {
            reservation.cancel(&mut real.allocator);
            real.check(state);
        }
        assert_eq!(real.apply(device, op), Ok(()), "{op:?} of {state:?}");
        real.check(expected);
        drop(real);
        real = Real::of(state);
    }
    real.check(state);
    failures
}

fn run(base: u64, pages: usize, devices: usize) {
    let start = Instant::now();
    let mut ops = operations(base, pages);
    ops.extend(two_at_once(base, pages));
    let (mut visited, mut done, mut failures) = (0_usize, 0_usize, 0_usize);
    let states = search(Dense::new(base, pages, devices), &ops, |state, steps| {
        visited += 1;
        done += steps.len();
        failures += try_all(state, steps);
        if visited % 50_000 == 0 {
            println!("  {visited} states, {done} operations so far");
        }
    });
    println!(
        "{devices} devices, pages {base} to {}: {states} states, {done} operations, \
         {failures} allocation failures, {:.1} s",
        base + pages as u64 - 1,
        start.elapsed().as_secs_f32()
    );
}

#[test]
fn two_devices_every_state() {
    run(8, depth(DEFAULT_PAGES), 2);
}

/// The region begins where nothing is aligned.
#[test]
fn two_devices_every_state_misaligned_region() {
    run(9, depth(DEFAULT_PAGES), 2);
}

#[test]
fn three_devices_every_state() {
    run(10, depth(DEFAULT_PAGES) - 1, 3);
}
