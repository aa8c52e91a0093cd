// SPDX-License-Identifier: GPL-2.0

//! Chooses the scenarios to try, and how many schedules of each.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use kernel::explore::{Strategy, Wrong};
use kernel::sched::Failure;

use crate::operations::OPERATIONS;
use crate::scenario::{Scenario, State, STATES};

/// The scenarios that were tried, and their results.
#[derive(Default)]
pub struct Found {
    /// Number of scenarios.
    pub scenarios: u64,
    /// Number of schedules of them.
    pub schedules: u64,
    /// The scenarios that went wrong, and what happened in each.
    pub wrong: Vec<(String, Wrong)>,
}

impl Found {
    fn add(&mut self, scenario: &Scenario, strategy: &Strategy) {
        let tried = scenario.explore(strategy);
        self.scenarios += 1;
        self.schedules += tried.schedules;
        if let Some(wrong) = tried.wrong {
            self.wrong.push((scenario.name(), wrong));
        }
    }

    /// The findings as text for people: each scenario, and the steps that led to the first finding.
    pub fn complaints(&self) -> String {
        let mut text = String::new();
        for (name, wrong) in &self.wrong {
            text += &format!("{name}: {}\n", wrong.what);
        }
        if let Some((name, wrong)) = self.wrong.first() {
            text += &format!("\n{name}: {}\n", wrong.what);
            for line in &wrong.trace {
                text += &format!("  {line}\n");
            }
        }
        text
    }

    fn join(&mut self, other: Self) {
        self.scenarios += other.scenarios;
        self.schedules += other.schedules;
        self.wrong.extend(other.wrong);
    }
}

/// Names of all operations, twice the same allowed, once each.
pub fn pairs() -> Vec<[&'static str; 2]> {
    let names: Vec<&str> = OPERATIONS.iter().map(|operation| operation.name).collect();
    let mut all = Vec::new();
    for (i, first) in names.iter().enumerate() {
        all.extend(names[i..].iter().map(|second| [*first, *second]));
    }
    all
}

/// Names of all operations, three at a time.
pub fn triples() -> Vec<[&'static str; 3]> {
    let names: Vec<&str> = OPERATIONS.iter().map(|operation| operation.name).collect();
    let mut all = Vec::new();
    for [first, second] in pairs() {
        let from = names
            .iter()
            .position(|name| *name == second)
            .expect("it is one of them");
        all.extend(names[from..].iter().map(|third| [first, second, *third]));
    }
    all
}

/// Tries each scenario under all schedules of the bound, on all CPUs.
pub fn exhaust(scenarios: &[Scenario], preemptions: usize) -> Found {
    on_all_cpus(scenarios, |scenario, found| {
        found.add(scenario, &Strategy::Exhaustive { preemptions });
    })
}

/// Tries each scenario with each step of each of its tasks failing in turn.
pub fn fail_each_step(scenarios: &[Scenario], preemptions: usize) -> Found {
    on_all_cpus(scenarios, |scenario, found| {
        for task in scenario.tasks() {
            for nth in 0.. {
                let mut failing = scenario.clone();
                failing.failure = Some(Failure {
                    task: task.clone(),
                    nth,
                });
                let before = crate::scenario::failures();
                found.add(&failing, &Strategy::Exhaustive { preemptions });
                // The task has no so many steps in any order.
                if crate::scenario::failures() == before {
                    break;
                }
            }
        }
    })
}

fn on_all_cpus<T: Sync>(items: &[T], f: impl Fn(&T, &mut Found) + Sync) -> Found {
    let next = AtomicUsize::new(0);
    let all = Mutex::new(Found::default());
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..cpus {
            scope.spawn(|| {
                let mut found = Found::default();
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    f(item, &mut found);
                }
                all.lock().expect("no thread panics").join(found);
            });
        }
    });
    all.into_inner().expect("no thread panics")
}

/// Schedules that are tried of each random scenario.
const OF_EACH: u64 = 8;

/// The scenario that belongs to a seed.
pub fn random_scenario(seed: u64) -> Scenario {
    let mut random = Rng::with_seed(seed);
    let mut below = |bound| random.usize(..bound);
    let begin = STATES[below(STATES.len())];
    let count = 2 + below(4);
    let names: Vec<&str> = (0..count)
        .map(|_| OPERATIONS[below(OPERATIONS.len())].name)
        .collect();
    let mut scenario = Scenario::new(begin, &names);
    // In one of four some steps fail.
    if below(4) == 0 {
        scenario.one_in = 2 << below(6);
    }
    scenario.impatience = below(3) as u32;
    scenario
}

/// Tries the scenario of a seed.
pub fn random(seed: u64) -> Found {
    let mut found = Found::default();
    let strategy = Strategy::Random {
        seed,
        count: OF_EACH,
    };
    found.add(&random_scenario(seed), &strategy);
    for (name, _) in &mut found.wrong {
        *name = format!("seed {seed}, {name}");
    }
    found
}

/// Tries the scenarios of so many seeds, on all CPUs.
pub fn random_seeds(first: u64, count: u64) -> Found {
    let seeds: Vec<u64> = (first..first + count).collect();
    on_all_cpus(&seeds, |seed, found| found.join(random(*seed)))
}

/// Tries scenarios of seeds from the first on, on all CPUs, for so long or until one goes
/// wrong.
pub fn random_for(first: u64, time: Duration) -> Found {
    let start = Instant::now();
    let cpus = thread::available_parallelism().map_or(1, usize::from) as u64;
    let all = Mutex::new(Found::default());
    thread::scope(|scope| {
        for cpu in 0..cpus {
            let all = &all;
            scope.spawn(move || {
                let mut found = Found::default();
                let mut seed = first + cpu;
                while start.elapsed() < time && found.wrong.is_empty() {
                    found.join(random(seed));
                    seed += cpus;
                }
                all.lock().expect("no thread panics").join(found);
            });
        }
    });
    all.into_inner().expect("no thread panics")
}

/// All scenarios of a state with those operations.
pub fn scenarios<const N: usize>(states: &[State], operations: &[[&str; N]]) -> Vec<Scenario> {
    let of = |state: &State| {
        let state = *state;
        operations
            .iter()
            .map(move |names| Scenario::new(state, names))
    };
    states.iter().flat_map(of).collect()
}
