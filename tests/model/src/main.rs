// SPDX-License-Identifier: GPL-2.0

//! `dax-model SEED SECONDS`: random scenarios from a seed on, for that many seconds or until one
//! fails. `make model` calls it.

use std::process::ExitCode;
use std::time::Duration;

use dax_model::search;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let numbers: Vec<u64> = args.iter().filter_map(|text| text.parse().ok()).collect();
    let [seed, seconds] = numbers[..] else {
        eprintln!("usage: dax-model SEED SECONDS");
        return ExitCode::FAILURE;
    };
    let found = search::random_for(seed, Duration::from_secs(seconds));
    println!(
        "{} schedules of {} scenarios, {} wrong",
        found.schedules,
        found.scenarios,
        found.wrong.len()
    );
    print!("{}", found.complaints());
    if found.wrong.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
