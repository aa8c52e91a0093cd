// SPDX-License-Identifier: GPL-2.0
//! Draws a region as a bar of characters that shows its devices and holes.

use std::ops::RangeInclusive;

/// Width of the bar in characters.
const WIDTH: u64 = 64;

/// Consecutive addresses.
pub type Span = RangeInclusive<u64>;

/// The characters to draw with.
pub struct Style {
    free: char,
    side: char,
    line: char,
    corners: [char; 4],
}

impl Style {
    /// For terminals that show UTF-8.
    pub const UTF8: Self = Self {
        free: '\u{b7}',
        side: '\u{2502}',
        line: '\u{2500}',
        corners: ['\u{250c}', '\u{2510}', '\u{2514}', '\u{2518}'],
    };
    /// For all other outputs.
    pub const ASCII: Self = Self {
        free: '.',
        side: '|',
        line: '-',
        corners: ['+'; 4],
    };
}

/// A device that has memory of the region.
pub struct Device {
    /// Y of daxX.Y, which chooses the letter of the device.
    pub id: u64,
    /// Its ranges.
    pub spans: Vec<Span>,
    /// The lines of the legend that describe it.
    pub legend: Vec<String>,
}

/// Draws the region `all`, and returns the lines. `human` writes a number of bytes for people.
pub fn draw(
    style: &Style,
    all: Span,
    devices: &[Device],
    holes: &[Span],
    human: fn(u64) -> String,
) -> Vec<String> {
    let owners = devices.iter().map(|d| (mark(d.id), &d.spans[..]));
    let owners: Vec<(char, &[Span])> = owners.chain([(style.free, holes)]).collect();
    let bar: String = cells(&all).map(|cell| mark_of(&owners, &cell)).collect();
    let line = style.line.to_string().repeat(WIDTH as usize);
    let [top_left, top_right, bottom_left, bottom_right] = style.corners;
    let address = |addr: u64| match addr % (1 << 30) {
        0 => human(addr),
        _ => format!("{addr:#x}"),
    };
    let (from, to) = (address(*all.start()), address(all.end().saturating_add(1)));
    let indent = " ".repeat(from.chars().count());
    let mut lines = vec![
        format!("{indent} {top_left}{line}{top_right}"),
        format!("{from} {}{bar}{} {to}", style.side, style.side),
        format!("{indent} {bottom_left}{line}{bottom_right}"),
    ];
    for device in devices {
        let marks = std::iter::once(mark(device.id)).chain(std::iter::repeat(' '));
        let rows = marks.zip(&device.legend);
        lines.extend(rows.map(|(mark, text)| format!("{indent}  {mark} {text}")));
    }
    if !holes.is_empty() {
        let free = human(holes.iter().map(len).sum());
        let text = legend("free", free, holes.len(), "hole");
        lines.push(format!("{indent}  {} {text}", style.free));
    }
    lines
}

/// A line of the legend: a name, a size and a number of things, `3 ranges` for example.
pub fn legend(name: &str, size: String, count: usize, thing: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{name:<7} {size:>8}  {count} {thing}{plural}")
}

/// Divides the region into one part for each character of the bar.
fn cells(all: &Span) -> impl Iterator<Item = Span> {
    let (start, len) = (*all.start(), u128::from(len(all)));
    let at = move |i: u64| {
        let part = len * u128::from(i) / u128::from(WIDTH);
        start.saturating_add(u64::try_from(part).unwrap_or(u64::MAX))
    };
    (0..WIDTH).map(move |i| at(i)..=at(i + 1).saturating_sub(1).max(at(i)))
}

/// The mark of the owner that has most bytes of a cell.
fn mark_of(owners: &[(char, &[Span])], cell: &Span) -> char {
    let common = |span: &Span| -> u64 {
        len(&(*span.start().max(cell.start())..=*span.end().min(cell.end())))
    };
    let share = |(_, spans): &&(char, &[Span])| -> u64 { spans.iter().map(common).sum() };
    owners
        .iter()
        .max_by_key(share)
        .map_or(' ', |(mark, _)| *mark)
}

/// The number of bytes. That of all 2^64 addresses does not fit, and counts one byte less.
fn len(span: &Span) -> u64 {
    match span.is_empty() {
        true => 0,
        false => (span.end() - span.start()).saturating_add(1),
    }
}

/// `A` for daxX.1 and so on: a device keeps its letter from map to map.
fn mark(id: u64) -> char {
    let letter = u8::try_from((id + 25) % 26).unwrap_or_default();
    char::from(b'A' + letter)
}
