// SPDX-License-Identifier: GPL-2.0
//! Page faults: single ones, and the first touch of a whole mapping.
//!
//! The benchmark reads pages and never writes them. The emulator allocates no page for guest memory
//! that was never written, so many gibibytes cost nothing. The cost of a fault does not depend on
//! the data.

use super::clock::Meter;
use super::record::Subject;
use super::Bench;
use crate::device::Device;
use crate::mmap::{self, Map};
use crate::region::Region;
use crate::sysfs::{Error, Result};
use crate::units::{Span, GIB, HAS_GIANT, MIB, PAGE, UNIT};

/// A fault in each range of a device, on average.
pub const AVERAGE: &str = "fault-2m";
/// A fault in the last range of a device.
pub const LAST: &str = "fault-2m-last";
/// Number of times that the fault of one page is measured.
const FAULTS: usize = 65;
/// Number of times that the first touch of a mapping is measured.
const TOUCHES: usize = 5;

/// Pages of one size, in one range.
struct Pages {
    /// One fault, in a mapping of one page. That of 2 MiB pages is measured by ranges.
    single: Option<&'static str>,
    /// The first touch of each page of a mapping of the range, per page.
    touch: Option<&'static str>,
    /// The first touch of one page alone, in a mapping of the range.
    lone: Option<&'static str>,
    /// The size of a page.
    align: u64,
    /// The size of the range.
    len: u64,
}

/// All sizes of pages.
const PAGES: [Pages; 3] = [
    Pages {
        single: Some("fault-4k"),
        touch: Some("touch-4k"),
        lone: Some("lone-4k"),
        align: PAGE,
        len: 64 * MIB,
    },
    Pages {
        single: None,
        touch: Some("touch-2m"),
        lone: None,
        align: UNIT,
        len: GIB,
    },
    Pages {
        single: Some("fault-1g"),
        touch: None,
        lone: None,
        align: GIB,
        len: GIB,
    },
];

/// Faults in a bound device of `count` ranges, one page each.
pub fn of_ranges(bench: &mut Bench, device: &Device, count: u64) -> Result<()> {
    if bench.wants(AVERAGE) {
        let map = Map::whole(device)?;
        let meter = meter(bench, &map)?;
        // So that the page tables are there.
        for page in 0..count {
            touch(&map, page * UNIT)?;
        }
        forget(&map)?;
        let mut samples = Vec::new();
        for page in 0..count {
            samples.push(fault(&meter, &map, page * UNIT)?);
        }
        bench
            .record
            .average(subject(AVERAGE, count, &meter), &samples);
    }
    if bench.wants(LAST) {
        one_page(bench, device, LAST, count, UNIT)?;
    }
    Ok(())
}

/// Faults in devices of each alignment.
pub fn alignments(bench: &mut Bench, region: &Region) -> Result<()> {
    for pages in &PAGES {
        let names = [pages.single, pages.touch, pages.lone];
        let is_giant = pages.align == GIB;
        if !names.iter().flatten().any(|name| bench.wants(name)) || (is_giant && !HAS_GIANT) {
            continue;
        }
        let span = Span::at(region.span().start, pages.len);
        let device = region.create_bound(pages.align, &[span])?;
        if let Some(name) = pages.single.filter(|name| bench.wants(name)) {
            one_page(bench, &device, name, 1, pages.align)?;
        }
        if let Some(name) = pages.touch.filter(|name| bench.wants(name)) {
            first_touch(bench, &device, name, pages)?;
        }
        if let Some(name) = pages.lone.filter(|name| bench.wants(name)) {
            lone_touch(bench, &device, name, pages)?;
        }
        region.destroy(&device)?;
    }
    Ok(())
}

/// Faults of the last page of a device, in a mapping of that page alone.
fn one_page(
    bench: &mut Bench,
    device: &Device,
    operation: &'static str,
    ranges: u64,
    align: u64,
) -> Result<()> {
    let failed = |errno| Error::new(format!("map the last page of {device:?}"), errno);
    let file = mmap::open(&device.node()).map_err(failed)?;
    let map = Map::shared(&file, align, device.size()? - align).map_err(failed)?;
    let meter = meter(bench, &map)?;
    let mut samples = Vec::new();
    for _ in 0..bench.repetitions(FAULTS) {
        forget(&map)?;
        samples.push(fault(&meter, &map, 0)? as f64);
    }
    bench
        .record
        .median(subject(operation, ranges, &meter), samples);
    Ok(())
}

/// The first touch of each page of a new mapping, page tables included.
fn first_touch(
    bench: &mut Bench,
    device: &Device,
    operation: &'static str,
    pages: &Pages,
) -> Result<()> {
    let count = pages.len / pages.align;
    let all = |map: &Map| (0..count).try_for_each(|page| touch(map, page * pages.align));
    let warm = Map::whole(device)?;
    all(&warm)?;
    let meter = Meter::against(bench.busy_clock(), || all(&warm));
    drop(warm);
    let mut samples = Vec::new();
    for _ in 0..bench.repetitions(TOUCHES) {
        let map = Map::whole(device)?;
        let (cost, outcome) = meter.time(|| all(&map));
        outcome?;
        samples.push(cost as f64 / count as f64);
    }
    bench.record.median(subject(operation, 1, &meter), samples);
    Ok(())
}

/// The first touch of one page in the middle of a new mapping.
fn lone_touch(
    bench: &mut Bench,
    device: &Device,
    operation: &'static str,
    pages: &Pages,
) -> Result<()> {
    let map = Map::whole(device)?;
    let meter = meter(bench, &map)?;
    let mut samples = Vec::new();
    for _ in 0..bench.repetitions(FAULTS) {
        forget(&map)?;
        samples.push(fault(&meter, &map, pages.len / 2)? as f64);
    }
    bench.record.median(subject(operation, 1, &meter), samples);
    Ok(())
}

/// A meter that leaves out what reading a page costs that is there. Reads the first page.
fn meter(bench: &Bench, map: &Map) -> Result<Meter> {
    touch(map, 0)?;
    Ok(Meter::against(bench.busy_clock(), || map.load(0)))
}

/// Reads a word of a page that is not there: the cost.
fn fault(meter: &Meter, map: &Map, offset: u64) -> Result<u64> {
    let (cost, outcome) = meter.time(|| map.load(offset));
    loaded(outcome.map(drop), offset)?;
    Ok(cost)
}

/// Reads a word of a page.
fn touch(map: &Map, offset: u64) -> Result<()> {
    loaded(map.load(offset).map(drop), offset)
}

/// Reading must not end in a signal.
fn loaded(outcome: std::result::Result<(), crate::trap::Signal>, offset: u64) -> Result<()> {
    outcome.map_err(|signal| Error::state(format!("load at {offset:#x}: {signal:?}")))
}

/// Takes all pages out of a mapping; the page tables stay.
fn forget(map: &Map) -> Result<()> {
    let advise = map.advise(libc::MADV_DONTNEED);
    advise.map_err(|errno| Error::new("madvise(MADV_DONTNEED)", errno))
}

/// The subject of a figure.
fn subject(operation: &'static str, ranges: u64, meter: &Meter) -> Subject {
    Subject {
        operation,
        ranges,
        unit: meter.unit(),
    }
}
