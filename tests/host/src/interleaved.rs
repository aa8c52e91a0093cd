// SPDX-License-Identifier: GPL-2.0

//! Two devices that change at the same time.
//!
//! One device has reserved its new addresses and registers its mappings. Meanwhile the other makes
//! a whole change. Then the first applies its change or cancels it.

use crate::exhaustive::{depth, operations, search};
use crate::oracle::{Dense, Op};
use crate::prelude;
use crate::real::Real;

/// Pages in the region if `DAX_DEPTH` does not say.
const DEFAULT_PAGES: usize = 6;

/// In every state, every pair of operations, ended either way.
#[test]
fn reserved_plan_survives_every_other_operation() {
    let pages = pages();
    let ops = operations(8, pages);
    let mut pairs = 0_usize;
    let states = search(Dense::new(8, pages, 2), &ops, |state, steps| {
        for (device, first, reserved) in steps {
            let (Op::Resize(_) | Op::MapAt(..), Ok(reserved)) = (first, reserved) else {
                continue;
            };
            // Removed pages become free for others only when the plan is applied.
            if reserved.devices[*device].size() < state.devices[*device].size() {
                continue;
            }
            for second in &ops {
                pairs += 1;
                pair(state, *device, reserved, *first, *second);
            }
        }
    });
    println!("2 devices, {pages} pages: {states} states, {pairs} pairs of operations");
}

fn pages() -> usize {
    depth(DEFAULT_PAGES).saturating_sub(1).max(3)
}

fn pair(state: &Dense, device: usize, reserved: &Dense, first: Op, second: Op) {
    let other = reserved.after(1 - device, second);
    let error = other.as_ref().err().copied();
    let applied = other.as_ref().unwrap_or(reserved);
    let mut cancelled = applied.clone();
    cancelled.replace(device, state.devices[device].clone());
    for (apply, expected) in [(true, applied), (false, &cancelled)] {
        let mut real = Real::of(state);
        let mut plan = real.plan(device, first).unwrap().unwrap();
        plan.prepare(&mut real.layouts[device]).unwrap();
        real.space.reserve(&mut plan);
        let result = real.apply(1 - device, second);
        assert_eq!(
            result.err(),
            error,
            "{second:?} during {first:?} of {state:?}"
        );
        if apply {
            real.commit(device, plan);
        } else {
            real.space.cancel(plan);
        }
        real.check(expected);
    }
}

/// A plan that was not reserved in time does all or nothing.
#[test]
fn stale_plan_does_all_or_nothing() {
    let pages = pages();
    let ops = operations(8, pages);
    let (mut all, mut nothing) = (0_usize, 0_usize);
    search(Dense::new(8, pages, 2), &ops, |state, steps| {
        for (device, first, planned) in steps {
            let Ok(planned) = planned else {
                continue;
            };
            let device = *device;
            for (changed, second, other) in steps {
                let Ok(other) = other else {
                    continue;
                };
                // A plan knows the ranges it was made for, not the alignment.
                if *changed == device && matches!(second, Op::Align(_)) {
                    continue;
                }
                let mut real = Real::of(state);
                let Some(Ok(mut plan)) = real.plan(device, *first) else {
                    continue;
                };
                real.apply(*changed, *second).unwrap();
                plan.prepare(&mut real.layouts[device]).unwrap();
                let warnings = prelude::warnings(|| {
                    real.space.reserve(&mut plan);
                    plan.apply(&mut real.space, &mut real.layouts[device]);
                });
                if real.has_ranges(device, &other.devices[device]) {
                    real.check(other);
                    // Nobody may think that it was done.
                    let was_empty = planned.devices[device] == state.devices[device];
                    assert!(was_empty || warnings > 0, "nothing was done, in silence");
                    nothing += 1;
                } else {
                    assert_eq!(warnings, 0);
                    let mut both = other.clone();
                    both.replace(device, planned.devices[device].clone());
                    real.check(&both);
                    all += 1;
                }
            }
        }
    });
    println!("stale plans: {all} did all, {nothing} did nothing");
    assert!(all > 0 && nothing > 0);
}
