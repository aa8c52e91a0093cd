// SPDX-License-Identifier: GPL-2.0

//! Tries scenarios.

use std::time::Instant;

use dax_model::operations::OPERATIONS;
use dax_model::scenario::{Scenario, STATES};
use kernel::explore::Strategy;

fn main() {
    let bound = std::env::args().nth(1).map_or(1, |text| text.parse().unwrap());
    let only = std::env::args().nth(2);
    let start = Instant::now();
    let mut total = 0;
    let mut wrongs = 0;
    for state in STATES {
        let begin = Instant::now();
        let mut count = 0;
        let mut most = (0, String::new());
        for (i, first) in OPERATIONS.iter().enumerate() {
            for second in &OPERATIONS[i..] {
                let scenario = Scenario::new(state, &[first.name, second.name]);
                if only.as_ref().is_some_and(|only| !scenario.name().contains(only)) {
                    continue;
                }
                let tried = scenario.explore(&Strategy::Exhaustive { preemptions: bound });
                count += tried.schedules;
                if tried.schedules > most.0 {
                    most = (tried.schedules, scenario.name());
                }
                if let Some(wrong) = tried.wrong {
                    wrongs += 1;
                    println!("WRONG {}: {}", scenario.name(), wrong.what);
                    if only.is_some() {
                        for line in &wrong.trace {
                            println!("    {line}");
                        }
                    }
                }
            }
        }
        total += count;
        println!("{state:?}: {count} schedules in {:?}; most {most:?}", begin.elapsed());
    }
    println!("{total} schedules in {:?}, {wrongs} wrong", start.elapsed());
    for (outer, inner) in dax_model::scenario::lock_order() {
        println!("  {outer} > {inner}");
    }
}
