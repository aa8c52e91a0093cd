// SPDX-License-Identifier: GPL-2.0
//! Clocks, and how long an operation takes by them.

use crate::sysfs::{Error, Result};
use std::arch::asm;
use std::mem::MaybeUninit;

/// Number of times that an empty piece of work is measured, to learn the cost of measuring.
const EMPTY: usize = 33;

/// A clock that is read before and after.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Clock {
    /// The CPU's counter of time, which counts instructions where the emulator runs with
    /// `-icount shift=0`. It also goes on while the CPU has nothing to do.
    Counter,
    /// The calling thread's own time, in nanoseconds: on such a machine its instructions, and
    /// those of interrupts.
    Thread,
    /// Real time in nanoseconds.
    Wall,
}

impl Clock {
    /// The unit of the clock.
    pub fn unit(self) -> &'static str {
        match self {
            Clock::Counter | Clock::Thread => "instructions",
            Clock::Wall => "ns",
        }
    }

    /// Reads the clock.
    fn now(self) -> u64 {
        match self {
            Clock::Counter => counter(),
            Clock::Thread => clock(libc::CLOCK_THREAD_CPUTIME_ID),
            Clock::Wall => clock(libc::CLOCK_MONOTONIC_RAW),
        }
    }
}

/// The time stamp counter.
#[cfg(target_arch = "x86_64")]
fn counter() -> u64 {
    // SAFETY: Every x86-64 CPU has the instruction, and Linux leaves it to user space.
    unsafe { std::arch::x86_64::_rdtsc() }
}

/// The virtual counter.
#[cfg(target_arch = "aarch64")]
fn counter() -> u64 {
    let count;
    // SAFETY: Reads a register, which Linux leaves to user space.
    unsafe { asm!("isb", "mrs {0}, cntvct_el0", out(reg) count, options(nomem, nostack)) };
    count
}

/// The counter of time.
#[cfg(target_arch = "riscv64")]
fn counter() -> u64 {
    let count;
    // SAFETY: Reads a register, which Linux leaves to user space.
    unsafe { asm!("rdtime {0}", out(reg) count, options(nomem, nostack)) };
    count
}

/// `clock_gettime(2)` in nanoseconds.
fn clock(id: libc::clockid_t) -> u64 {
    let mut time = MaybeUninit::<libc::timespec>::zeroed();
    // SAFETY: `time` is a place for the result.
    let rc = unsafe { libc::clock_gettime(id, time.as_mut_ptr()) };
    assert_eq!(rc, 0, "clock {id}");
    // SAFETY: All zeroes is a valid timespec, and the call may have overwritten it with another.
    let time = unsafe { time.assume_init() };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// A clock, and what it takes to use it.
#[derive(Clone, Copy)]
pub struct Meter {
    clock: Clock,
    empty: u64,
}

impl Meter {
    /// A meter for any work.
    pub fn new(clock: Clock) -> Meter {
        Meter::against(clock, || ())
    }

    /// A meter for work that contains `empty`, whose cost does not count.
    pub fn against<T>(clock: Clock, mut empty: impl FnMut() -> T) -> Meter {
        let raw = Meter { clock, empty: 0 };
        let mut samples: Vec<u64> = (0..EMPTY).map(|_| raw.time(&mut empty).0).collect();
        samples.sort_unstable();
        Meter {
            clock,
            empty: samples[EMPTY / 2],
        }
    }

    /// The unit of its figures.
    pub fn unit(&self) -> &'static str {
        self.clock.unit()
    }

    /// Runs `work`, and returns its cost.
    pub fn time<T>(&self, work: impl FnOnce() -> T) -> (u64, T) {
        let start = self.clock.now();
        let result = work();
        let end = self.clock.now();
        (end.wrapping_sub(start).saturating_sub(self.empty), result)
    }
}

/// Makes sure that the counter counts instructions: a loop of known length twice, and the
/// difference must be exact.
pub fn check_counter() -> Result<()> {
    let meter = Meter {
        clock: Clock::Counter,
        empty: 0,
    };
    // Both through the same code, or their costs differ by how the compiler calls it.
    let mut costs = [1000, 3000];
    for cost in &mut costs {
        let rounds = *cost;
        *cost = (0..9)
            .map(|_| meter.time(|| spin(rounds)).0)
            .fold(u64::MAX, u64::min);
    }
    let counted = costs[1].wrapping_sub(costs[0]);
    if counted == 2 * 2000 {
        return Ok(());
    }
    Err(Error::state(format!(
        "4000 instructions took {counted} ticks of the CPU's counter: \
         boot with -icount shift=0,sleep=off and one CPU"
    )))
}

/// A loop of two instructions.
#[inline(never)]
fn spin(rounds: u64) {
    let rounds = rounds.max(1);
    // SAFETY: Counts a register down to 0, which it is not at first, and changes nothing else.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        asm!("2:", "dec {0}", "jnz 2b", inout(reg) rounds => _, options(nomem, nostack));
    }
    // SAFETY: As above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        asm!("2:", "subs {0}, {0}, #1", "b.ne 2b", inout(reg) rounds => _, options(nomem, nostack));
    }
    // SAFETY: As above.
    #[cfg(target_arch = "riscv64")]
    unsafe {
        asm!("2:", "addi {0}, {0}, -1", "bnez {0}, 2b", inout(reg) rounds => _, options(nomem, nostack));
    }
}
