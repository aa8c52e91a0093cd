// SPDX-License-Identifier: GPL-2.0
//! Unbinding a device of many pages, and a device with a page that somebody holds.

use super::attribute::Attribute;
use super::clock::Meter;
use super::record::Subject;
use super::{Bench, Mode};
use crate::device::{Device, Driver};
use crate::errno::Errno;
use crate::kernel::{self, Impl};
use crate::mmap::Map;
use crate::pipe::Pipe;
use crate::region::Region;
use crate::sysfs::{Error, Result};
use crate::units::{Span, MIB, PAGE, UNIT};

/// The size of the device, which has one range and pages of 4 KiB.
const LARGE: u64 = 1920 * MIB;
/// The size of the device in a run that only shows that the benchmark works.
const SMALL: u64 = 64 * MIB;
/// Number of times that each unbind is repeated.
const ROUNDS: usize = 5;

/// The part of the device that is mapped before it is unbound.
struct Use {
    /// The operation's name for instructions of the unbinding thread.
    own: &'static str,
    /// Time that it takes, waiting included.
    turns: &'static str,
    /// Number of halves of the device that are touched, from its start.
    halves: u64,
    /// Bytes from one touched page to the next.
    step: u64,
}

/// The cases that differ for a driver that looks at pages before it lets them go.
const USES: [Use; 3] = [
    Use {
        own: "unbind-4k",
        turns: "unbind-4k-turns",
        halves: 0,
        step: PAGE,
    },
    Use {
        own: "unbind-4k-half",
        turns: "unbind-4k-half-turns",
        halves: 1,
        step: PAGE,
    },
    Use {
        own: "unbind-4k-sparse",
        turns: "unbind-4k-sparse-turns",
        halves: 2,
        step: UNIT,
    },
];

/// Unbinds a device, and returns the cost.
pub fn unbind(meter: &Meter, device: &Device) -> Result<u64> {
    let attribute = Attribute::writable(&Driver::DeviceDax.attr("unbind"))?;
    let name = device.name();
    let (cost, outcome) = meter.time(|| attribute.write(name));
    attribute.check(outcome, name.len())?;
    Ok(cost)
}

/// Unbinds a device that nobody maps any more, but did.
pub fn large(bench: &mut Bench, region: &Region) -> Result<()> {
    for of in USES {
        let (operation, clock) = match bench.mode {
            Mode::Turns => (of.turns, bench.busy_clock()),
            Mode::Count | Mode::Wall | Mode::Smoke => (of.own, bench.own_clock()),
        };
        if !bench.wants(operation) {
            continue;
        }
        let device = bound(bench, region)?;
        let meter = Meter::new(clock);
        let mut samples = Vec::new();
        for round in 0..bench.repetitions(ROUNDS) {
            if round > 0 {
                device.bind(Driver::DeviceDax)?;
            }
            let map = Map::whole(&device)?;
            for offset in (0..map.len() / 2 * of.halves).step_by(of.step as usize) {
                load(&map, offset)?;
            }
            drop(map);
            samples.push(unbind(&meter, &device)? as f64);
        }
        bench.record.median(subject(operation, &meter), samples);
        region.destroy(&device)?;
    }
    Ok(())
}

/// Unbinds a device whose last page is in a pipe. The C driver does not look for that, and frees
/// the struct page that the pipe goes on to use: there the pipe is empty, and its unbind the same.
pub fn pinned(bench: &mut Bench, region: &Region) -> Result<()> {
    let operation = match bench.mode {
        Mode::Turns => "unbind-pinned-turns",
        Mode::Count | Mode::Wall | Mode::Smoke => "unbind-pinned",
    };
    if !bench.wants(operation) {
        return Ok(());
    }
    let device = bound(bench, region)?;
    let meter = Meter::new(bench.busy_clock());
    let mut samples = Vec::new();
    for round in 0..bench.repetitions(ROUNDS) {
        if round > 0 {
            device.bind(Driver::DeviceDax)?;
        }
        let pipe = hold_last_page(bench, &device)?;
        samples.push(unbind(&meter, &device)? as f64);
        if let Some(pipe) = pipe {
            if device.try_write("size", "0") != Err(Errno::EBUSY) {
                return Err(Error::state(format!("{device:?}: no page is held")));
            }
            drop(pipe);
        }
        kernel::eventually("a device that has drained", || {
            match device.try_write("align", &PAGE.to_string()) {
                Ok(_) => Ok(Some(())),
                Err(Errno::EBUSY) => Ok(None),
                Err(errno) => Err(Error::new(format!("write align of {device:?}"), errno)),
            }
        })?;
    }
    bench.record.median(subject(operation, &meter), samples);
    region.destroy(&device)
}

/// Touches the last page, and puts it into a pipe if the driver can stand that.
fn hold_last_page(bench: &Bench, device: &Device) -> Result<Option<Pipe>> {
    let map = Map::whole(device)?;
    let last = map.len() - PAGE;
    load(&map, last)?;
    if bench.implementation == Impl::C {
        return Ok(None);
    }
    let failed = |errno| Error::new("vmsplice", errno);
    let pipe = Pipe::new().map_err(failed)?;
    pipe.splice_from(&map, last, PAGE as usize)
        .map_err(failed)?;
    Ok(Some(pipe))
}

/// A bound device of the size that the run needs.
fn bound(bench: &Bench, region: &Region) -> Result<Device> {
    let len = if bench.is_thorough() { LARGE } else { SMALL };
    region.create_bound(PAGE, &[Span::at(region.span().start, len)])
}

/// Reads a word of a page.
fn load(map: &Map, offset: u64) -> Result<()> {
    let loaded = map.load(offset).map(drop);
    loaded.map_err(|signal| Error::state(format!("load at {offset:#x}: {signal:?}")))
}

/// The subject of a figure.
fn subject(operation: &'static str, meter: &Meter) -> Subject {
    Subject {
        operation,
        ranges: 1,
        unit: meter.unit(),
    }
}
