// SPDX-License-Identifier: GPL-2.0

//! Two devices that change at the same time.
//!
//! One device has reserved its new addresses and registers its mappings. Meanwhile the other makes
//! a whole change. Then the first commits its reservation or cancels it.

use crate::exhaustive::{depth, operations, search, two_at_once};
use crate::oracle::{Dense, Op};
use crate::prelude;
use crate::real::Real;

/// Pages in the region if `DAX_DEPTH` does not say.
const DEFAULT_PAGES: usize = 6;

/// Tries every pair of operations in every state, with a commit and with a cancellation.
#[test]
fn reservation_survives_every_other_operation() {
    let pages = pages();
    let ops = operations(8, pages);
    let mut firsts = ops.clone();
    firsts.extend(two_at_once(8, 2));
    let mut pairs = 0_usize;
    let states = search(Dense::new(8, pages, 2), &firsts, |state, steps| {
        for (device, first, reserved) in steps {
            let (Op::Resize(_) | Op::MapAt(..) | Op::MapTwo(..), Ok(reserved)) = (first, reserved)
            else {
                continue;
            };
            // A shrink has one step.
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
        let reservation = real.reserve(device, first).unwrap().unwrap();
        let result = real.apply(1 - device, second);
        assert_eq!(
            result.err(),
            error,
            "{second:?} during {first:?} of {state:?}"
        );
        if apply {
            real.commit(device, reservation);
        } else {
            reservation.cancel(&mut real.allocator);
        }
        real.check(expected);
    }
}

/// A reservation for ranges that changed meanwhile, which the ranges lock excludes: all of it goes
/// back, and the driver complains.
#[test]
fn stale_reservation_is_given_back() {
    let pages = pages();
    let ops = operations(8, pages);
    let mut stale = 0;
    search(Dense::new(8, pages, 2), &ops, |state, steps| {
        for (device, first, reserved) in steps {
            let device = *device;
            let unchanged =
                |next: &Dense| next.devices[device].size() == state.devices[device].size();
            let Ok(reserved) = reserved else {
                continue;
            };
            if unchanged(reserved) {
                continue;
            }
            let seconds = [
                Op::Resize(0),
                Op::Delete,
                Op::Resize(state.devices[device].align),
            ];
            for second in seconds {
                let mut real = Real::of(state);
                let Some(Ok(reservation)) = real.reserve(device, *first) else {
                    continue;
                };
                let Ok(other) =
                    reserved_but_not_given(state, reserved, device).after(device, second)
                else {
                    reservation.cancel(&mut real.allocator);
                    continue;
                };
                if unchanged(&other) {
                    reservation.cancel(&mut real.allocator);
                    continue;
                }
                real.apply(device, second).unwrap();
                let warnings = prelude::warnings(|| {
                    reservation.commit(&mut real.allocator, &mut real.layouts[device]);
                });
                assert_eq!(warnings, 1, "{second:?} during {first:?} of {state:?}");
                let mut expected = state.clone();
                expected.replace(device, other.devices[device].clone());
                real.check(&expected);
                stale += 1;
            }
        }
    });
    println!("{stale} stale reservations");
    assert!(stale > 0);
}

/// `state`, with the pages taken that device number `device` has in `reserved`.
fn reserved_but_not_given(state: &Dense, reserved: &Dense, device: usize) -> Dense {
    Dense {
        taken: reserved.taken.clone(),
        devices: reserved
            .devices
            .iter()
            .enumerate()
            .map(|(index, other)| match index == device {
                true => state.devices[device].clone(),
                false => other.clone(),
            })
            .collect(),
        ..state.clone()
    }
}

/// A reservation that is dropped would leak its memory: the driver complains.
#[test]
fn forgotten_reservation_warns() {
    let mut real = Real::of(&Dense::new(8, 4, 1));
    let warnings = prelude::warnings(|| drop(real.reserve(0, Op::Resize(2))));
    assert_eq!(warnings, 1);
}
