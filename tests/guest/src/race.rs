// SPDX-License-Identifier: GPL-2.0
//! Several threads work on one region for a while.
//!
//! A thread that hangs in the kernel makes the test hang, and the runner reports that. So no wait
//! here has a time limit.

use crate::errno::Errno;
use crate::kernel::{self, Impl};
use crate::ktap::{self, note, Failure, Outcome};
use crate::sysfs;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Time that the threads run; longer if a race must show its effect.
const DURATION: Duration = Duration::from_secs(3);
const TO_SHOW: Duration = Duration::from_secs(30);

/// The number of times that each result of one thread's calls came.
type Tally = BTreeMap<String, u64>;

/// The call that a thread repeats. It gets the number of the round.
pub struct Racer<'a> {
    name: &'static str,
    allowed: &'a [Errno],
    step: Box<dyn FnMut(u64) -> Result<(), Errno> + Send + 'a>,
}

impl<'a> Racer<'a> {
    /// A thread whose steps succeed or end in one of the allowed errors.
    pub fn new(
        name: &'static str,
        allowed: &'a [Errno],
        step: impl FnMut(u64) -> Result<(), Errno> + Send + 'a,
    ) -> Racer<'a> {
        Racer {
            name,
            allowed,
            step: Box::new(step),
        }
    }

    /// Runs until told to stop. Returns the counts of results, and the first results that are not
    /// allowed.
    fn run(mut self, stop: &AtomicBool) -> (Tally, Vec<String>) {
        let mut tally = Tally::new();
        let mut bad = Vec::new();
        let mut round = 0;
        while !stop.load(Ordering::Relaxed) {
            let result = (self.step)(round);
            round += 1;
            if let Err(errno) = result {
                if !self.allowed.contains(&errno) && bad.len() < 5 {
                    bad.push(format!("{} in round {round}: {errno}", self.name));
                }
            }
            let kind = result.map_or_else(|errno| errno.to_string(), |()| "ok".into());
            *tally.entry(format!("{} {kind}", self.name)).or_default() += 1;
        }
        (tally, bad)
    }
}

/// Lets them run against each other. Fails if one met an error that is not allowed, or never
/// came round.
pub fn run(racers: Vec<Racer>) -> Outcome {
    let stop = AtomicBool::new(false);
    let results: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = racers
            .into_iter()
            .map(|racer| scope.spawn(|| racer.run(&stop)))
            .collect();
        let shown = kernel::driver() == Impl::C && ktap::is_forced();
        let end = Instant::now() + if shown { TO_SHOW } else { DURATION };
        while Instant::now() < end {
            thread::sleep(Duration::from_millis(50));
        }
        stop.store(true, Ordering::Relaxed);
        threads.into_iter().map(|thread| thread.join()).collect()
    });
    let mut bad = Vec::new();
    for result in results {
        let (tally, errors) = result.map_err(|_| Failure::Fail("a thread panicked".into()))?;
        let calls: Vec<String> = tally.iter().map(|(k, n)| format!("{k}: {n}")).collect();
        note(calls.join(", "));
        bad.extend(errors);
    }
    if bad.is_empty() {
        Ok(())
    } else {
        Err(Failure::Fail(bad.join("\n")))
    }
}

/// A step that writes.
pub fn write(path: &Path, text: &str) -> Result<(), Errno> {
    let count = sysfs::try_write(path, text.as_bytes())?;
    // A partial count, above all 0, makes callers write for ever.
    if count == text.len() {
        Ok(())
    } else {
        Err(Errno::EIO)
    }
}

/// A step that reads.
pub fn read(path: &Path) -> Result<(), Errno> {
    sysfs::try_read(path).map(drop)
}
