// SPDX-License-Identifier: GPL-2.0
//! Chooses operations on the size, the ranges and the alignment of a device.

use super::{is_unbound, of_device, some};
use crate::compare::view::{Device, View};
use crate::region::Region;
use crate::units::{Span, GIB, PAGE, UNIT};
use dax_protocol::compare::Operation;
use fastrand::Rng;

/// The alignments of this architecture.
const ALIGNS: [u64; 3] = [PAGE, UNIT, GIB];

/// A number as people and programs write it.
fn number(random: &mut Rng, value: u64) -> String {
    match random.u64(..8) {
        0 => format!("{value}"),
        1 => format!("{value:#x}"),
        2 => format!("{value:#x}\n\0"),
        3 => format!("0{value:o}\n"),
        4 => format!("{value:#x}\0"),
        5 => format!("{value:#X}\n").replace("0X", "0x"),
        _ => format!("{value}\n"),
    }
}

/// Text that is no number.
fn not_a_number(random: &mut Rng) -> String {
    let odd = [
        "",
        "\n",
        "x",
        "0x",
        "-1",
        "1 2",
        " 2097152",
        "2097152 ",
        "2M",
        "18446744073709551616",
        "99999999999999999999999",
        "0xfffffffffffffffff",
        "08",
        "+2097152",
        "1e6",
        "\0",
    ];
    random
        .choice(&odd)
        .map_or(String::new(), |text| (*text).to_owned())
}

pub fn size(random: &mut Rng, view: &View, region: &Region) -> Option<Operation> {
    let device = some(random, view, is_unbound)?;
    let unit = device.align.max(UNIT);
    let hole = random.choice(&view.holes).map_or(unit, |hole| hole.len());
    let first = view.holes.first().map_or(unit, |hole| hole.len());
    let last = device.ranges.last().map_or(0, |range| range.len());
    let bytes = match random.u64(..24) {
        0 | 1 => 0,
        2 => device.size,
        3 | 4 => device.size + view.available,
        5 => device.size + view.available + unit,
        6 | 7 => device.size + hole,
        8 => device.size + first + unit,
        9 => device.size + first.saturating_sub(unit),
        10 => device.size.saturating_sub(last),
        11 => device.size.saturating_sub(last + unit),
        12 => device.size.saturating_sub(unit),
        13 => device.size + random.u64(1..=unit / PAGE - 1) * PAGE,
        14 => device.size + random.u64(1..=UNIT - 1),
        15 | 16 => random.u64(1..=8) * (128 << 20),
        17 => u64::MAX - random.u64(..2) * (UNIT - 1),
        18 => random.u64(1..=view.span.len() / UNIT) * UNIT,
        19 => {
            return Some(Operation::write(
                of_device(region, &device.name, "size"),
                not_a_number(random),
            ))
        }
        20 => device.size / 2 / unit * unit,
        _ => device.size + random.u64(1..=12) * unit,
    };
    let text = number(random, bytes);
    Some(Operation::write(
        of_device(region, &device.name, "size"),
        text,
    ))
}

/// A place for a range: usually free and aligned.
fn place(random: &mut Rng, view: &View, device: &Device) -> Span {
    let unit = device.align.max(UNIT);
    let all = view.span;
    let anywhere = |random: &mut Rng| {
        let first = random.u64(..all.len() / UNIT);
        let len = random.u64(1..=(all.len() / UNIT - first).min(64));
        Span::at(all.start + first * UNIT, len * UNIT)
    };
    let fitting: Vec<Span> = view
        .holes
        .iter()
        .filter_map(|hole| {
            let start = hole.start.next_multiple_of(unit);
            let len = (hole.end + 1).checked_sub(start)? / unit * unit;
            (len > 0).then(|| Span::at(start, len))
        })
        .collect();
    let Some(hole) = random.choice(&fitting).copied() else {
        return anywhere(random);
    };
    let units = hole.len() / unit;
    let len = match random.u64(..6) {
        0 => units,
        1 => random.u64(1..=units),
        _ => random.u64(1..=units.min(8)),
    };
    let first = match random.u64(..3) {
        0 => 0,
        1 => units - len,
        _ => random.u64(0..=units - len),
    };
    let good = Span::at(hole.start + first * unit, len * unit);
    let one = good.start;
    match random.u64(..40) {
        // Known to differ: rarely.
        0 => anywhere(random),
        1 => Span::at(all.end + 1 + random.u64(..4) * UNIT, UNIT),
        2 => Span {
            start: good.end,
            end: one,
        },
        3 => Span {
            start: one,
            end: good.end - random.u64(1..=UNIT - 1),
        },
        4 => Span::at(all.start.saturating_sub(UNIT), 2 * UNIT),
        5 if random.u64(..3) == 0 => Span::at(one + PAGE, good.len()),
        // With ranges there, the C driver warns.
        6 if device.ranges.is_empty() && random.u64(..3) == 0 => Span {
            start: one,
            end: one - 1,
        },
        7 if device.ranges.is_empty() && random.u64(..3) == 0 => Span {
            start: 0,
            end: u64::MAX,
        },
        _ => good,
    }
}

pub fn mapping(random: &mut Rng, view: &View, region: &Region) -> Option<Operation> {
    let device = some(random, view, is_unbound)?;
    // With these drivers the C kernel oopses when it is unbound later.
    if matches!(device.driver.as_deref(), Some("kmem" | "fsdev_dax")) {
        return None;
    }
    let Span { start, end } = place(random, view, &device);
    let text = match random.u64(..16) {
        0 => {
            let odd = [
                "",
                "-",
                "x-y",
                "0x",
                "1",
                "180000000",
                "-180000000",
                "0x1-",
                "0x1 - 0x2",
                "0x180000000:0x1801fffff",
                "0x180000000-0x1801fffff-0x1",
                "1ffffffffffffffff-2",
            ];
            (*random.choice(&odd)?).to_owned()
        }
        1 => format!("{start:x}-{end:x}"),
        2 => format!("{start:#x}-{end:#x}\0"),
        3 => format!("{start:X}-{end:X}\n"),
        4 => format!("{start:#x}-{end:#x}"),
        5 => format!("{start:#x}\n-{end:#x}\n"),
        _ => format!("{start:#x}-{end:#x}\n"),
    };
    Some(Operation::write(
        of_device(region, &device.name, "mapping"),
        text,
    ))
}

pub fn align(random: &mut Rng, view: &View, region: &Region) -> Option<Operation> {
    let device = some(random, view, is_unbound)?;
    let text = match random.u64(..16) {
        0 => not_a_number(random),
        1 => {
            let odd = [
                0,
                1,
                2048,
                8192,
                4 << 20,
                512 << 20,
                2 << 30,
                1 << 40,
                1 << 32,
            ];
            let value = *random.choice(&odd)?;
            number(random, value)
        }
        2 | 3 => number(random, ALIGNS[2]),
        4..=8 => number(random, ALIGNS[0]),
        _ => number(random, ALIGNS[1]),
    };
    Some(Operation::write(
        of_device(region, &device.name, "align"),
        text,
    ))
}
