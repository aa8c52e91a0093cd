// SPDX-License-Identifier: GPL-2.0
//! Runs tests and reports in the Kernel Test Anything Protocol.
//!
//! Every test runs in a child process, which takes its mappings and files along. A panic, a crash
//! or a hang of the child is a failed test. A fresh region is made before each test and emptied
//! after it, whatever happened in between. Tests of other memory bring a clean-up of their own.

use crate::child::{Child, End};
use crate::errno::Errno;
use crate::kernel::{self, Health, Impl};
use crate::region::{self, Region};
use crate::sysfs;
use crate::trap;
use crate::units::{human, HAS_GIANT, SUBSECTION, UNIT};
use std::fmt::{Debug, Display};
use std::panic::Location;
use std::time::{Duration, Instant};

/// The reason for which a test did not pass.
#[derive(Debug)]
pub enum Failure {
    /// The environment does not allow the test.
    Skip(String),
    /// The driver did not do as expected.
    Fail(String),
}

/// The result of a test, or of a part of one.
pub type Outcome = Result<(), Failure>;

impl From<sysfs::Error> for Failure {
    #[track_caller]
    fn from(error: sysfs::Error) -> Failure {
        Failure::Fail(format!("{}: {error}", Location::caller()))
    }
}

/// The only assertion: `actual` equals `expected`. A failure reports both values.
#[track_caller]
pub fn check<T: PartialEq + Debug>(what: impl Display, actual: T, expected: T) -> Outcome {
    if actual == expected {
        return Ok(());
    }
    Err(Failure::Fail(format!(
        "{}: {what}\n  expected {expected:?}\n  actual   {actual:?}",
        Location::caller()
    )))
}

/// The result to expect where the Rust driver is meant to differ from the C driver.
pub fn deviates<T>(rust: T, c: T) -> T {
    match kernel::driver() {
        Impl::Rust => rust,
        Impl::C => c,
    }
}

/// Ends the test as skipped where no device can have pages of 1 GiB.
pub fn needs_giant_pages() -> Outcome {
    if HAS_GIANT {
        return Ok(());
    }
    skip("no device of this architecture has pages of 1 GiB")
}

/// Ends the test as skipped where memory never fails: RISC-V's kernel cannot handle that.
pub fn needs_memory_failure() -> Outcome {
    if kernel::has("CONFIG_MEMORY_FAILURE=y") {
        return Ok(());
    }
    skip("the kernel has no memory-failure handling")
}

/// Ends the test as skipped where a region has less than that many units. The groups' regions are
/// large enough for units of a subsection, so there the test goes on, and fails.
pub fn needs_units(region: &Region, units: u64) -> Outcome {
    let there = region.unit_count();
    if there >= units || UNIT == SUBSECTION {
        return Ok(());
    }
    skip(format!(
        "needs a region of {units} units of {}, and this one has {there}",
        human(UNIT)
    ))
}

/// Ends the test as skipped.
pub fn skip<T>(reason: impl Into<String>) -> Result<T, Failure> {
    Err(Failure::Skip(reason.into()))
}

/// Runs a part of a test. A part that is skipped is reported like a row that is.
pub fn part(name: &str, run: impl FnOnce() -> Outcome) -> Outcome {
    let mut rows = Rows::default();
    rows.add(name, run());
    rows.finish()
}

/// Gathers the failures of a table, so that one bad row does not hide the others.
#[derive(Default)]
pub struct Rows {
    failures: Vec<String>,
}

impl Rows {
    /// Adds a row.
    pub fn add(&mut self, row: impl Display, outcome: Outcome) {
        match outcome {
            Ok(()) => {}
            Err(Failure::Fail(why)) => self.failures.push(format!("row {row}: {why}")),
            Err(Failure::Skip(why)) => note(format!("row {row} skipped: {why}")),
        }
    }

    /// Fails if a row failed.
    pub fn finish(self) -> Outcome {
        if self.failures.is_empty() {
            Ok(())
        } else {
            Err(Failure::Fail(self.failures.join("\n")))
        }
    }
}

