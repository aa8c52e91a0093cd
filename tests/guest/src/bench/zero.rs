// SPDX-License-Identifier: GPL-2.0
//! The bandwidth of `zero_on_alloc`, compared with `memset()` of the same memory by the same CPU.

use super::attribute::Attribute;
use super::clock::{Clock, Meter};
use super::record::Subject;
use super::Bench;
use crate::device::Driver;
use crate::kernel::Impl;
use crate::mmap::Map;
use crate::region::Region;
use crate::sysfs::{self, Result};
use crate::units::{MIB, UNIT};

/// The operation.
const NAME: &str = "zero";
/// The number of bytes that are zeroed. Zeroing them takes tens of milliseconds either way.
const SIZE: u64 = 512 * MIB;
/// Number of repetitions.
const ROUNDS: usize = 15;

/// Factor by which the kernel zeroes faster than `memset()`: the growth of a device, all included.
pub fn bandwidth(bench: &mut Bench, region: &Region) -> Result<()> {
    if !bench.wants(NAME) || bench.implementation == Impl::C {
        return Ok(());
    }
    let device = region.create()?;
    let size = Attribute::writable(&device.attr("size"))?;
    let all = SIZE.to_string();
    let meter = Meter::new(Clock::Wall);
    let mut samples = Vec::new();
    // Neither is measured the first time: the host must have the memory first.
    for round in 0..=bench.repetitions(ROUNDS) {
        sysfs::write(&region.attr("zero_on_alloc"), "1")?;
        let (ours, grown) = meter.time(|| size.write(&all));
        size.check(grown, all.len())?;
        sysfs::write(&region.attr("zero_on_alloc"), "0")?;
        device.bind(Driver::DeviceDax)?;
        let map = Map::whole(&device)?;
        for offset in (0..SIZE).step_by(UNIT as usize) {
            // Faults are not measured.
            let _ = map.load(offset);
        }
        let (theirs, ()) = meter.time(|| map.fill_with_zeroes());
        drop(map);
        device.unbind()?;
        device.set_size(0)?;
        if round > 0 {
            samples.push(theirs as f64 / ours.max(1) as f64);
        }
    }
    region.delete(&device)?;
    let subject = Subject {
        operation: NAME,
        ranges: 0,
        unit: "times",
    };
    bench.record.median(subject, samples);
    Ok(())
}
