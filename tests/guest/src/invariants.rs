// SPDX-License-Identifier: GPL-2.0
//! Checks that the numbers which a region and its devices show fit together.

use crate::device::Device;
use crate::ktap::{check, Outcome};
use crate::region::Region;
use crate::units::{in_order, Span, UNIT};

/// Sizes and free space add up; no two ranges overlap; page offsets follow each other; all is
/// within the region and aligned.
pub fn check_invariants(region: &Region) -> Outcome {
    let mut taken: Vec<(Span, Device)> = Vec::new();
    let mut total = 0;
    for device in region.devices()? {
        let ranges = device.ranges()?;
        let spans: Vec<Span> = ranges.iter().map(|r| r.span).collect();
        check(format!("ranges of {device:?}"), ranges, in_order(&spans))?;
        let sum = spans.iter().map(|s| s.len()).sum();
        check(format!("size of {device:?}"), device.size()?, sum)?;
        let align = device.align()?.max(UNIT);
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