/// Prints a diagnostic line.
pub fn note(text: impl Display) {
    for line in text.to_string().lines() {
        println!("# {line}");
    }
}

/// The driver or memory that a test runs on.
#[derive(Clone, Copy)]
enum Body {
    /// A fresh, empty region, which is emptied afterwards.
    Region(fn(&Region) -> Outcome),
    /// The machine as it is. The second function cleans up, whatever the test left.
    Machine(fn() -> Outcome, fn() -> sysfs::Result<()>),
}

impl Body {
    /// Prepares and runs the test.
    fn run(self) -> Outcome {
        match self {
            Body::Region(run) => {
                let region = Region::fresh().map_err(|e| Failure::Fail(format!("set-up: {e}")))?;
                run(&region)
            }
            Body::Machine(run, _) => run(),
        }
    }

    /// Cleans up after the test.
    fn clean_up(self) -> sysfs::Result<()> {
        match self {
            Body::Region(_) => region::tear_down(),
            Body::Machine(_, clean_up) => clean_up(),
        }
    }
}

/// One test.
pub struct Test {
    /// `<subject>_<condition>_<outcome>`.
    pub name: &'static str,
    /// The test's function, and what it gets.
    body: Body,
    /// The reason for which the test does not run on the C driver, if there is one.
    not_on_c: Option<&'static str>,
    /// Time that the test may take.
    limit: Duration,
    /// Whether the kernel may print warnings during the test.
    may_warn: bool,
}

impl Test {
    /// A test for both drivers.
    pub const fn new(name: &'static str, run: fn(&Region) -> Outcome) -> Test {
        Test::with(name, Body::Region(run))
    }

    /// A test for both drivers that is not about one dynamic region; `clean_up` must work in
    /// whatever state the test leaves.
    pub const fn on_machine(
        name: &'static str,
        run: fn() -> Outcome,
        clean_up: fn() -> sysfs::Result<()>,
    ) -> Test {
        Test::with(name, Body::Machine(run, clean_up))
    }

    /// A test with nothing special about it.
    const fn with(name: &'static str, body: Body) -> Test {
        Test {
            name,
            body,
            not_on_c: None,
            limit: Duration::from_secs(60),
            may_warn: false,
        }
    }

    /// Gives the test the longer limit of tests that repeat an operation very often.
    pub const fn slow(mut self) -> Test {
        self.limit = Duration::from_secs(240);
        self
    }

    /// Lets the kernel warn, of allocations that are made to fail.
    pub const fn may_warn(mut self) -> Test {
        self.may_warn = true;
        self
    }

    /// Whether the test runs on the C driver.
    #[cfg(test)]
    pub fn is_for_c(&self) -> bool {
        self.not_on_c.is_none()
    }

    /// Leaves the test out on the C driver, for a reason.
    pub const fn not_on_c(mut self, reason: &'static str) -> Test {
        self.not_on_c = Some(reason);
        self
    }
}

/// Names a test after its function, which gets a region, or else brings its own clean-up.
#[macro_export]
macro_rules! test {
    ($run:ident) => {
        $crate::ktap::Test::new(stringify!($run), $run)
    };
    ($run:ident, $clean_up:path) => {
        $crate::ktap::Test::on_machine(stringify!($run), $run, $clean_up)
    };
}

/// The environment variable that puts the C driver through everything, to see what it does.
const FORCE: &str = "DAX_GUEST_FORCE";
/// Exit status of a test's process: skipped. (0 is passed, 1 is failed.)
const SKIPPED: i32 = 4;
/// Time that emptying the region may take.
const CLEAN_UP_LIMIT: Duration = Duration::from_secs(60);

/// The result of a test, as the report has it.
enum Verdict {
    Ok,
    NotOk,
    Skip(String),
    /// Failed, and the kernel is in no state for another test.
    Bail,
}

