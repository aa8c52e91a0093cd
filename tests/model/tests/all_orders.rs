// SPDX-License-Identifier: GPL-2.0

//! Every pair of operations in every state, and more.
//!
//! With `DAX_DEPTH` set, the tests try more preemptions, failing steps and triples, which takes
//! longer. docs/model.md has the bounds.

use dax_model::scenario::{Scenario, State, STATES};
use dax_model::search::{self, Found};

/// Whether there is time.
fn deep() -> bool {
    std::env::var_os("DAX_DEPTH").is_some()
}

/// Seeds that are tried. Each has one scenario, under eight schedules.
fn seeds() -> u64 {
    match deep() {
        true => 20_000,
        false => 500,
    }
}

/// Number of times that a task that could go on has to give way, in a pair.
fn preemptions(state: State) -> usize {
    match (deep(), state) {
        (false, _) => 0,
        // The work that looks at pages is a third task, who unpins them a fourth.
        (true, State::Pinned | State::Draining) => 1,
        // Zeroing takes the host's time.
        (true, State::Zeroing | State::Lent) => 1,
        (true, _) => 2,
    }
}

/// The same where a step fails.
fn preemptions_of_failing(state: State) -> usize {
    match state {
        State::Pinned | State::Draining | State::Zeroing | State::Lent => 0,
        _ => 1,
    }
}

/// Nothing went wrong, and it was tried at all.
fn check(found: &Found, scenarios: usize) {
    println!(
        "{} scenarios, {} schedules",
        found.scenarios, found.schedules
    );
    // Printed here: while schedules are tried, panics of any thread are silent.
    println!("{}", found.complaints());
    assert!(found.wrong.is_empty());
    assert!(
        found.scenarios >= scenarios as u64,
        "only {} were tried",
        found.scenarios
    );
    assert!(found.schedules >= found.scenarios);
}

fn pairs(state: State) {
    let scenarios = search::scenarios(&[state], &search::pairs());
    check(
        &search::exhaust(&scenarios, preemptions(state)),
        scenarios.len(),
    );
}

/// Each step of each operation fails; of each of a pair, if there is time.
fn failing(state: State) {
    let (scenarios, preemptions) = match deep() {
        true => (search::pairs(), preemptions_of_failing(state)),
        // `read` has no step that fails, and is soon over.
        false => (
            search::pairs()
                .into_iter()
                .filter(|pair| pair.contains(&"read"))
                .collect(),
            0,
        ),
    };
    let scenarios = search::scenarios(&[state], &scenarios);
    // More than the one in which the step that is to fail is not reached.
    check(
        &search::fail_each_step(&scenarios, preemptions),
        3 * scenarios.len(),
    );
}

macro_rules! each_state {
    ($($state:ident $pairs:ident $failing:ident;)*) => {
        $(
            #[test]
            fn $pairs() {
                pairs(State::$state);
            }

            #[test]
            fn $failing() {
                failing(State::$state);
            }
        )*

        #[test]
        fn each_state_is_tried() {
            assert_eq!(STATES, [$(State::$state),*]);
        }
    };
}

each_state! {
    Empty pairs_with_an_empty_device each_step_fails_with_an_empty_device;
    Sized pairs_with_a_device each_step_fails_with_a_device;
    Holes pairs_with_two_ranges each_step_fails_with_two_ranges;
    Bound pairs_with_a_bound_device each_step_fails_with_a_bound_device;
    Around pairs_with_fault_around each_step_fails_with_fault_around;
    Mapped pairs_with_a_mapped_page each_step_fails_with_a_mapped_page;
    Pinned pairs_with_a_pinned_page each_step_fails_with_a_pinned_page;
    Draining pairs_while_a_device_drains each_step_fails_while_a_device_drains;
    Kmem pairs_with_kmem each_step_fails_with_kmem;
    Fsdev pairs_with_fsdev each_step_fails_with_fsdev;
    Online pairs_with_memory_left_online each_step_fails_with_memory_left_online;
    Zeroing pairs_with_memory_that_is_zeroed each_step_fails_with_memory_that_is_zeroed;
    Lent pairs_with_memory_that_kmem_had each_step_fails_with_memory_that_kmem_had;
    Static pairs_with_a_static_region each_step_fails_with_a_static_region;
}

/// Three that are about one device at once, in a state.
fn triples(state: State) {
    let all = search::triples();
    // Each is part of one of ten, if there is no time.
    let scenarios: Vec<_> = match deep() {
        true => all,
        false => all.into_iter().step_by(10).collect(),
    };
    let scenarios = search::scenarios(&[state], &scenarios);
    check(&search::exhaust(&scenarios, 0), scenarios.len());
}

#[test]
fn triples_with_a_device() {
    triples(State::Sized);
}

#[test]
fn triples_with_a_bound_device() {
    triples(State::Bound);
}

#[test]
fn triples_with_a_pinned_page() {
    triples(State::Pinned);
}

/// Triples in which a device is deleted while it is created, and its number is used again.
#[test]
fn creating_deleting_and_creating() {
    let triples = [
        ["create", "delete next", "create"],
        ["create", "delete next", "grow next"],
        ["create", "delete next", "bind next"],
        ["create", "delete next", "region unbind"],
        ["create", "grow next", "bind next"],
        ["create", "grow next", "region unbind"],
        ["create", "bind next", "kill"],
        ["delete", "create", "create"],
    ];
    // With a bound device there is no seed, so the next one may become it.
    let states = [State::Empty, State::Sized, State::Bound];
    let scenarios = search::scenarios(&states, &triples);
    let preemptions = if deep() { 2 } else { 1 };
    check(&search::exhaust(&scenarios, preemptions), scenarios.len());
}

/// A file of the region cannot be made, and those before it were there already: whoever
/// created a device in between leaves nothing.
#[test]
fn region_that_is_not_made_leaves_no_device() {
    let scenarios = search::scenarios(
        &[State::Empty, State::Static],
        &[
            ["region rebind", "create"],
            ["region rebind", "delete"],
            ["region rebind", "delete next"],
        ],
    );
    check(
        &search::fail_each_step(&scenarios, if deep() { 2 } else { 1 }),
        3 * scenarios.len(),
    );
}

#[test]
fn random_scenarios() {
    check(&search::random_seeds(1, seeds()), seeds() as usize);
}

/// A seed is a scenario and schedules of it, always the same.
#[test]
fn seeds_replay() {
    for seed in 1..20 {
        let name = search::random_scenario(seed).name();
        assert_eq!(name, search::random_scenario(seed).name());
        let [first, second] = [search::random(seed), search::random(seed)];
        assert_eq!(first.schedules, second.schedules);
    }
    let other: Scenario = search::random_scenario(2);
    assert_ne!(search::random_scenario(1).name(), other.name());
}
