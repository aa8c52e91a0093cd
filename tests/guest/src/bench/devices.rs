// SPDX-License-Identifier: GPL-2.0
//! A thousand devices of one range each, and a range among many in one write.

use super::attribute::Attribute;
use super::clock::Meter;
use super::record::Subject;
use super::{Bench, Mode};
use crate::device::{mappings_text, Device, Driver, DEVICES};
use crate::kernel::Impl;
use crate::region::Region;
use crate::sysfs::{self, Error, Result};
use crate::units::UNIT;

/// The operations.
const OPERATIONS: &[&str] = &[
    "devices-create",
    "devices-bind",
    "devices-list",
    "devices-unbind",
    "devices-delete",
];
/// Several ranges in one write.
const MANY: &str = "mapping-many";
/// Devices, and ranges of a write: about as many as fit one.
const COUNT: u64 = 1000;
const RANGES: u64 = 128;
/// The same in a brief run.
const FEW: u64 = 8;

/// Creates the devices, binds them, lists them, unbinds and deletes them. Each figure is that of
/// one device.
pub fn thousand(bench: &mut Bench, region: &Region) -> Result<()> {
    if !bench.wants_any(OPERATIONS) {
        return Ok(());
    }
    let count = if bench.is_thorough() { COUNT } else { FEW };
    if region.unit_count() < count {
        return Err(Error::state(format!("{count} devices need as many units")));
    }
    let create = Attribute::writable(&region.attr("create"))?;
    let delete = Attribute::writable(&region.attr("delete"))?;
    let bind = Attribute::writable(&Driver::DeviceDax.attr("bind"))?;
    let unbind = Attribute::writable(&Driver::DeviceDax.attr("unbind"))?;
    let unit = UNIT.to_string();
    let meter = Meter::new(bench.own_clock());
    let mut total = [0; OPERATIONS.len()];
    let mut devices = Vec::new();
    for _ in 0..count {
        let (cost, created) = meter.time(|| create.write("1"));
        create.check(created, 1)?;
        let device = Device::named(region.youngest()?);
        let size = Attribute::writable(&device.attr("size"))?;
        let (more, sized) = meter.time(|| size.write(&unit));
        size.check(sized, unit.len())?;
        total[0] += cost + more;
        devices.push(device);
    }
    for device in &devices {
        let (cost, bound) = meter.time(|| bind.write(device.name()));
        bind.check(bound, device.name().len())?;
        total[1] += cost;
    }
    let (cost, listed) = meter.time(|| list(&devices));
    total[2] = cost;
    listed?;
    for device in &devices {
        let (cost, unbound) = meter.time(|| unbind.write(device.name()));
        unbind.check(unbound, device.name().len())?;
        total[3] += cost;
    }
    for device in &devices {
        let size = Attribute::writable(&device.attr("size"))?;
        let (cost, emptied) = meter.time(|| size.write("0"));
        size.check(emptied, 1)?;
        let (more, deleted) = meter.time(|| delete.write(device.name()));
        delete.check(deleted, device.name().len())?;
        total[4] += cost + more;
    }
    for (operation, total) in OPERATIONS.iter().zip(total) {
        if bench.wants(operation) {
            let subject = subject(operation, &meter);
            bench.record.total(subject, total, count);
        }
    }
    Ok(())
}

/// What `daxctl list` reads of each device.
fn list(devices: &[Device]) -> Result<()> {
    let names = sysfs::names(DEVICES.as_ref())?;
    for device in devices {
        if !names.iter().any(|name| name == device.name()) || device.size()? != UNIT {
            return Err(Error::state(format!("{device:?} is not listed")));
        }
        for attr in ["align", "target_node", "numa_node", "resource"] {
            // A region without a node has no target node.
            let _ = sysfs::try_read(&device.attr(attr));
        }
    }
    Ok(())
}

/// Appends ranges in one write, with a hole behind each. The figure is that of one range.
pub fn many_at_once(bench: &mut Bench, region: &Region) -> Result<()> {
    if !bench.wants(MANY) || bench.implementation == Impl::C {
        return Ok(());
    }
    let count = if bench.mode == Mode::Smoke {
        FEW
    } else {
        RANGES
    };
    let spans: Vec<_> = (0..count).map(|range| region.units(2 * range, 1)).collect();
    let text = mappings_text(&spans, " ");
    let device = region.create()?;
    let mapping = Attribute::writable(&device.attr("mapping"))?;
    let meter = Meter::new(bench.own_clock());
    let (cost, written) = meter.time(|| mapping.write(&text));
    mapping.check(written, text.len())?;
    if device.spans()? != spans {
        return Err(Error::state(format!("{device:?}: other ranges")));
    }
    region.destroy(&device)?;
    bench.record.total(subject(MANY, &meter), cost, count);
    Ok(())
}

/// The subject of a figure.
fn subject(operation: &'static str, meter: &Meter) -> Subject {
    Subject {
        operation,
        ranges: 0,
        unit: meter.unit(),
    }
}
