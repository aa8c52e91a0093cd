// SPDX-License-Identifier: GPL-2.0

//! Tests.

use kernel::explore::Strategy;

use dax_model::scenario::{Scenario, State};

#[test]
fn smoke() {
    for ops in [&["read"][..], &["create", "delete"], &["grow", "bind"]] {
        let scenario = Scenario::new(State::Sized, ops);
        let start = std::time::Instant::now();
        let tried = scenario.explore(&Strategy::Exhaustive { preemptions: 2 });
        println!(
            "{}: {} schedules in {:?}",
            scenario.name(),
            tried.schedules,
            start.elapsed()
        );
        if let Some(wrong) = tried.wrong {
            for line in &wrong.trace {
                println!("  {line}");
            }
            panic!("{}", wrong.what);
        }
    }
}
