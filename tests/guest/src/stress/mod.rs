// SPDX-License-Identifier: GPL-2.0
//! Everything at once, for any length of time.
//!
//! Several processes of several threads each do one operation after the other on a region, its
//! devices, their files and mappings. Allocations fail, if the kernel can do that. Now and then a
//! process is killed, and another takes its place. From time to time everybody waits while the
//! invariants and the data are checked. A seed fixes what each thread does, not how the threads
//! interleave.

mod files;
mod operation;
mod scoreboard;
mod stamps;
mod worker;

use crate::child::{self, Child};
use crate::device::{Device, Driver};
use crate::inject::Injector;
use crate::invariants::check_invariants;
use crate::kernel::{self, Health};
use crate::ktap::{check, needs_units, note, Failure, Outcome};
use crate::leaks;
use crate::memory;
use crate::mmap::Map;
use crate::random;
use crate::region::{self, Region};
use crate::sysfs::Error;
use crate::units::UNIT;
use fastrand::Rng;
use operation::Kind;
use scoreboard::{Phase, Scoreboard};
use stamps::Owner;
use std::thread;
use std::time::{Duration, Instant};

/// The number of processes, and of threads in each.
const PROCESSES: usize = 4;
const THREADS: usize = 2;
/// Time between two looks of the supervisor at the run.
const TICK: Duration = Duration::from_millis(20);
/// Average number of looks after which a process is killed.
const KILL_ONCE_IN: u64 = 15;
/// Time from one check to the next.
const CHECK_EVERY: Duration = Duration::from_secs(4);
/// Time from one line of progress to the next.
const TELL_EVERY: Duration = Duration::from_secs(5);
/// The longest that an operation may take, on a kernel that is not slow.
const PATIENCE: Duration = Duration::from_secs(30);

/// Number of operations of a kind of which one must succeed.
const MANY: u64 = 50;

/// The result of a run.
#[derive(Default)]
struct Figures {
    kills: u64,
    checks: u64,
    stamps: u64,
}

/// Runs for so many seconds, on a fresh region. Fails if a rule was broken, and says which.
pub fn run(region: &Region, seed: u64, seconds: u64) -> Outcome {
    needs_units(region, 16)?;
    let health = Health::now().but_for_warnings();
    // Memory that is put to use when kmem adds it would lose its stamps.
    memory::set_policy("offline")?;
    leaks::scan_on_demand();
    let starving = Injector::new()?.is_some();
    if starving {
        Injector::quiet()?;
    }
    note(format!(
        "seed {seed}, {seconds} seconds, {PROCESSES} processes of {THREADS} threads, allocations {}",
        if starving { "fail" } else { "do not fail" }
    ));
    with_all(region, stamps::clear)?;

    let scoreboard =
        Scoreboard::new(PROCESSES * THREADS).map_err(|e| Error::new("shared memory", e))?;
    let mut figures = Figures::default();
    let mut run = Run {
        region,
        scoreboard: &scoreboard,
        children: Vec::new(),
        random: random::of_sequence(seed, u64::MAX),
        seed,
        health,
    };
    let result = run.supervise(Duration::from_secs(seconds), &mut figures);
    let ended = run.end();
    report(&scoreboard, &figures);
    result?;
    ended?;
    check("rules broken", scoreboard.violations(), 0)?;
    check(
        "operations that never succeeded",
        never_done(&scoreboard),
        vec![],
    )?;

    region::tear_down()?;
    check("kernel health", Health::now().but_for_warnings(), health)?;
    figures.stamps = with_all(region, stamps::verify)?;
    note(format!(
        "{} stamps in memory, all where they belong",
        figures.stamps
    ));
    let next = region.create()?;
    let first = format!("dax{}.1", region.id());
    check("first number that is free", next.name(), &first)?;
    Ok(region.destroy(&next)?)
}

/// Calls `look` on a mapping of all the region's memory.
fn with_all<T>(
    region: &Region,
    look: fn(&Map, &[crate::units::Range], Owner) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let device = region.create_bound(UNIT, &[region.span()])?;
    let found = look(
        &Map::whole(&device)?,
        &device.ranges()?,
        Owner::of(region, &device)?,
    )?;
    region.destroy(&device)?;
    Ok(found)
}

/// Prints how often each operation was done, and how it ended.
fn report(scoreboard: &Scoreboard, figures: &Figures) {
    for kind in Kind::ALL {
        let [done, refused, starved] = scoreboard.ends(kind);
        note(format!(
            "{kind:?}: {done} done, {refused} refused, {starved} without memory"
        ));
    }
    note(progress(scoreboard, figures));
}

/// The operations of which none succeeded, although there were many.
fn never_done(scoreboard: &Scoreboard) -> Vec<Kind> {
    let was_done = |kind: &Kind| {
        let ends @ [done, ..] = scoreboard.ends(*kind);
        done > 0 || ends.iter().sum::<u64>() < MANY
    };
    Kind::ALL
        .into_iter()
        .filter(|kind| !was_done(kind))
        .collect()
}

/// The sums over all processes.
fn progress(scoreboard: &Scoreboard, figures: &Figures) -> String {
    let [done, refused, starved] = scoreboard.all_ends();
    format!(
        "{} operations: {done} done, {refused} refused, {starved} without memory; {} kills, {} checks",
        done + refused + starved,
        figures.kills,
        figures.checks
    )
}

