// SPDX-License-Identifier: GPL-2.0
//! `dax-guest bench MODE RANGES [ONLY]`: what operations cost. One JSON line for each figure.
//!
//! - `count`: single operations on one CPU whose clock counts instructions. Nothing is printed
//!   until everything is measured: a device that works in the background would disturb the count.
//! - `wall`: two CPUs and real time, for operations that wait and for operations at the same time.
//! - `turns`: two CPUs that the emulator runs in turns, and its own time, for operations that wait.
//! - `smoke`: everything once and briefly, on any machine, to see that it works.
//!
//! RANGES are numbers with commas between them. ONLY is one operation, or several in the same way.

mod attribute;
mod clock;
mod devices;
mod fault;
mod lifecycle;
mod memory;
mod ranges;
mod record;
mod threads;
mod unbind;
mod zero;

use crate::kernel::{self, Impl};
use crate::region::{self, Region};
use crate::sysfs::{self, Error, Result};
use crate::trap;
use clock::Clock;
use dax_protocol::bench::{Line, Mode};
use record::Record;

/// A run: its operations, its mode and its figures.
pub struct Bench {
    /// The kind of the run.
    mode: Mode,
    /// The driver that is measured.
    implementation: Impl,
    /// The operations that are asked for; all if there are none.
    only: Vec<String>,
    /// The figures.
    record: Record,
}

impl Bench {
    /// Whether an operation is asked for.
    fn wants(&self, operation: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == operation)
    }

    /// Whether one of these operations is asked for.
    fn wants_any(&self, operations: &[&str]) -> bool {
        operations.iter().any(|operation| self.wants(operation))
    }

    /// The clock for operations that never wait.
    fn busy_clock(&self) -> Clock {
        match self.mode {
            Mode::Count => Clock::Counter,
            Mode::Wall | Mode::Turns | Mode::Smoke => Clock::Wall,
        }
    }

    /// The clock for operations that may wait for somebody else; it does not count the waiting.
    fn own_clock(&self) -> Clock {
        match self.mode {
            Mode::Count => Clock::Thread,
            Mode::Wall | Mode::Turns | Mode::Smoke => Clock::Wall,
        }
    }

    /// Whether to use many ranges, which show a cost that few ranges do not show.
    fn is_thorough(&self) -> bool {
        self.mode != Mode::Smoke
    }

    /// Number of times that an operation is repeated.
    fn repetitions(&self, usual: usize) -> usize {
        match self.mode {
            Mode::Smoke => 2,
            Mode::Count | Mode::Wall | Mode::Turns => usual,
        }
    }
}

/// Measures. Returns whether nothing went wrong.
pub fn run(mode: Mode, ranges: &str, only: Option<&str>) -> Result<bool> {
    let ranges = parse(ranges)?;
    let implementation = kernel::detect()?;
    trap::install().map_err(|errno| Error::new("sigaction", errno))?;
    if mode == Mode::Count {
        clock::check_counter()?;
    }
    let regions = Region::fresh_all()?;
    let Some(region) = regions.first() else {
        return Err(Error::state("no region"));
    };
    let most = ranges.iter().copied().max().unwrap_or_default();
    if region.unit_count() < 2 * most.max(2) {
        return Err(Error::state(format!(
            "{most} ranges with holes between them need a region of {} units; it has {}",
            2 * most,
            region.unit_count()
        )));
    }
    let mut bench = Bench {
        mode,
        implementation,
        only: only.map_or(Vec::new(), |only| {
            only.split(',').map(str::to_owned).collect()
        }),
        record: Record::new(matches!(mode, Mode::Wall | Mode::Smoke)),
    };
    bench.record.line(&Line::Run {
        driver: implementation,
        kernel: sysfs::read("/proc/sys/kernel/osrelease".as_ref())?,
        mode,
    });
    if matches!(mode, Mode::Count | Mode::Smoke) {
        // First: memory that others gave back would be taken again, and not be counted.
        memory::per_range(&mut bench, region, most.max(2))?;
        ranges::counted(&mut bench, region, &ranges)?;
        fault::alignments(&mut bench, region)?;
        lifecycle::create_and_delete(&mut bench, region)?;
        devices::many_at_once(&mut bench, region)?;
    }
    if mode != Mode::Wall {
        devices::thousand(&mut bench, region)?;
    }
    if mode != Mode::Count {
        ranges::timed(&mut bench, region, &ranges)?;
        unbind::pinned(&mut bench, region)?;
    }
    if mode != Mode::Wall {
        unbind::large(&mut bench, region)?;
    }
    if matches!(mode, Mode::Wall | Mode::Smoke) {
        threads::two_regions(&mut bench, &regions)?;
        threads::two_threads(&mut bench, region)?;
        zero::bandwidth(&mut bench, region)?;
    }
    region::tear_down()?;
    bench.record.line(&Line::Done(bench.record.figures()));
    bench.record.flush();
    Ok(bench.record.figures() > 0)
}

/// Numbers with commas between them.
fn parse(text: &str) -> Result<Vec<u64>> {
    let numbers: std::result::Result<Vec<u64>, _> = text.split(',').map(str::parse).collect();
    match numbers {
        Ok(numbers) if !numbers.is_empty() && !numbers.contains(&0) => Ok(numbers),
        _ => Err(Error::state(format!(
            "{text}: write numbers from 1 on, like 1,16,256"
        ))),
    }
}
