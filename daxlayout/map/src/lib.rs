// SPDX-License-Identifier: GPL-2.0
//! Spans of physical memory, and a drawing of a region as a bar of characters that shows its devices
//! and holes.

mod span;

pub use span::{counted, holes, human, merged, total, Span};

/// Width of the bar in characters.
const WIDTH: u64 = 64;

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

/// Draws the region `all`, and returns the lines.
pub fn draw(style: &Style, all: Span, devices: &[Device], holes: &[Span]) -> Vec<String> {
    let owners = devices.iter().map(|d| (mark(d.id), &d.spans[..]));
    let owners: Vec<(char, &[Span])> = owners.chain([(style.free, holes)]).collect();
    let bar: String = cells(all).map(|cell| mark_of(&owners, cell)).collect();
    let line = style.line.to_string().repeat(WIDTH as usize);
    let [top_left, top_right, bottom_left, bottom_right] = style.corners;
    let address = |addr: u64| match addr % (1 << 30) {
        0 => human(addr),
        _ => format!("{addr:#x}"),
    };
    let (from, to) = (address(all.start), address(all.end.saturating_add(1)));
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
        let text = legend("free", total(holes), holes.len(), "hole");
        lines.push(format!("{indent}  {} {text}", style.free));
    }
    lines
}

/// A line of the legend: a name, a size in bytes, and a number of things, `3 ranges` for example.
pub fn legend(name: &str, size: u64, count: usize, thing: &str) -> String {
    format!("{name:<7} {:>8}  {}", human(size), counted(count, thing))
}

/// Divides the region into one part for each character of the bar.
fn cells(all: Span) -> impl Iterator<Item = Span> {
    let len = u128::from(all.len());
    let at = move |i: u64| {
        let part = len * u128::from(i) / u128::from(WIDTH);
        all.start
            .saturating_add(u64::try_from(part).unwrap_or(u64::MAX))
    };
    (0..WIDTH).map(move |i| Span {
        start: at(i),
        end: at(i + 1).saturating_sub(1).max(at(i)),
    })
}

/// The mark of the owner that has most bytes of a cell.
fn mark_of(owners: &[(char, &[Span])], cell: Span) -> char {
    let common = |span: &Span| span.common(cell).map_or(0, Span::len);
    let share = |(_, spans): &&(char, &[Span])| -> u64 { spans.iter().map(common).sum() };
    owners
        .iter()
        .max_by_key(share)
        .map_or(' ', |(mark, _)| *mark)
}

/// `A` for daxX.1 and so on: a device keeps its letter from map to map.
fn mark(id: u64) -> char {
    let letter = u8::try_from((id + 25) % 26).unwrap_or_default();
    char::from(b'A' + letter)
}
