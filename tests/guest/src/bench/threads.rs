// SPDX-License-Identifier: GPL-2.0
//! Two CPUs that work at the same time.
//!
//! One thread does some work, then two threads do the same work at the same time, each for itself.
//! The figure is how many times as much the two get done: 2 if neither delays the other. Both are
//! repeated many times, and the fastest run counts, because every disturbance from outside makes a
//! run slower.

use super::attribute::Attribute;
use super::clock::{Clock, Meter};
use super::record::Subject;
use super::Bench;
use crate::cpu;
use crate::device::Device;
use crate::mmap::Map;
use crate::region::Region;
use crate::sysfs::{Error, Result};
use crate::units::{Span, MIB, PAGE, UNIT};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Resizes of two regions' devices.
const REGIONS: &str = "two-regions";
/// Faults in one device.
const THREADS: &str = "two-threads";
/// Ranges that a resize adds and takes away, and resizes that are measured together.
const RANGES: u64 = 16;
const RESIZES: usize = 10;
/// The number of bytes that each thread touches. Pages have 4 KiB.
const SHARE: u64 = 8 * MIB;
/// Comparisons of one thread and two.
const ROUNDS: usize = 151;

/// A point at which threads wait for each other without giving up their CPUs.
struct Gate(AtomicUsize);

impl Gate {
    /// Waits until `threads` threads are here.
    fn pass(&self, threads: usize) {
        self.0.fetch_add(1, Ordering::AcqRel);
        while self.0.load(Ordering::Acquire) < threads {
            std::hint::spin_loop();
        }
    }
}

/// Does all work at once, each on a thread of its own. Returns the longest time of a thread.
fn at_once<W: FnMut() -> Result<()> + Send>(work: &mut [W]) -> Result<u64> {
    let gate = Gate(AtomicUsize::new(0));
    let threads = work.len();
    let outcomes: Vec<Result<u64>> = thread::scope(|scope| {
        let mut running = Vec::new();
        for (cpu, work) in work.iter_mut().enumerate() {
            let gate = &gate;
            running.push(scope.spawn(move || {
                let meter = Meter::new(Clock::Wall);
                let pinned = cpu::stay_on(cpu)
                    .map_err(|errno| Error::new(format!("stay on CPU {cpu}"), errno));
                gate.pass(threads);
                let (cost, outcome) = meter.time(work);
                pinned.and(outcome).map(|()| cost)
            }));
        }
        let panicked = |_| Err(Error::state("a thread panicked"));
        running
            .into_iter()
            .map(|t| t.join().unwrap_or_else(panicked))
            .collect()
    });
    let costs: Result<Vec<u64>> = outcomes.into_iter().collect();
    Ok(costs?.into_iter().max().unwrap_or_default().max(1))
}

/// Factor by which two get more done than one alone, at their best.
fn compare<W: FnMut() -> Result<()> + Send>(
    bench: &mut Bench,
    operation: &'static str,
    mut work: [W; 2],
    mut between: impl FnMut() -> Result<()>,
) -> Result<()> {
    let (mut alone, mut both) = (u64::MAX, u64::MAX);
    for _ in 0..bench.repetitions(ROUNDS) {
        between()?;
        alone = alone.min(at_once(&mut work[..1])?);
        between()?;
        both = both.min(at_once(&mut work)?);
    }
    let subject = Subject {
        operation,
        ranges: 1,
        unit: "times",
    };
    let times = 2.0 * alone as f64 / both as f64;
    bench.record.median(subject, vec![times]);
    Ok(())
}

/// Resizes in two regions.
pub fn two_regions(bench: &mut Bench, regions: &[Region]) -> Result<()> {
    if !bench.wants(REGIONS) {
        return Ok(());
    }
    let [first, second, ..] = regions else {
        return Err(Error::state(format!("{REGIONS}: there is one region only")));
    };
    let resizes = bench.repetitions(RESIZES);
    let full = (RANGES * UNIT).to_string();
    let prepare = |region: &Region| -> Result<(Device, Device, Attribute)> {
        let separators = region.create()?;
        for separator in 0..RANGES {
            separators.add_mapping(region.units(2 * separator + 1, 1))?;
        }
        let device = region.create()?;
        let size = Attribute::writable(&device.attr("size"))?;
        Ok((separators, device, size))
    };
    let (one, two) = (prepare(first)?, prepare(second)?);
    let work = [&one, &two].map(|(_, _, size)| {
        let full = full.as_str();
        move || -> Result<()> {
            for _ in 0..resizes {
                for text in [full, "0"] {
                    size.check(size.write(text), text.len())?;
                }
            }
            Ok(())
        }
    });
    compare(bench, REGIONS, work, || Ok(()))?;
    for (region, (separators, device, _)) in [(first, one), (second, two)] {
        region.destroy(&device)?;
        region.destroy(&separators)?;
    }
    Ok(())
}

/// First accesses in two halves of one mapping.
pub fn two_threads(bench: &mut Bench, region: &Region) -> Result<()> {
    if !bench.wants(THREADS) {
        return Ok(());
    }
    let span = Span::at(region.span().start, 2 * SHARE);
    let device = region.create_bound(PAGE, &[span])?;
    let map = Map::whole(&device)?;
    let work = [0, SHARE].map(|start| {
        let map = &map;
        move || -> Result<()> {
            for offset in (start..start + SHARE).step_by(PAGE as usize) {
                let loaded = map.load(offset);
                loaded.map_err(|signal| Error::state(format!("load: {signal:?}")))?;
            }
            Ok(())
        }
    });
    compare(bench, THREADS, work, || {
        let advised = map.advise(libc::MADV_DONTNEED);
        advised.map_err(|errno| Error::new("madvise(MADV_DONTNEED)", errno))
    })?;
    drop(map);
    region.destroy(&device)
}
