// SPDX-License-Identifier: GPL-2.0
//! Everything at once. Each test races for a few seconds, then checks that the books balance.
//!
//! The C driver was tried with `DAX_GUEST_FORCE`: what it does is why it is kept out of most.

mod devices;
mod region;
mod signals;

use crate::device::Device;
use crate::errno::Errno;
use crate::ktap::{check, Failure, Outcome, Test};
use crate::region::Region;
use crate::sysfs::Error;
use crate::units::{in_order, Span};

/// The tests, by file.
pub const FILES: &[&[Test]] = &[devices::TESTS, region::TESTS, signals::TESTS];

/// What calls on a path may come to while the thing behind it goes away.
const GONE: &[Errno] = &[Errno::ENOENT, Errno::ENODEV, Errno::ENXIO];

/// Sizes and free space add up; no two ranges overlap; page offsets follow each other; all is
/// within the region and aligned.
fn check_books(region: &Region) -> Outcome {
    let mut taken: Vec<(Span, Device)> = Vec::new();
    let mut total = 0;
    for device in region.devices()? {
        let ranges = device.ranges()?;
        let spans: Vec<Span> = ranges.iter().map(|r| r.span).collect();
        check(format!("ranges of {device:?}"), ranges, in_order(&spans))?;
        let sum = spans.iter().map(|s| s.len()).sum();
        check(format!("size of {device:?}"), device.size()?, sum)?;
        let align = device.align()?.max(crate::units::UNIT);
        for span in spans {
            let aligned = span.start % align == 0 && span.len() % align == 0;
            check(format!("{span:?} aligned to {align:#x}"), aligned, true)?;
            let inside = region.span().start <= span.start && span.end <= region.span().end;
            check(format!("{span:?} in {:?}", region.span()), inside, true)?;
            taken.push((span, device.clone()));
        }
        total += sum;
    }
    taken.sort();
    for pair in taken.windows(2) {
        let overlap = pair[0].0.overlaps(pair[1].0);
        check(format!("overlap of {pair:?}"), overlap, false)?;
    }
    check(
        "available",
        region.available()?,
        region.span().len() - total,
    )
}

/// Brings the region to life whatever the race left, and checks that it works.
fn check_alive(region: &Region) -> Outcome {
    if !region.is_bound() {
        region.bind()?;
    }
    check_books(region)?;
    let device = region.create_sized(crate::units::UNIT)?;
    device.bind(crate::device::Driver::DeviceDax)?;
    region.destroy(&device).map_err(Failure::from)
}

/// The error number of an access, as the result of a step.
fn errno(error: Error) -> Errno {
    error.errno
}