/// Runs tests and reports them. Returns whether none failed.
pub fn run(tests: &[&Test]) -> bool {
    println!("KTAP version 1\n1..{}", tests.len());
    let mut failed = 0;
    let mut bailed = false;
    for (number, test) in (1..).zip(tests) {
        let verdict = if bailed {
            note("not run: an earlier test left the kernel unusable");
            Verdict::NotOk
        } else {
            one(test)
        };
        match verdict {
            Verdict::Ok => println!("ok {number} {}", test.name),
            Verdict::Skip(ref why) => println!("ok {number} {} # SKIP {why}", test.name),
            Verdict::NotOk | Verdict::Bail => {
                failed += 1;
                println!("not ok {number} {}", test.name);
            }
        }
        bailed |= matches!(verdict, Verdict::Bail);
    }
    note(format!("{} tests, {failed} failed", tests.len()));
    failed == 0
}

/// Whether the C driver runs the tests that it does not survive, too.
pub fn is_forced() -> bool {
    std::env::var_os(FORCE).is_some()
}

/// Runs one test and cleans up after it.
fn one(test: &Test) -> Verdict {
    if let (Impl::C, Some(reason), false) = (kernel::driver(), test.not_on_c, is_forced()) {
        return Verdict::Skip(format!("C driver: {reason}"));
    }
    kernel::log(&format!("begin {}", test.name));
    let look = || match test.may_warn {
        true => Health::now().but_for_warnings(),
        false => Health::now(),
    };
    let health = look();
    let started = Instant::now();
    let reason = std::env::temp_dir().join("dax-guest.skip");
    let end = in_child(test.limit, || {
        match test.body.run() {
            Ok(()) => 0,
            Err(Failure::Fail(why)) => {
                note(why);
                1
            }
            Err(Failure::Skip(why)) => {
                // The reason belongs on the result line, which the parent prints.
                let _ = std::fs::write(&reason, why);
                SKIPPED
            }
        }
    });
    let elapsed = started.elapsed();
    let cleaned = match end {
        Ok(End::Stuck) => Ok(End::Stuck),
        _ => in_child(CLEAN_UP_LIMIT, || clean_up(test.body)),
    };
    let verdict = match end {
        Ok(End::Exit(0)) => Verdict::Ok,
        Ok(End::Exit(SKIPPED)) => {
            Verdict::Skip(std::fs::read_to_string(&reason).unwrap_or_default())
        }
        Ok(End::Exit(1)) => Verdict::NotOk,
        Ok(End::Stuck) => {
            note(format!("hangs in the kernel after {elapsed:.1?}"));
            Verdict::Bail
        }
        other => {
            note(format!("the test's process: {other:?} after {elapsed:.1?}"));
            Verdict::NotOk
        }
    };
    let after = look();
    if after != health {
        note(format!("kernel health: {health:?} before, {after:?} after"));
    }
    match (cleaned, verdict) {
        (_, Verdict::Bail) => Verdict::Bail,
        (Ok(End::Exit(0)), verdict) if after == health => verdict,
        (Ok(End::Exit(0)), _) => Verdict::NotOk,
        (Ok(End::Stuck), _) => {
            note("clean-up hangs in the kernel");
            Verdict::Bail
        }
        (other, _) => {
            note(format!("clean-up: {other:?}"));
            Verdict::NotOk
        }
    }
}

/// Runs `body` in a child that catches its own memory faults.
fn in_child(limit: Duration, body: impl FnOnce() -> i32) -> Result<End, Errno> {
    let child = Child::spawn(|| match trap::install() {
        Ok(()) => body(),
        Err(errno) => {
            note(format!("sigaction: {errno}"));
            1
        }
    })?;
    Ok(child.wait(limit))
}

/// Takes away what the test left.
fn clean_up(body: Body) -> i32 {
    match body.clean_up() {
        Ok(()) => 0,
        Err(error) => {
            note(format!("clean-up: {error}"));
            1
        }
    }
}
