// SPDX-License-Identifier: GPL-2.0
//! Plans of daxlayout at random, against the kernel: what sysfs shows of a device is what was
//! planned, and a plan that is refused changes nothing. proptest makes a plan that fails smaller.

use crate::daxlayout::{self, create, spans, value};
use crate::groups::layout::{changes_nothing, snapshot};
use crate::ktap::{check, note, Failure, Outcome, Test};
use crate::region::Region;
use crate::test;
use crate::units::{in_order, Span, MIB, UNIT};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use std::cell::Cell;

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(kernel_gives_what_was_planned_at_random).slow(),
    test!(ranges_that_are_planned_are_those_that_can_be).slow(),
];

/// Number of plans that a test makes.
const PLANS: u32 = 60;
/// The plans use so many units of the region. There are few, so that many plans meet what is taken.
const USED: u64 = 96;
/// Exit statuses of daxlayout: done, the options are wrong, does not fit.
const DONE: i32 = 0;
const USAGE: i32 = 1;
const DOES_NOT_FIT: i32 = 3;

/// A range in units, and how many MiB it is moved by. Units are 2 MiB, so some ranges begin where
/// none can.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    first: u64,
    len: u64,
    moved: u64,
}

impl Wanted {
    fn span(self, region: &Region) -> Span {
        let units = region.units(self.first, self.len);
        Span::at(units.start + self.moved * MIB, units.len())
    }
}

/// The place of a device, as the options of daxlayout give it.
#[derive(Clone, Debug)]
enum Place {
    Contiguous,
    Ranges(Vec<Wanted>),
    /// Period, offset and width in units.
    Stride(u64, u64, u64),
    Colour(u64, u64),
    Pair(u64),
}

/// A plan, and what is taken before.
#[derive(Clone, Debug)]
struct Case {
    taken: Vec<(u64, u64)>,
    place: Place,
    /// In units; if none, all memory that the place has.
    size: Option<u64>,
    align: &'static str,
}

impl Case {
    /// The options of `plan` and `create`.
    fn options(&self, region: &Region) -> Vec<String> {
        let mut options = vec!["-a".to_owned(), self.align.to_owned()];
        let mut add = |option: &str, value: String| {
            options.extend([option.to_owned(), value]);
        };
        let bytes = |units: u64| (units * UNIT).to_string();
        if let Some(size) = self.size {
            add("-s", bytes(size));
        }
        match &self.place {
            Place::Contiguous => {}
            Place::Ranges(ranges) => {
                for range in ranges {
                    let span = range.span(region);
                    add("--range", format!("{:#x}-{:#x}", span.start, span.end));
                }
            }
            Place::Stride(period, offset, width) => {
                add("--stride", bytes(*period));
                add("--offset", bytes(*offset));
                add("--width", bytes(*width));
            }
            Place::Colour(colour, colours) => add("--colour", format!("{colour}/{colours}")),
            Place::Pair(distance) => add("--pair-distance", bytes(*distance)),
        }
        options
    }
}

fn some_ranges() -> impl Strategy<Value = Vec<Wanted>> {
    let moved = prop_oneof![9 => Just(0), 1 => Just(1u64)];
    let range =
        (0..USED, 1u64..6, moved).prop_map(|(first, len, moved)| Wanted { first, len, moved });
    prop::collection::vec(range, 1..6)
}

fn some_place() -> impl Strategy<Value = Place> {
    prop_oneof![
        1 => Just(Place::Contiguous),
        3 => some_ranges().prop_map(Place::Ranges),
        3 => (1u64..40, 0u64..40, 0u64..20).prop_map(|(p, o, w)| Place::Stride(p, o, w)),
        3 => (0u64..9, 1u64..9).prop_map(|(k, n)| Place::Colour(k, n)),
        2 => (0u64..100).prop_map(Place::Pair),
    ]
}

fn some_taken() -> impl Strategy<Value = Vec<(u64, u64)>> {
    prop::collection::vec((0..USED, 1u64..12), 0..6)
}

fn some_case() -> impl Strategy<Value = Case> {
    let size = prop::option::weighted(0.8, 0u64..40);
    let align = prop_oneof![Just("2M"), Just("4K")];
    (some_taken(), some_place(), size, align).prop_map(|(taken, place, size, align)| {
        // Ranges have the size that they have, mostly.
        let has_ranges = matches!(place, Place::Ranges(_));
        let size = size.filter(|&size| !has_ranges || size == 1);
        Case {
            taken,
            place,
            size,
            align,
        }
    })
}

