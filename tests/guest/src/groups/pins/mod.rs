// SPDX-License-Identifier: GPL-2.0
//! Pages that somebody holds (A29). The tests show when a device drains, that only the owner of its
//! region waits for that, and that nobody else gets the memory meanwhile (A17).
//!
//! The tests leave the C driver out: it frees a page under its holder, which then oopses.

mod draining;
mod messages;
mod others;
mod regions;

use crate::device::Device;
use crate::kernel::modprobe;
use crate::ktap::{needs_units, Failure, Test};
use crate::memory;
use crate::region::Region;
use crate::units::{Span, UNIT};

/// The tests, by file.
pub const FILES: &[&[Test]] = &[
    draining::TESTS,
    messages::TESTS,
    others::TESTS,
    regions::TESTS,
];

/// The reason for which the tests leave the C driver out.
const C: &str = "frees the page under its holder";

/// A device of two ranges in the machine's second region, which is memory of a node of its own.
fn device(align: u64) -> Result<(Region, Device), Failure> {
    // Every driver must be refused a device that drains; this one is not in every kernel.
    let _ = modprobe(&["fsdev_dax"]);
    let regions = Region::fresh_all()?;
    let region = regions
        .into_iter()
        .nth(1)
        .ok_or_else(|| Failure::Fail("no second region".into()))?;
    let block = memory::block_size()? / UNIT;
    needs_units(&region, 3 * block + 2)?;
    let spans = [region.units(2 * block, block), region.units(0, block)];
    let device = region.create_bound(align, &spans)?;
    Ok((region, device))
}

/// Two units behind the memory of [`device`].
fn elsewhere(region: &Region) -> Result<Span, Failure> {
    Ok(region.units(3 * memory::block_size()? / UNIT, 2))
}
