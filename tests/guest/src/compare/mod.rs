// SPDX-License-Identifier: GPL-2.0
//! The guest's half of the side-by-side comparison: it does things and writes down what comes of
//! them, one JSON object a line. The host compares the transcripts of two kernels.

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
use fastrand::Rng;
use observe::{Observer, State};
use operation::Operation;
use serde_json::{json, Value};
use std::path::Path;
use std::time::Duration;
use view::View;

/// Operations of a sequence, at least and at most.
const LENGTH: (u64, u64) = (4, 16);
/// How long a sequence may take before it is taken for a hang.
const LIMIT: Duration = Duration::from_secs(120);
/// The whole of what daxctl knows.
const LIST: [&str; 3] = ["list", "-DRMi", "-u"];

/// The operations of a sequence.
enum Source {
    /// Chosen one after the other.
    Chosen(Rng),
    /// Known beforehand.
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
    let lists: Vec<Vec<Value>> = serde_json::from_str(&text).map_err(|_| bad())?;
    let mut sources = Vec::new();
    for (number, list) in (0..).zip(&lists) {
        let operations = list.iter().map(Operation::from_json).collect::<Option<_>>();
        sources.push((number, Source::Given(operations.ok_or_else(bad)?)));
    }
    run_all(sources.into_iter())
}

/// Runs sequences, each in a process of its own from a fresh region on; whether all could be run.
fn run_all(sources: impl Iterator<Item = (u64, Source)>) -> Result<bool> {
    for driver in ["device_dax", "kmem", "fsdev_dax"] {
        kernel::modprobe(&[driver])?;
    }
    fresh()?;
    let base = Observer::new()?.state().clone();
    println!("{}", json!({"base": base, "modules": observe::modules()}));
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
        let end = child.wait(LIMIT * kernel::slowness());
        let after = Health::now();
        if after != health {
            println!(
                "{}",
                json!({"sequence": number, "health": format!("{after:?}")})
            );
        }
        if end != End::Exit(0) {
            println!(
                "{}",
                json!({"sequence": number, "died": format!("{end:?}")})
            );
            return Ok(false);
        }
    }
    println!("{}", json!({"all": true}));
    Ok(true)
}

/// The exit status of a sequence's process.
fn status(number: u64, result: Result<()>) -> i32 {
    match result {
        Ok(()) => 0,
        Err(error) => {
            println!(
                "{}",
                json!({"sequence": number, "error": error.to_string()})
            );
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
fn one(number: u64, source: Source, base: &State) -> Result<()> {
    let region = fresh()?;
    let mut observer = Observer::new()?;
    println!(
        "{}",
        json!({
            "sequence": number,
            "start": observe::changes(base, observer.state()),
            "hash": observe::hash(observer.state()),
        })
    );
    let (mut random, given) = match source {
        Source::Chosen(random) => (random, None),
        Source::Given(list) => (random::of_sequence(0, number), Some(list)),
    };
    let steps = match &given {
        Some(list) => list.len() as u64,
        None => random.u64(LENGTH.0..=LENGTH.1),
    };
    let mut end = "complete".to_owned();
    for step in 0..steps {
        let view = View::of(observer.state(), region.dir(), region.span());
        if let Some(hazard) = view.hazard() {
            end = hazard;
            break;
        }
        let (operation, last) = match &given {
            Some(list) => (list[step as usize].clone(), false),
            None => generate::next(&mut random, &view, &region),
        };
        // Known before it is done, for it may be the last thing that this kernel does.
        let mut line = json!({"sequence": number, "step": step, "op": operation.to_json()});
        println!("{line}");
        line["result"] = json!(operation.execute(number + 1));
        observer.look()?.add_to(&mut line);
        println!("{line}");
        if last {
            end = "an operation that must be the last".into();
            break;
        }
    }
    println!(
        "{}",
        json!({"sequence": number, "end": end, "daxctl": daxctl_list()})
    );
    Ok(())
}

/// daxctl's view of it all.
fn daxctl_list() -> String {
    let words = [&["daxctl"], &LIST[..]].concat();
    let words = words.into_iter().map(str::to_owned).collect();
    Operation::Run { words }.execute(0)
}
