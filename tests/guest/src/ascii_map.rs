// SPDX-License-Identifier: GPL-2.0
//! Draws a region as a bar that shows its devices and holes.

pub use dax_map::Style;

use crate::region::Region;
use crate::sysfs::Result;
use crate::units::{holes, human, in_order, Span, PAGE};

/// Draws the region, and returns the lines.
pub fn draw(region: &Region, style: &Style) -> Result<Vec<String>> {
    let mut devices = Vec::new();
    let mut taken = Vec::new();
    for device in region.devices()? {
        let spans = device.spans()?;
        if spans.is_empty() {
            continue;
        }
        taken.extend(&spans);
        let driver = device.driver().unwrap_or_else(|| "no driver".into());
        let first = dax_map::legend(device.name(), device.size()?, spans.len(), "range");
        let mut legend = vec![format!("{first}, {driver}")];
        if spans.len() > 1 {
            legend.extend(range_lines(&spans));
        }
        devices.push(dax_map::Device {
            id: id(device.name()),
            spans,
            legend,
        });
    }
    let all = region.span();
    Ok(dax_map::draw(style, all, &devices, &holes(all, &taken)))
}

/// One line per range, in the order of page offsets.
fn range_lines(spans: &[Span]) -> impl Iterator<Item = String> {
    in_order(spans).into_iter().map(|range| {
        let (first, len) = (range.page_offset, range.span.len());
        let last = first + len / PAGE - 1;
        format!(
            "  pages {first:#8x}-{last:#8x} at {:?}  {}",
            range.span,
            human(len)
        )
    })
}

/// Y of daxX.Y.
fn id(name: &str) -> u64 {
    let id = name.rsplit_once('.').and_then(|(_, id)| id.parse().ok());
    id.unwrap_or(0)
}