/// Takes parts of the region, each once.
fn take(region: &Region, taken: &[(u64, u64)]) -> Result<Vec<Span>, Failure> {
    let device = region.create()?;
    let mut spans: Vec<Span> = Vec::new();
    for &(first, len) in taken {
        let span = region.units(first, len);
        if !spans.iter().any(|&other| other.overlaps(span)) {
            device.add_mapping(span)?;
            spans.push(span);
        }
    }
    Ok(spans)
}

/// Runs `test` with random values, the same in each run. After each, the region is empty again.
fn at_random<S: Strategy>(
    region: &Region,
    values: S,
    test: impl Fn(S::Value) -> Outcome,
) -> Outcome {
    let config = Config {
        cases: PLANS,
        failure_persistence: None,
        max_shrink_iters: 60,
        ..Config::default()
    };
    let random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let run = TestRunner::new_with_rng(config, random).run(&values, |value| {
        let outcome = test(value).and_then(|()| Ok(empty(region)?));
        // A case that failed must not disturb the next one.
        outcome.map_err(|failure| {
            let left = empty(region).err().map_or(String::new(), |e| e.to_string());
            TestCaseError::fail(format!("{failure:?} {left}"))
        })
    });
    run.map_err(|error| Failure::Fail(error.to_string()))
}

/// Takes all devices but the first away.
fn empty(region: &Region) -> crate::sysfs::Result<()> {
    for device in region.devices()? {
        if device.is_first() {
            device.release()?;
        } else {
            region.destroy(&device)?;
        }
    }
    Ok(())
}

fn kernel_gives_what_was_planned_at_random(region: &Region) -> Outcome {
    let planned = Cell::new(0);
    at_random(region, some_case(), |case| {
        as_planned(region, &case).map(|done| planned.set(planned.get() + u32::from(done)))
    })?;
    enough_of_both(planned.get())
}

/// Fails if nearly all plans were refused, or nearly none.
fn enough_of_both(planned: u32) -> Outcome {
    let refused = PLANS - planned;
    let text = format!("{planned} plans were carried out, {refused} refused");
    note(&text);
    check(text, planned.min(refused) >= PLANS / 5, true)
}

/// Plans and creates. The device must be as planned; if there is no plan, the region must be as it
/// was. Returns whether there was a plan.
fn as_planned(region: &Region, case: &Case) -> Result<bool, Failure> {
    let taken = take(region, &case.taken)?;
    let options = case.options(region);
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let plan = [&["--json", "plan"], &options[..]].concat();
    let status = daxlayout::try_run(&plan)?.status.code();
    let creating = [&["create"], &options[..]].concat();
    match status {
        Some(DONE) => {}
        Some(status @ (USAGE | DOES_NOT_FIT)) => {
            return changes_nothing(region, &creating, status).map(|()| false);
        }
        status => check("status of plan", status, Some(DONE))?,
    }
    let mut before = snapshot(region)?;
    let planned = value(&plan)?;
    before.check_same(&snapshot(region)?)?;
    let device = create(&options)?;
    let wanted = spans(&planned["ranges"]);
    check("ranges", device.ranges()?, in_order(&wanted))?;
    let size: u64 = wanted.iter().map(|span| span.len()).sum();
    check("size", device.size()?, size)?;
    let in_taken = |span: &&Span| taken.iter().any(|taken| taken.overlaps(**span));
    check("ranges that were taken", wanted.iter().find(in_taken), None)?;
    region.destroy(&device)?;
    let mut after = snapshot(region)?;
    for state in [&mut before, &mut after] {
        state.forget_seed();
        state.forget_youngest();
    }
    before.check_same(&after)?;
    Ok(true)
}

fn ranges_that_are_planned_are_those_that_can_be(region: &Region) -> Outcome {
    let cases = (some_taken(), some_ranges());
    let planned = Cell::new(0);
    at_random(region, cases, |(taken, ranges)| {
        let taken = take(region, &taken)?;
        let case = Case {
            taken: Vec::new(),
            place: Place::Ranges(ranges.clone()),
            size: None,
            align: "2M",
        };
        let options = case.options(region);
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let wanted: Vec<Span> = ranges.iter().map(|range| range.span(region)).collect();
        let mut others = taken;
        let mut possible = ranges.iter().all(|range| range.moved == 0);
        for &span in &wanted {
            possible &= !others.iter().any(|other| other.overlaps(span));
            others.push(span);
        }
        if !possible {
            let creating = [&["create"], &options[..]].concat();
            return changes_nothing(region, &creating, DOES_NOT_FIT);
        }
        planned.set(planned.get() + 1);
        let device = create(&options)?;
        check("ranges", device.ranges()?, in_order(&wanted))
    })?;
    enough_of_both(planned.get())
}
