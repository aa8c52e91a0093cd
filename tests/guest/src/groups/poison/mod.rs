// SPDX-License-Identifier: GPL-2.0
//! Memory that fails: the processes that the kernel tells, the address and the number of bytes that
//! it tells them, and the processes that have the page mapped afterwards.
//!
//! The driver notes in a struct page where it is mapped, and the kernel finds its processes by
//! that. It tells the process that touched the page, and those others that asked to be told early.

mod alone;
mod injected;
mod shared;

use crate::child::{Child, End};
use crate::device::Device;
use crate::errno::Errno;
use crate::ktap::{check, needs_memory_failure, note, Failure, Outcome, Test};
use crate::mmap::{self, Map};
use crate::pipe::Pipe;
use crate::region::Region;
use crate::sysfs::Error;
use crate::told::{Notes, Told};
use crate::units::{Span, GIB, PAGE, UNIT};
use nix::sys::resource::{getrusage, UsageWho};
use std::thread;
use std::time::Duration;

/// The tests of small and huge pages, by file.
pub const FILES: &[&[Test]] = &[alone::TESTS, shared::TESTS, injected::TESTS];
/// The tests at 1 GiB.
pub const GIANT: &[Test] = &[
    crate::test!(poison_of_a_giant_page_is_told_by_page_and_size),
    crate::test!(poison_of_a_giant_page_is_told_to_others),
    crate::test!(poison_injected_into_a_giant_page_is_told_to_who_asked),
];

fn poison_of_a_giant_page_is_told_by_page_and_size(region: &Region) -> Outcome {
    alone::check_each_page(region, GIB)
}

fn poison_of_a_giant_page_is_told_to_others(region: &Region) -> Outcome {
    shared::check_others(region, GIB)
}

fn poison_injected_into_a_giant_page_is_told_to_who_asked(region: &Region) -> Outcome {
    injected::check_who_asked(region, GIB)
}

/// The ranges of a device of pages of `align` bytes: two, the upper one first.
fn spans(region: &Region, align: u64) -> [Span; 2] {
    let (units, first, second) = match align {
        PAGE => (1, 9, 4),
        UNIT => (3, 9, 4),
        _ => (GIB / UNIT, 2 * GIB / UNIT, 0),
    };
    [region.units(first, units), region.units(second, units)]
}

/// A bound device of these ranges. Each test begins with one.
fn device(region: &Region, align: u64) -> Result<Device, Failure> {
    needs_memory_failure()?;
    Ok(region.create_bound(align, &spans(region, align))?)
}

/// The page frame of a page of a device.
fn frame(device: &Device, align: u64, page: u64) -> Result<u64, Failure> {
    let mut offset = page * align;
    for span in device.spans()? {
        if offset < span.len() {
            return Ok((span.start + offset) / PAGE);
        }
        offset -= span.len();
    }
    Err(Failure::Fail(format!("{device:?} has no page {page}")))
}

/// Names a failed system call.
fn failed(what: &str) -> impl Fn(Errno) -> Failure + '_ {
    move |errno| Failure::Fail(format!("{what}: {errno}"))
}

/// All pages of a device from page `first` on.
fn map_from(device: &Device, align: u64, first: u64) -> Result<Map, Failure> {
    let len = device.size()? - first * align;
    let file = mmap::open(&device.node()).map_err(failed("open"))?;
    Map::shared(&file, len, first * align).map_err(failed("mmap"))
}

/// The news of the poisoned page at this offset of a mapping, for the process that touches it.
fn required(map: &Map, offset: u64, align: u64) -> Told {
    Told {
        required: true,
        addr: map.addr() + offset as usize,
        bits: align.trailing_zeros(),
    }
}

/// The news of the poisoned page at this offset of a mapping, for a process that did not touch it.
fn optional(map: &Map, offset: u64, align: u64) -> Told {
    let required = false;
    Told {
        required,
        ..self::required(map, offset, align)
    }
}

/// Makes the kernel act as if the memory at an offset of a mapping failed when this process touched
/// it.
fn poison(map: &Map, offset: u64) -> Outcome {
    let poisoned = map.advise_part(offset, PAGE, libc::MADV_HWPOISON);
    check("MADV_HWPOISON", poisoned, Ok(()))
}

