// SPDX-License-Identifier: GPL-2.0
//! A device of R ranges: create, fill, read, bind, use, unbind and shrink it.
//!
//! Each range is one unit of 2 MiB, with a hole of one unit behind it. While the device grows,
//! another device, the separators, fills these holes.

use super::attribute::Attribute;
use super::clock::Meter;
use super::record::Subject;
use super::unbind::unbind;
use super::{fault, Bench, Mode};
use crate::device::{mapping_text, Device, Driver};
use crate::region::Region;
use crate::sysfs::{Error, Result};
use crate::units::UNIT;

/// The operations that are measured in instructions, in one pass.
const COUNTED: &[&str] = &[
    "mapping-write",
    "resize-fill",
    "shrink",
    "size-read",
    "available-read",
    "bind",
    fault::AVERAGE,
    fault::LAST,
];
/// The operations that need a bound device.
const BOUND: &[&str] = &["bind", fault::AVERAGE, fault::LAST];
/// Reads of one attribute.
const READS: usize = 33;
/// Ranges of the round that is not measured.
const WARM_UP: u64 = 16;

/// Measures the cost of single operations.
pub fn counted(bench: &mut Bench, region: &Region, ranges: &[u64]) -> Result<()> {
    if !bench.wants_any(COUNTED) {
        return Ok(());
    }
    let device = Ranges::make(bench, region, WARM_UP, false)?;
    device.use_bound(bench, false)?;
    device.unmake(bench, false)?;
    for &count in ranges {
        let device = Ranges::make(bench, region, count, true)?;
        device.read(bench)?;
        if bench.wants_any(BOUND) {
            device.use_bound(bench, true)?;
        }
        device.unmake(bench, true)?;
    }
    Ok(())
}

/// Time that it takes to unbind.
pub fn timed(bench: &mut Bench, region: &Region, ranges: &[u64]) -> Result<()> {
    let operation = match bench.mode {
        Mode::Turns => "unbind-turns",
        Mode::Count | Mode::Wall | Mode::Smoke => "unbind",
    };
    if !bench.wants(operation) {
        return Ok(());
    }
    for &count in ranges {
        let device = Ranges::make(bench, region, count, false)?;
        device.device.bind(Driver::DeviceDax)?;
        let meter = Meter::new(bench.busy_clock());
        let cost = unbind(&meter, &device.device)?;
        bench
            .record
            .total(subject(operation, count, &meter), cost, 1);
        device.unmake(bench, false)?;
    }
    Ok(())
}

/// The subject of a figure.
pub fn subject(operation: &'static str, ranges: u64, meter: &Meter) -> Subject {
    Subject {
        operation,
        ranges,
        unit: meter.unit(),
    }
}

/// Writes an attribute, which costs so much.
pub fn written(meter: &Meter, attribute: &Attribute, text: &str) -> Result<u64> {
    let (cost, outcome) = meter.time(|| attribute.write(text));
    attribute.check(outcome, text.len())?;
    Ok(cost)
}

/// A device of many ranges.
pub struct Ranges<'a> {
    region: &'a Region,
    separators: Device,
    device: Device,
    count: u64,
}

impl<'a> Ranges<'a> {
    /// Makes it: the separators by `mapping`, one by one, the device by two resizes, the second of
    /// which fills all holes but the first.
    pub fn make(
        bench: &mut Bench,
        region: &'a Region,
        count: u64,
        measured: bool,
    ) -> Result<Ranges<'a>> {
        let meter = Meter::new(bench.own_clock());
        let separators = region.create()?;
        let mapping = Attribute::writable(&separators.attr("mapping"))?;
        let mut total = 0;
        for separator in 0..count {
            let text = mapping_text(region.units(2 * separator + 1, 1));
            total += written(&meter, &mapping, &text)?;
        }
        if measured && bench.wants("mapping-write") {
            let subject = subject("mapping-write", count, &meter);
            bench.record.total(subject, total, count);
        }
        let device = region.create_sized(UNIT)?;
        let size = Attribute::writable(&device.attr("size"))?;
        if count > 1 {
            let cost = written(&meter, &size, &(count * UNIT).to_string())?;
            if measured && bench.wants("resize-fill") {
                let subject = subject("resize-fill", count, &meter);
                bench.record.total(subject, cost, count - 1);
            }
        }
        let last = device.attr(&format!("mapping{}", count - 1));
        if device.size()? != count * UNIT || !last.exists() {
            return Err(Error::state(format!("{device:?}: not {count} ranges")));
        }
        Ok(Ranges {
            region,
            separators,
            device,
            count,
        })
    }

    /// Reads what sums up ranges.
    fn read(&self, bench: &mut Bench) -> Result<()> {
        let files = [
            ("size-read", self.device.attr("size")),
            ("available-read", self.region.attr("available_size")),
        ];
        for (operation, path) in files {
            if !bench.wants(operation) {
                continue;
            }
            let meter = Meter::new(bench.busy_clock());
            let attribute = Attribute::readable(&path)?;
            let mut buffer = [0; 64];
            let mut samples = Vec::new();
            for _ in 0..bench.repetitions(READS) {
                let (cost, outcome) = meter.time(|| attribute.read(&mut buffer));
                let length = outcome.as_ref().copied().unwrap_or_default().max(1);
                attribute.check(outcome, length)?;
                samples.push(cost as f64);
            }
            let subject = subject(operation, self.count, &meter);
            bench.record.median(subject, samples);
        }
        Ok(())
    }

    /// Binds it, faults its pages in, and unbinds it.
    fn use_bound(&self, bench: &mut Bench, measured: bool) -> Result<()> {
        let meter = Meter::new(bench.own_clock());
        let bind = Attribute::writable(&Driver::DeviceDax.attr("bind"))?;
        let cost = written(&meter, &bind, self.device.name())?;
        if measured && bench.wants("bind") {
            let subject = subject("bind", self.count, &meter);
            bench.record.total(subject, cost, self.count);
        }
        if measured {
            fault::of_ranges(bench, &self.device, self.count)?;
        }
        self.device.unbind()
    }

    /// Takes its memory away, and then all of it.
    pub fn unmake(self, bench: &mut Bench, measured: bool) -> Result<()> {
        let meter = Meter::new(bench.own_clock());
        let size = Attribute::writable(&self.device.attr("size"))?;
        let cost = written(&meter, &size, "0")?;
        if measured && bench.wants("shrink") {
            let subject = subject("shrink", self.count, &meter);
            bench.record.total(subject, cost, self.count);
        }
        self.region.destroy(&self.device)?;
        self.region.destroy(&self.separators)
    }
}
