// SPDX-License-Identifier: GPL-2.0
//! Creating and deleting a device.

use super::attribute::Attribute;
use super::clock::Meter;
use super::record::Subject;
use super::Bench;
use crate::region::Region;
use crate::sysfs::Result;

/// The name of the operation.
const NAME: &str = "create-delete";
/// Number of repetitions.
const ROUNDS: usize = 33;

/// Creates and deletes an empty device.
pub fn create_and_delete(bench: &mut Bench, region: &Region) -> Result<()> {
    if !bench.wants(NAME) {
        return Ok(());
    }
    // Which one it will be; and everything has happened once.
    let device = region.create()?;
    region.delete(&device)?;
    let create = Attribute::writable(&region.attr("create"))?;
    let delete = Attribute::writable(&region.attr("delete"))?;
    let meter = Meter::new(bench.own_clock());
    let mut samples = Vec::new();
    for _ in 0..bench.repetitions(ROUNDS) {
        let name = device.name();
        let (cost, (created, deleted)) = meter.time(|| (create.write("1"), delete.write(name)));
        create.check(created, 1)?;
        delete.check(deleted, name.len())?;
        samples.push(cost as f64);
    }
    let subject = Subject {
        operation: NAME,
        ranges: 0,
        unit: meter.unit(),
    };
    bench.record.median(subject, samples);
    Ok(())
}
