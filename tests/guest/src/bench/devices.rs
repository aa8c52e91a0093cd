// SPDX-License-Identifier: GPL-2.0
//! A thousand devices of one range each, and a range among many in one write.

use super::attribute::Attribute;
use super::clock::Meter;
use super::ranges::{subject, written};
use super::{Bench, Mode};
use crate::device::{mappings_text, Device, Driver, DEVICES};
use crate::kernel::Impl;
use crate::region::Region;
use crate::sysfs::{self, Error, Result};
use crate::units::UNIT;
use std::collections::BTreeSet;

/// The operations, by name.
const OPERATIONS: [&str; 5] = [
    "devices-create",
    "devices-bind",
    "devices-list",
    "devices-unbind",
    "devices-delete",
];
/// The names of the operations in the mode `turns`, where waiting counts. Only binding and
/// unbinding wait.
const TURNS: [&str; 5] = [
    "devices-create-turns",
    "devices-bind-turns",
    "devices-list-turns",
    "devices-unbind-turns",
    "devices-delete-turns",
];
/// The operation that appends several ranges in one write.
const MANY: &str = "mapping-many";
/// The number of devices, and of the ranges of a write: about as many as fit into one write.
const COUNT: u64 = 1000;
const RANGES: u64 = 128;
/// Both numbers in a brief run.
const FEW: u64 = 8;

/// Creates the devices, binds them, lists them, unbinds and deletes them. Each figure is that of
/// one device.
pub fn thousand(bench: &mut Bench, region: &Region) -> Result<()> {
    let operations = match bench.mode {
        Mode::Turns => &TURNS,
        Mode::Count | Mode::Wall | Mode::Smoke => &OPERATIONS,
    };
    if !bench.wants_any(operations) {
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
        let cost = written(&meter, &create, "1")?;
        let device = Device::named(region.youngest()?);
        let size = Attribute::writable(&device.attr("size"))?;
        total[0] += cost + written(&meter, &size, &unit)?;
        devices.push(device);
    }
    for device in &devices {
        total[1] += written(&meter, &bind, device.name())?;
    }
    let (cost, listed) = meter.time(|| list(&devices));
    total[2] = cost;
    let listed: BTreeSet<String> = listed?.into_iter().collect();
    for device in &devices {
        if !listed.contains(device.name()) {
            return Err(Error::state(format!("{device:?} is not listed")));
        }
    }
    for device in &devices {
        total[3] += written(&meter, &unbind, device.name())?;
    }
    for device in &devices {
        let size = Attribute::writable(&device.attr("size"))?;
        total[4] += written(&meter, &size, "0")?;
        total[4] += written(&meter, &delete, device.name())?;
    }
    for (operation, total) in operations.iter().zip(total) {
        if bench.wants(operation) {
            let subject = subject(operation, 0, &meter);
            bench.record.total(subject, total, count);
        }
    }
    Ok(())
}

/// Reads what `daxctl list` reads of each device. Returns the names of all.
fn list(devices: &[Device]) -> Result<Vec<String>> {
    let names = sysfs::names(DEVICES.as_ref())?;
    for device in devices {
        if device.size()? != UNIT {
            return Err(Error::state(format!("{device:?}: another size")));
        }
        for attr in ["align", "target_node", "numa_node", "resource"] {
            // A region without a node has no target node.
            let _ = sysfs::try_read(&device.attr(attr));
        }
    }
    Ok(names)
}

/// Appends ranges in one write, with a hole behind each. The figure is that of one range.
pub fn many_at_once(bench: &mut Bench, region: &Region) -> Result<()> {
    if !bench.wants(MANY) || bench.implementation == Impl::C {
        return Ok(());
    }
    let count = if bench.is_thorough() { RANGES } else { FEW };
    let spans: Vec<_> = (0..count).map(|range| region.units(2 * range, 1)).collect();
    let text = mappings_text(&spans, " ");
    let device = region.create()?;
    let mapping = Attribute::writable(&device.attr("mapping"))?;
    let meter = Meter::new(bench.own_clock());
    let cost = written(&meter, &mapping, &text)?;
    if device.spans()? != spans {
        return Err(Error::state(format!("{device:?}: other ranges")));
    }
    region.destroy(&device)?;
    bench.record.total(subject(MANY, 0, &meter), cost, count);
    Ok(())
}
