// SPDX-License-Identifier: GPL-2.0
//! A region as a bar of characters: who has what, and where the holes are.

use std::io::{self, IsTerminal};

use crate::device::Device;
use crate::region::Region;
use crate::span::{counted, human, total, Span, PAGE};

/// Cells of the bar.
const WIDTH: u64 = 64;

/// The characters to draw with.
pub struct Style {
    free: char,
    side: char,
    line: char,
    corners: [char; 4],
}

impl Style {
    const UTF8: Self = Self {
        free: '\u{b7}',
        side: '\u{2502}',
        line: '\u{2500}',
        corners: ['\u{250c}', '\u{2510}', '\u{2514}', '\u{2518}'],
    };
    pub const ASCII: Self = Self {
        free: '.',
        side: '|',
        line: '-',
        corners: ['+'; 4],
    };

    /// What standard output can show.
    pub fn of_terminal() -> Self {
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
            .iter()
            .filter_map(|name| std::env::var(name).ok())
            .find(|value| !value.is_empty())
            .unwrap_or_default()
            .to_lowercase();
        match io::stdout().is_terminal() && locale.contains("utf") {
            true => Self::UTF8,
            false => Self::ASCII,
        }
    }
}

/// Something in the region.
struct Owner {
    mark: char,
    spans: Vec<Span>,
}

/// Draws the region as it is; the lines.
pub fn draw(region: &Region, style: &Style) -> Vec<String> {
    let (Some(all), devices) = (region.span(), with_memory(region)) else {
        return without_start(region);
    };
    let mut owners: Vec<Owner> = devices
        .iter()
        .map(|device| Owner {
            mark: mark(device.id),
            spans: device.spans(),
        })
        .collect();
    let holes = region.holes();
    owners.push(Owner {
        mark: style.free,
        spans: holes.clone(),
    });
    let bar: String = cells(all)
        .map(|cell| mark_of(&owners, cell, style))
        .collect();
    let line = style.line.to_string().repeat(WIDTH as usize);
    let [top_left, top_right, bottom_left, bottom_right] = style.corners;
    let (from, to) = (address(all.start), address(all.end.saturating_add(1)));
    let indent = " ".repeat(from.chars().count());
    let mut lines = vec![
        format!("{indent} {top_left}{line}{top_right}"),
        format!("{from} {}{bar}{} {to}", style.side, style.side),
        format!("{indent} {bottom_left}{line}{bottom_right}"),
    ];
    for device in devices {
        let mark = mark(device.id);
        let label = device_lines(device);
        let marked = label.iter().enumerate().map(|(i, line)| match i {
            0 => format!("{indent}  {mark} {line}"),
            _ => format!("{indent}    {line}"),
        });
        lines.extend(marked);
    }
    if !holes.is_empty() {
        let free = human(total(&holes));
        let count = counted(holes.len(), "hole");
        lines.push(format!(
            "{indent}  {} {:<7} {free:>8}  {count}",
            style.free, "free"
        ));
    }
    lines
}

/// A device in words; each of its ranges, if there are several.
pub fn device_lines(device: &Device) -> Vec<String> {
    let ranges = counted(device.mappings.len(), "range");
    let size = human(device.size);
    let state = device.state();
    let mut lines = vec![format!("{:<7} {size:>8}  {ranges}, {state}", device.name)];
    if device.mappings.len() > 1 {
        for mapping in &device.mappings {
            let first = mapping.page_offset;
            let last = first + mapping.span.len() / PAGE - 1;
            let size = human(mapping.span.len());
            lines.push(format!(
                "    pages {first:#8x}-{last:#8x} at {}  {size}",
                mapping.span
            ));
        }
    }
    lines
}

/// A region of which nobody knows where it begins.
fn without_start(region: &Region) -> Vec<String> {
    let mut lines = vec!["nothing tells where it begins, so holes are not shown".to_owned()];
    lines.extend(with_memory(region).into_iter().flat_map(device_lines));
    lines
}

fn with_memory(region: &Region) -> Vec<&Device> {
    region.devices.iter().filter(|d| d.size > 0).collect()
}

/// The parts of the region that a character stands for.
fn cells(all: Span) -> impl Iterator<Item = Span> {
    let at = move |i: u64| {
        let part = u128::from(all.len()) * u128::from(i) / u128::from(WIDTH);
        all.start
            .saturating_add(u64::try_from(part).unwrap_or(u64::MAX))
    };
    (0..WIDTH).map(move |i| Span {
        start: at(i),
        end: at(i + 1).saturating_sub(1).max(at(i)),
    })
}

/// The mark of whoever has most of a cell.
fn mark_of(owners: &[Owner], cell: Span, style: &Style) -> char {
    let share = |owner: &&Owner| -> u64 {
        let common = owner.spans.iter().filter_map(|span| span.common(cell));
        common.map(Span::len).sum()
    };
    owners
        .iter()
        .max_by_key(share)
        .map_or(style.free, |o| o.mark)
}

/// `A` for daxR.1 and so on: a device keeps its letter from map to map.
pub fn mark(id: u64) -> char {
    let letter = u8::try_from((id + 25) % 26).unwrap_or_default();
    char::from(b'A' + letter)
}

/// An address for people.
fn address(addr: u64) -> String {
    match addr % (1 << 30) {
        0 => human(addr),
        _ => format!("{addr:#x}"),
    }
}