/// Number of minor page faults of this thread.
fn faults() -> i64 {
    getrusage(UsageWho::RUSAGE_THREAD).map_or(0, |usage| usage.minor_page_faults())
}

/// Whether a page is mapped: then touching it takes no fault. It is mapped afterwards.
fn is_mapped(map: &Map, offset: u64) -> Result<bool, Failure> {
    // The first round maps what this function itself needs.
    let room = Map::anonymous(PAGE).map_err(failed("mmap"))?;
    for _ in 0..2 {
        faults();
        check("load", room.load(0).is_ok(), true)?;
    }
    let before = faults();
    let loaded = map.load(offset);
    let after = faults();
    check("load", loaded.is_ok(), true)?;
    Ok(after == before)
}

/// The moment at which a process is told of poison in a page that it has mapped.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kill {
    /// As soon as the kernel knows of it.
    Early,
    /// As soon as the process touches the page.
    Late,
    /// As `vm.memory_failure_early_kill` says.
    Default,
}

impl Kill {
    /// Chooses it for this process: PR_MCE_KILL.
    fn choose(self) -> Outcome {
        const SET: libc::c_ulong = 1;
        let policy: libc::c_ulong = match self {
            Kill::Late => 0,
            Kill::Early => 1,
            Kill::Default => 2,
        };
        // SAFETY: Numbers only.
        let rc = unsafe { libc::prctl(libc::PR_MCE_KILL, SET, policy, 0, 0) };
        check("PR_MCE_KILL", rc, 0)
    }
}

/// A child, which touches what it inherited and waits.
struct Other {
    child: Child,
    notes: Notes,
    go: Pipe,
}

impl Other {
    /// Starts it and lets it touch something; `after` is what it does when it is told to go on.
    /// The mappings that it uses are this process's, which does not touch them.
    fn start(
        kill: Kill,
        touch: impl FnOnce() -> Outcome,
        after: impl FnOnce() -> Outcome,
    ) -> Result<Other, Failure> {
        let pipe = || Pipe::new().map_err(failed("pipe"));
        let (ready, go) = (pipe()?, pipe()?);
        let notes = Notes::new().map_err(failed("mmap"))?;
        let work = || -> Outcome {
            notes.listen().map_err(failed("sigaction"))?;
            kill.choose()?;
            touch()?;
            check("word", ready.write_word(1), Ok(8))?;
            while go.read_word().is_err() {
                thread::sleep(Duration::from_millis(2));
            }
            after()
        };
        let mut child = Child::spawn(|| exit_status(work())).map_err(failed("fork"))?;
        while ready.read_word().is_err() {
            check("the other process", child.poll(), None)?;
            thread::sleep(Duration::from_millis(2));
        }
        Ok(Other { child, notes, go })
    }

    /// Lets it go on, and checks that it ends well. Returns what the kernel told it.
    fn finish(self) -> Result<Vec<Told>, Failure> {
        check("word", self.go.write_word(1), Ok(8))?;
        let end = self.child.wait(Duration::from_secs(20));
        check("the other process", end, End::Exit(0))?;
        Ok(self.notes.told()?)
    }
}

/// Runs work that the kernel tells of poison in a process of its own, which has only its own
/// mappings. Compares what the kernel told the process with what the work returns.
fn alone(kill: Kill, work: impl FnOnce(&Notes) -> Outcome) -> Outcome {
    let notes = Notes::new().map_err(failed("mmap"))?;
    let run = || -> Outcome {
        notes.listen().map_err(failed("sigaction"))?;
        kill.choose()?;
        work(&notes)
    };
    let child = Child::spawn(|| exit_status(run())).map_err(failed("fork"))?;
    check("process", child.wait(Duration::from_secs(30)), End::Exit(0))
}

/// The exit status of a process that did this.
fn exit_status(outcome: Outcome) -> i32 {
    match outcome {
        Ok(()) => 0,
        Err(Failure::Fail(why) | Failure::Skip(why)) => {
            note(why);
            1
        }
    }
}

/// Unbinds and binds, so that no struct page knows anything.
fn renew(device: &Device) -> Result<(), Error> {
    device.unbind()?;
    device.bind(crate::device::Driver::DeviceDax)
}