/// A run that is under way.
struct Run<'a> {
    region: &'a Region,
    scoreboard: &'a Scoreboard,
    children: Vec<Child>,
    random: Rng,
    seed: u64,
    health: Health,
}

impl Run<'_> {
    /// Starts the process in `place`.
    fn start(&mut self) -> Result<Child, Failure> {
        let first = self.children.len() * THREADS;
        self.start_at(first)
    }

    /// Starts a process with threads from `first` on.
    fn start_at(&mut self, first: usize) -> Result<Child, Failure> {
        let seed = self.seed ^ self.random.u64(..);
        let (region, scoreboard) = (self.region, self.scoreboard);
        Child::spawn(move || worker::process(region, scoreboard, first, THREADS, seed))
            .map_err(|errno| Failure::Fail(format!("fork: {errno}")))
    }

    /// Lets the threads work, kills processes now and then, and checks.
    fn supervise(&mut self, duration: Duration, figures: &mut Figures) -> Outcome {
        let start = Instant::now();
        while self.children.len() < PROCESSES {
            let child = self.start()?;
            self.children.push(child);
        }
        let (mut checked, mut told) = (start, start);
        while start.elapsed() < duration {
            thread::sleep(TICK);
            self.look_for_stuck()?;
            if self.random.u64(..KILL_ONCE_IN) == 0 {
                self.replace()?;
                figures.kills += 1;
            }
            if checked.elapsed() > CHECK_EVERY {
                self.check_at_rest()?;
                figures.checks += 1;
                checked = Instant::now();
            }
            if told.elapsed() > TELL_EVERY {
                let seconds = start.elapsed().as_secs();
                note(format!(
                    "{seconds} s: {}",
                    progress(self.scoreboard, figures)
                ));
                told = Instant::now();
            }
            check("rules broken", self.scoreboard.violations(), 0)?;
        }
        self.check_at_rest()?;
        figures.checks += 1;
        Ok(())
    }

    /// Kills a process in the middle of its work, and starts another in its place.
    fn replace(&mut self) -> Outcome {
        let index = self.random.usize(..PROCESSES);
        let child = &mut self.children[index];
        if let Some(end) = child.poll() {
            return check(
                "a process ended on its own",
                end,
                child::End::Signal(libc::SIGKILL),
            );
        }
        child.kill();
        if child.wait_for(patience()).is_none() {
            note(child.where_it_hangs());
            return check("a process that was killed is gone", false, true);
        }
        let first = index * THREADS;
        (first..first + THREADS).for_each(|thread| self.scoreboard.set_parked(thread));
        self.children[index] = self.start_at(first)?;
        Ok(())
    }

    /// Fails if an operation takes too long.
    fn look_for_stuck(&self) -> Outcome {
        for (thread, kind, millis) in self.scoreboard.under_way() {
            if millis > patience().as_millis() as u64 {
                self.tell_where_all_are();
                return check(format!("{kind:?} of thread {thread}, in ms"), millis, 0);
            }
        }
        Ok(())
    }

    /// Prints what every thread is doing, and where it waits.
    fn tell_where_all_are(&self) {
        for (thread, kind, millis) in self.scoreboard.under_way() {
            note(format!("thread {thread}: {kind:?} for {millis} ms"));
        }
        for child in &self.children {
            note(child.where_it_hangs());
        }
    }

    /// Lets everybody wait, and checks what there is.
    fn check_at_rest(&mut self) -> Outcome {
        self.scoreboard.set_phase(Phase::Pause);
        while !self.scoreboard.all_parked() {
            self.look_for_stuck()?;
            thread::sleep(Duration::from_millis(2));
        }
        let outcome = self.check_all();
        self.scoreboard.set_phase(Phase::Run);
        outcome
    }

    /// Checks the invariants, the data of bound devices, and the kernel's health.
    fn check_all(&self) -> Outcome {
        if !self.region.is_bound() {
            // The task that unbound the region was killed, and a page that was held then is just
            // being given back.
            kernel::eventually("a region again", || Ok(self.region.bind().ok()))?;
        }
        check_invariants(self.region)?;
        for device in self.region.devices()? {
            if device.driver().as_deref() == Some(Driver::DeviceDax.name()) {
                verify(self.region, &device)?;
            }
        }
        check(
            "kernel health",
            Health::now().but_for_warnings(),
            self.health,
        )
    }

    /// Ends all processes.
    fn end(&mut self) -> Outcome {
        self.scoreboard.set_phase(Phase::Stop);
        for mut child in self.children.drain(..) {
            let end = child.wait_for(patience());
            if end.is_none() {
                note(child.where_it_hangs());
            }
            check("the end of a process", end, Some(child::End::Exit(0)))?;
        }
        Ok(())
    }
}

/// Checks a bound device's data, and which memory is behind each unit of it.
fn verify(region: &Region, device: &Device) -> Outcome {
    let map = Map::whole(device)?;
    let ranges = device.ranges()?;
    stamps::verify_some(&map, &ranges, Owner::of(region, device)?)?;
    // Reading pagemap takes a PUD apart, so it shows nothing at 1 GiB.
    if device.align()? <= UNIT {
        stamps::verify_frames(&map, &ranges)?;
    }
    Ok(())
}

/// The longest that an operation may take on this kernel.
fn patience() -> Duration {
    PATIENCE * kernel::slowness()
}
