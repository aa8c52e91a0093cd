// SPDX-License-Identifier: GPL-2.0
//! Several threads work on one region for a while.
//!
//! A thread that hangs in the kernel makes the test hang, and the runner reports that. So no wait
//! here has a time limit.

use crate::errno::Errno;
use crate::kernel::{self, Impl};
use crate::ktap::{self, note, Failure, Outcome};
use crate::sysfs;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Time that the threads run; longer if a race must show its effect.
const DURATION: Duration = Duration::from_secs(3);
const TO_SHOW: Duration = Duration::from_secs(30);
/// Time that they run at most, if some call has not succeeded yet. The debug kernel takes longer.
const TO_SUCCEED: Duration = Duration::from_secs(20);

/// The number of times that each result of one thread's calls came.
type Tally = BTreeMap<String, u64>;

/// The call that a thread repeats. It gets the number of the round.
pub struct Racer<'a> {
    name: &'static str,
    allowed: &'a [Errno],
    must_succeed: bool,
    step: Box<dyn FnMut(u64) -> Result<(), Errno> + Send + 'a>,
}

impl<'a> Racer<'a> {
    /// A thread whose steps succeed or end in one of the allowed errors. At least one step of the
    /// threads of this name must succeed.
    pub fn new(
        name: &'static str,
        allowed: &'a [Errno],
        step: impl FnMut(u64) -> Result<(), Errno> + Send + 'a,
    ) -> Racer<'a> {
        Racer {
            name,
            allowed,
            must_succeed: true,
            step: Box::new(step),
        }
    }

    /// Lets every step fail.
    pub fn may_never_succeed(mut self) -> Racer<'a> {
        self.must_succeed = false;
        self
    }

    /// Runs until told to stop. Takes its name out of `idle` when a step succeeds. Returns the counts
    /// of results, and the first results that are not allowed.
    fn run(mut self, stop: &AtomicBool, idle: &Idle) -> (Tally, Vec<String>) {
        let mut tally = Tally::new();
        let mut bad = Vec::new();
        let mut round = 0;
        let mut succeeded = false;
        while !stop.load(Ordering::Relaxed) {
            let result = (self.step)(round);
            round += 1;
            if let Err(errno) = result {
                if !self.allowed.contains(&errno) && bad.len() < 5 {
                    bad.push(format!("{} in round {round}: {errno}", self.name));
                }
            }
            if result.is_ok() && !succeeded {
                succeeded = true;
                names(idle).remove(self.name);
            }
            let kind = result.map_or_else(|errno| errno.to_string(), |()| "ok".into());
            *tally.entry(format!("{} {kind}", self.name)).or_default() += 1;
        }
        (tally, bad)
    }
}

/// The names of the threads that must succeed, and of which no step has succeeded yet.
type Idle = Mutex<BTreeSet<&'static str>>;

/// The names, also if a thread panicked.
fn names(idle: &Idle) -> std::sync::MutexGuard<'_, BTreeSet<&'static str>> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets them run against each other. Fails if one met an error that is not allowed, or if no step
/// of those of a name succeeded.
pub fn run(racers: Vec<Racer>) -> Outcome {
    let stop = AtomicBool::new(false);
    let must = racers.iter().filter(|racer| racer.must_succeed);
    let idle: Idle = Mutex::new(must.map(|racer| racer.name).collect());
    let results: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = racers
            .into_iter()
            .map(|racer| scope.spawn(|| racer.run(&stop, &idle)))
            .collect();
        let shown = kernel::driver() == Impl::C && ktap::is_forced();
        let start = Instant::now();
        let least = if shown { TO_SHOW } else { DURATION };
        let most = least.max(TO_SUCCEED * kernel::slowness());
        while start.elapsed() < least || (start.elapsed() < most && !names(&idle).is_empty()) {
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
    bad.extend(
        names(&idle)
            .iter()
            .map(|name| format!("{name} never succeeded")),
    );
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
