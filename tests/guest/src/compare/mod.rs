// SPDX-License-Identifier: GPL-2.0
//! The guest's half of the side-by-side comparison: it does operations and writes down their
//! results, one JSON object a line. The host compares the transcripts of two kernels.

mod generate;
pub mod log;
mod observe;
mod operation;
pub mod transcribe;
mod view;

use crate::child::{Child, End};
use crate::kernel::{self, Health};
use crate::random;
use crate::region::Region;
use crate::sysfs::{self, Error, Result};
use crate::trap;
use dax_protocol::compare::{Line, Operation, State};
use fastrand::Rng;
use observe::Observer;
use operation::execute;
use std::path::Path;
use std::time::Duration;
use view::View;

/// Operations of a sequence, at least and at most.
const LENGTH: (u64, u64) = (4, 16);
/// Time that a sequence may take before it is taken for a hang.
const LIMIT: Duration = Duration::from_secs(120);
/// The command by which daxctl prints everything that it knows.
const LIST: [&str; 4] = ["daxctl", "list", "-DRMi", "-u"];

/// The operations of a sequence.
enum Source {
    /// The operations are chosen one after the other.
    Chosen(Rng),
    /// The operations are given in a list.
    Given(Vec<Operation>),
}

/// Generates and runs the sequences `first..first + count` of a seed.
pub fn sequences(seed: u64, first: u64, count: u64) -> Result<bool> {
    run_all((first..first + count).map(|number| {
        let random = random::of_sequence(seed, number);
        (number, Source::Chosen(random))
    }))
}

/// Runs lists of operations: a file with a JSON array of arrays of operations.
pub fn replay(file: &str) -> Result<bool> {
    let bad = || Error::state(format!("{file}: no array of arrays of operations"));
    let text = std::fs::read_to_string(file).map_err(|e| Error::new(file, e.into()))?;
    let lists: Vec<Vec<Operation>> = serde_json::from_str(&text).map_err(|_| bad())?;
    run_all((0..).zip(lists.into_iter().map(Source::Given)))
}

/// Runs sequences, each in a process of its own from a fresh region on; whether all could be run.
fn run_all(sources: impl Iterator<Item = (u64, Source)>) -> Result<bool> {
    for driver in ["device_dax", "kmem", "fsdev_dax"] {
        kernel::modprobe(&[driver])?;
    }
    fresh()?;
    let base = Observer::new()?.state().clone();
    let modules = observe::modules();
    let state = base.clone();
    println!("{}", Line::Base { state, modules });
    for (number, source) in sources {
        kernel::log(&format!("sequence {number}"));
        let health = Health::now();
        let child = Child::spawn(
            || match trap::install().map_err(|e| Error::new("trap", e)) {
                Ok(()) => status(number, one(number, source, &base)),
                Err(error) => status(number, Err(error)),
            },
        );
        let child = child.map_err(|errno| Error::new("fork", errno))?;
        let end = child.wait(LIMIT);
        let after = Health::now();
        if after != health {
            trouble(number, format!("health: {after:?}"));
        }
        if end != End::Exit(0) {
            trouble(number, format!("died: {end:?}"));
            return Ok(false);
        }
    }
    println!("{}", Line::Done {});
    Ok(true)
}

/// Writes down what went wrong in a sequence.
fn trouble(sequence: u64, what: String) {
    println!("{}", Line::Trouble { sequence, what });
}

/// The exit status of a sequence's process.
fn status(number: u64, result: Result<()>) -> i32 {
    match result {
        Ok(()) => 0,
        Err(error) => {
            trouble(number, format!("error: {error}"));
            1
        }
    }
}

/// An empty region, made anew, and drivers that are tried on devices.
fn fresh() -> Result<Region> {
    let autoprobe = Path::new("/sys/bus/dax/drivers_autoprobe");
    if autoprobe.exists() {
        sysfs::write(autoprobe, "1")?;
    }
    Region::fresh()
}

/// Runs one sequence.
fn one(sequence: u64, source: Source, base: &State) -> Result<()> {
    let region = fresh()?;
    let mut observer = Observer::new()?;
    let start = Line::Start {
        sequence,
        changed: observe::changes(base, observer.state()),
        hash: observe::hash(observer.state()),
    };
    println!("{start}");
    let (mut random, given) = match source {
        Source::Chosen(random) => (random, None),
        Source::Given(list) => (random::of_sequence(0, sequence), Some(list)),
    };
    let steps = match &given {
        Some(list) => list.len() as u64,
        None => random.u64(LENGTH.0..=LENGTH.1),
    };
    let mut reason = "complete".to_owned();
    for step in 0..steps {
        let view = View::of(observer.state(), region.dir(), region.span());
        if let Some(hazard) = view.hazard() {
            reason = hazard;
            break;
        }
        let (operation, last) = match &given {
            Some(list) => (list[step as usize].clone(), false),
            None => generate::next(&mut random, &view, &region),
        };
        // Print the operation before doing it: the kernel may not survive it.
        let op = operation.clone();
        println!("{}", Line::Begin { sequence, op });
        let result = execute(&operation, sequence + 1);
        let step = observer.look()?.step(operation, result);
        println!("{}", Line::Step { sequence, step });
        if last {
            reason = "an operation that must be the last".into();
            break;
        }
    }
    let end = Line::End {
        sequence,
        reason,
        daxctl: execute(&Operation::run(&LIST), 0),
    };
    println!("{end}");
    Ok(())
}
