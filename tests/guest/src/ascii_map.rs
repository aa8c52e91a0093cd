// SPDX-License-Identifier: GPL-2.0
//! Draws a region as a bar: which device has which addresses, and where the holes are.

use crate::region::Region;
use crate::sysfs::Result;
use crate::units::{counted, holes, human, Span, GIB, PAGE};

/// Cells of the bar.
const WIDTH: u64 = 64;
/// Names of devices in the bar.
const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// The characters to draw with.
pub struct Style {
    free: char,
    side: char,
    line: char,
    corners: [char; 4],
}

impl Style {
    /// For terminals that can.
    pub const UTF8: Style = Style {
        free: '\u{b7}',
        side: '\u{2502}',
        line: '\u{2500}',
        corners: ['\u{250c}', '\u{2510}', '\u{2514}', '\u{2518}'],
    };
    /// For all others.
    pub const ASCII: Style = Style {
        free: '.',
        side: '|',
        line: '-',
        corners: ['+'; 4],
    };
}

/// Something in the region.
struct Owner {
    mark: char,
    label: String,
    spans: Vec<Span>,
}

/// Draws the region, and returns the lines.
pub fn draw(region: &Region, style: &Style) -> Result<Vec<String>> {
    let owners = owners(region, style)?;
    let all = region.span();
    let cell = all.len() / WIDTH;
    let bar: String = (0..WIDTH)
        .map(|i| mark_of(&owners, Span::at(all.start + i * cell, cell), style))
        .collect();
    let line: String = (0..WIDTH).map(|_| style.line).collect();
    let [top_left, top_right, bottom_left, bottom_right] = style.corners;
    let from = address(all.start);
    let to = address(all.end + 1);
    let indent = " ".repeat(from.chars().count());
    let mut lines = vec![
        format!("{indent} {top_left}{line}{top_right}"),
        format!("{from} {}{bar}{} {to}", style.side, style.side),
        format!("{indent} {bottom_left}{line}{bottom_right}"),
    ];
    for owner in &owners {
        lines.push(format!("{indent}  {} {}", owner.mark, owner.label));
        if owner.spans.len() > 1 && owner.mark != style.free {
            lines.extend(range_lines(&owner.spans, &indent));
        }
    }
    Ok(lines)
}

/// The mark of the device that has most of a cell, or of a hole.
fn mark_of(owners: &[Owner], cell: Span, style: &Style) -> char {
    let share = |owner: &&Owner| -> u64 {
        let common = |span: &Span| {
            let start = span.start.max(cell.start);
            let end = span.end.min(cell.end);
            (end + 1).saturating_sub(start)
        };
        owner.spans.iter().map(common).sum()
    };
    owners
        .iter()
        .max_by_key(share)
        .map_or(style.free, |o| o.mark)
}

/// The devices that have memory, and the holes.
fn owners(region: &Region, style: &Style) -> Result<Vec<Owner>> {
    let mut owners = Vec::new();
    let mut taken = Vec::new();
    for device in region.devices()? {
        let spans = device.spans()?;
        if spans.is_empty() {
            continue;
        }
        taken.extend(&spans);
        let ranges = counted(spans.len() as u64, "range");
        let driver = device.driver().unwrap_or_else(|| "no driver".into());
        let size = human(device.size()?);
        owners.push(Owner {
            mark: letter(device.name()),
            label: format!("{:<7} {size:>8}  {ranges}, {driver}", device.name()),
            spans,
        });
    }
    let holes = holes(region.span(), taken);
    if !holes.is_empty() {
        let free = human(holes.iter().map(|s| s.len()).sum());
        owners.push(Owner {
            mark: style.free,
            label: format!(
                "{:<7} {free:>8}  {}",
                "free",
                counted(holes.len() as u64, "hole")
            ),
            spans: holes,
        });
    }
    Ok(owners)
}

/// `A` for daxR.1 and so on: a device keeps its letter from map to map.
fn letter(name: &str) -> char {
    let id = name.rsplit_once('.').and_then(|(_, id)| id.parse().ok());
    let index = id.unwrap_or(0) + LETTERS.len() - 1;
    char::from(LETTERS[index % LETTERS.len()])
}

/// One line per range, in the order of page offsets.
fn range_lines(spans: &[Span], indent: &str) -> Vec<String> {
    let mut page = 0;
    let mut lines = Vec::new();
    for span in spans {
        let last = page + span.len() / PAGE - 1;
        let size = human(span.len());
        lines.push(format!(
            "{indent}      pages {page:#8x}-{last:#8x} at {span:?}  {size}"
        ));
        page = last + 1;
    }
    lines
}

/// An address for people.
fn address(addr: u64) -> String {
    if addr % GIB == 0 {
        human(addr)
    } else {
        format!("{addr:#x}")
    }
}
