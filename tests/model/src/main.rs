// SPDX-License-Identifier: GPL-2.0

//! Tries scenarios: `dax-model random SEED SECONDS`, or `dax-model pairs BOUND`.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use dax_model::scenario::STATES;
use dax_model::search::{self, Found};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let start = Instant::now();
    let number = |text: &str| text.parse::<u64>().ok();
    let found = match words[..] {
        ["random", seed, seconds] => match (number(seed), number(seconds)) {
            (Some(seed), Some(seconds)) => search::random_for(seed, Duration::from_secs(seconds)),
            _ => return usage(),
        },
        ["pairs", bound] => each_state(bound, |state, bound| {
            search::exhaust(&search::scenarios(&[state], &search::pairs()), bound)
        }),
        ["triples", bound] => each_state(bound, |state, bound| {
            search::exhaust(&search::scenarios(&[state], &search::triples()), bound)
        }),
        ["failing", bound] => each_state(bound, |state, bound| {
            search::fail_each_step(&search::scenarios(&[state], &search::pairs()), bound)
        }),
        _ => return usage(),
    };
    report(&found, start.elapsed())
}

fn usage() -> ExitCode {
    eprintln!("dax-model random SEED SECONDS | pairs BOUND | triples BOUND | failing BOUND");
    ExitCode::FAILURE
}

fn each_state(bound: &str, f: impl Fn(dax_model::scenario::State, usize) -> Found) -> Found {
    let bound = bound.parse().unwrap_or(1);
    let mut all = Found::default();
    for state in STATES {
        let start = Instant::now();
        let found = f(state, bound);
        println!(
            "{state:?}: {} scenarios, {} schedules, {} wrong, {:.1} s",
            found.scenarios,
            found.schedules,
            found.wrong.len(),
            start.elapsed().as_secs_f32()
        );
        all.scenarios += found.scenarios;
        all.schedules += found.schedules;
        all.wrong.extend(found.wrong);
    }
    all
}

fn report(found: &Found, took: Duration) -> ExitCode {
    for (name, wrong) in found.wrong.iter().take(5) {
        println!("WRONG {name}: {}", wrong.what);
        for line in &wrong.trace {
            println!("    {line}");
        }
    }
    for (name, wrong) in &found.wrong {
        println!("WRONG {name}: {}", wrong.what);
    }
    println!(
        "{} schedules of {} scenarios, {} wrong, {:.1} s",
        found.schedules,
        found.scenarios,
        found.wrong.len(),
        took.as_secs_f32()
    );
    if found.wrong.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
