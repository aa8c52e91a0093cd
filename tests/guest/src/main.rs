// SPDX-License-Identifier: GPL-2.0
//! Drives the device-dax driver of the running kernel: through sysfs, mmap and daxctl.
//!
//! - `dax-guest list` prints the groups of tests and the guests that they need.
//! - `dax-guest test GROUP [FILTER]` runs a group as root and reports in KTAP.
//! - `dax-guest stress SEED SECONDS` does everything at once and checks the invariants.
//! - `dax-guest sequences SEED FIRST COUNT` does things at random and writes a transcript.
//! - `dax-guest replay FILE` does the things in a file and writes a transcript.
//! - `dax-guest bench MODE RANGES [ONLY]` measures, and prints JSON.
//! - `dax-guest colours SEEDS` prints the page frames of tenants, by how their devices were made.
//! - `dax-guest down WAY STATE` takes the machine down while a page of a device is held.
//! - `dax-guest next` says that it is the first process of the next kernel, and powers off.
//! - `dax-guest demo` shows the main job of the driver, for people.

#![deny(clippy::undocumented_unsafe_blocks, unsafe_op_in_unsafe_fn)]

mod ascii_map;
mod bench;
mod child;
mod colours;
mod compare;
mod cpu;
mod cxl;
mod daxctl;
mod daxlayout;
mod demo;
mod device;
mod down;
mod elfcore;
mod errno;
mod family;
mod grace;
mod groups;
mod inject;
mod invariants;
mod iomem;
mod json;
mod kernel;
mod ktap;
mod leaks;
mod memory;
mod mmap;
mod ndctl;
mod node;
mod pagemap;
mod pattern;
mod pin;
mod pipe;
mod power;
mod race;
mod random;
mod region;
mod scenario;
mod snapshot;
mod stress;
mod sysfs;
mod told;
mod trap;
mod uevents;
mod uffd;
mod units;
mod uring;

use dax_protocol::bench::Mode;
use groups::Group;
use ktap::{Failure, Outcome};
use region::Region;
use std::process::ExitCode;

/// The usage of the program.
const USAGE: &str = "usage: dax-guest list | test GROUP [FILTER] | demo | \
     bench count|wall|turns|smoke RANGES [ONLY] | stress SEED SECONDS | \
     sequences SEED FIRST COUNT | replay FILE | colours SEEDS | down poweroff|reboot|kexec STATE";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    if let Err(why) = units::check_page_size() {
        return usage(&why);
    }
    match args[..] {
        ["list"] => {
            for group in Group::all() {
                println!("{}", group.describe());
            }
            ExitCode::SUCCESS
        }
        ["test", group] => test(group, ""),
        ["test", group, filter] => test(group, filter),
        ["sequences", seed, first, count] => match (seed.parse(), first.parse(), count.parse()) {
            (Ok(seed), Ok(first), Ok(count)) => transcript(compare::sequences(seed, first, count)),
            _ => usage(USAGE),
        },
        ["replay", file] => transcript(compare::replay(file)),
        ["bench", mode, ranges] => measure(mode, ranges, None),
        ["bench", mode, ranges, only] => measure(mode, ranges, Some(only)),
        ["colours", seeds] => transcript(colours::run(seeds)),
        ["stress", seed, seconds] => match (seed.parse(), seconds.parse()) {
            (Ok(seed), Ok(seconds)) => prepared(|| stress::run(&Region::fresh()?, seed, seconds)),
            _ => usage(USAGE),
        },
        ["down", way, state] => prepared(|| down::run(way, state)),
        ["next"] => outcome(down::next()),
        ["demo"] if demo::run() => ExitCode::SUCCESS,
        ["demo"] => ExitCode::FAILURE,
        _ => usage(USAGE),
    }
}

/// Runs a group.
fn test(group: &str, filter: &str) -> ExitCode {
    let Some(group) = Group::named(group) else {
        return usage("no such group; `dax-guest list` has them");
    };
    let tests = group.tests(filter);
    if tests.is_empty() {
        return usage("no test of the group has that in its name");
    }
    match kernel::detect() {
        Ok(implementation) => {
            ktap::note(format!("group {}, {implementation} driver", group.name));
            if ktap::run(&tests) {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(error) => usage(&error.to_string()),
    }
}

/// Prepares the process as for a test of a group, and does `work`.
fn prepared(work: impl FnOnce() -> Outcome) -> ExitCode {
    let run = || -> Outcome {
        kernel::detect()?;
        trap::install().map_err(|errno| Failure::Fail(format!("sigaction: {errno}")))?;
        work()
    };
    outcome(run())
}

/// The exit status of a command that is not a test.
fn outcome(outcome: Outcome) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Fail(why) | Failure::Skip(why)) => {
            ktap::note(why);
            ExitCode::FAILURE
        }
    }
}

/// The exit status of a run that writes lines of JSON.
fn transcript(outcome: sysfs::Result<bool>) -> ExitCode {
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => usage(&error.to_string()),
    }
}

/// Runs the benchmark.
fn measure(mode: &str, ranges: &str, only: Option<&str>) -> ExitCode {
    match Mode::ALL.into_iter().find(|known| known.name() == mode) {
        Some(mode) => transcript(bench::run(mode, ranges, only)),
        None => usage(USAGE),
    }
}

/// Prints an error.
fn usage(message: &str) -> ExitCode {
    eprintln!("dax-guest: {message}");
    ExitCode::from(2)
}
