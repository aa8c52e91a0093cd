// SPDX-License-Identifier: GPL-2.0
//! Chooses the next operation. It looks at the state, so that most operations mean something; if
//! two drivers differ in it, that was seen before the choice.
//!
//! What would hang or crash the C driver is not chosen: docs/side-by-side.md has the list.

use super::operation::Operation;
use super::random::Random;
use super::view::{Device, View};
use crate::region::Region;
use crate::units::{Span, GIB, PAGE, UNIT};

/// Where the hmem driver takes devices and lets them go.
const HMEM: &str = "/sys/bus/platform/drivers/hmem";
/// The parameter of dax_hmem.
const IDLE: &str = "/sys/module/dax_hmem/parameters/region_idle";
/// The alignments of this architecture.
const ALIGNS: [u64; 3] = [PAGE, UNIT, GIB];

/// The kinds of operations, each with how often it is tried.
const KINDS: [(Choice, u64); 15] = [
    (create, 14),
    (delete, 9),
    (size, 34),
    (mapping, 16),
    (align, 8),
    (bind, 20),
    (unbind, 14),
    (ids, 6),
    (touch, 16),
    (across_unbind, 3),
    (memmap_on_memory, 2),
    (hotplug, 8),
    (probing, 3),
    (region, 4),
    (daxctl, 2),
];

/// Chooses an operation of a kind; `None` if the state has no use for one.
type Choice = fn(&mut Random, &View, &Region) -> Option<Operation>;

/// The next operation, and whether it must be the last of its sequence.
pub fn next(random: &mut Random, view: &View, of: &Region) -> (Operation, bool) {
    if !view.bound && !random.once_in(4) {
        return (Operation::write(format!("{HMEM}/bind"), of.hmem()), false);
    }
    let weights = KINDS.map(|(_, weight)| weight);
    loop {
        let (choose, _) = KINDS[random.weighted(&weights)];
        if let Some(operation) = choose(random, view, of) {
            let last = is_last(&operation, view);
            // These end a sequence, so they are rare.
            if last && !random.once_in(3) {
                continue;
            }
            return (operation, last);
        }
    }
}

/// The C driver takes this, and is in danger from then on.
fn is_last(operation: &Operation, view: &View) -> bool {
    let Operation::Write { path, .. } = operation else {
        return false;
    };
    let bound = |device: &&Device| device.driver.is_some();
    path.ends_with("/mapping")
        && view
            .devices
            .iter()
            .filter(bound)
            .any(|d| path.contains(&format!("/{}/", d.name)))
}

/// An attribute of the region.
fn of_region(region: &Region, name: &str) -> String {
    region.attr(name).display().to_string()
}

/// An attribute of a device.
fn of_device(region: &Region, device: &str, name: &str) -> String {
    region.dir().join(device).join(name).display().to_string()
}

/// A file of a driver on the dax bus.
fn of_driver(driver: &str, name: &str) -> String {
    format!("/sys/bus/dax/drivers/{driver}/{name}")
}

/// A device, more often one that fits.
fn some(random: &mut Random, view: &View, fits: fn(&Device) -> bool) -> Option<Device> {
    let fitting: Vec<Device> = view.devices.iter().filter(|d| fits(d)).cloned().collect();
    if random.once_in(12) {
        return random.pick(&view.devices).cloned();
    }
    random.pick(&fitting).cloned()
}

fn is_unbound(device: &Device) -> bool {
    device.driver.is_none()
}

fn is_empty(device: &Device) -> bool {
    device.driver.is_none() && device.size == 0
}

fn has_memory(device: &Device) -> bool {
    device.driver.is_none() && device.size != 0
}

fn is_device_dax(device: &Device) -> bool {
    device.driver.as_deref() == Some("device_dax")
}

fn is_kmem(device: &Device) -> bool {
    device.driver.as_deref() == Some("kmem")
}

fn create(random: &mut Random, view: &View, region: &Region) -> Option<Operation> {
    if view.devices.len() >= 7 && !random.once_in(8) {
        return None;
    }
    let odd = [
        "0",
        "2",
        "",
        "x",
        "-1",
        "1 ",
        "0x1",
        "1\n\n",
        "4294967297",
        "+1",
        "01",
    ];
    let text = match random.below(8) {
        0 => *random.pick(&odd)?,
        1 => "1",
        2 => "1\0",
        _ => "1\n",
    };
    Some(Operation::write(of_region(region, "create"), text))
}

fn delete(random: &mut Random, view: &View, region: &Region) -> Option<Operation> {
    let name = some(random, view, is_empty)?.name;
    let text = match random.below(12) {
        0 => {
            let odd = [
                "", "dax0", "dax0.99", "dax1.0", "dax0.-1", "dax0.1 ", "dax00.1", "0",
            ];
            (*random.pick(&odd)?).to_owned()
        }
        1 => name,
        2 => format!("{name}\0"),
        _ => format!("{name}\n"),
    };
    Some(Operation::write(of_region(region, "delete"), text))
}

/// A number as people and programs write it.
fn number(random: &mut Random, value: u64) -> String {
    match random.below(8) {
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
fn not_a_number(random: &mut Random) -> String {
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
        .pick(&odd)
        .map_or(String::new(), |text| (*text).to_owned())
}

fn size(random: &mut Random, view: &View, region: &Region) -> Option<Operation> {
    let device = some(random, view, is_unbound)?;
    let unit = device.align.max(UNIT);
    let hole = random.pick(&view.holes).map_or(unit, |hole| hole.len());
    let first = view.holes.first().map_or(unit, |hole| hole.len());
    let last = device.ranges.last().map_or(0, |range| range.len());
    let bytes = match random.below(24) {
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
        13 => device.size + random.between(1, unit / PAGE - 1) * PAGE,
        14 => device.size + random.between(1, UNIT - 1),
        15 | 16 => random.between(1, 8) * (128 << 20),
        17 => u64::MAX - random.below(2) * (UNIT - 1),
        18 => random.between(1, view.span.len() / UNIT) * UNIT,
        19 => {
            return Some(Operation::write(
                of_device(region, &device.name, "size"),
                not_a_number(random),
            ))
        }
        20 => device.size / 2 / unit * unit,
        _ => device.size + random.between(1, 12) * unit,
    };
    let text = number(random, bytes);
    Some(Operation::write(
        of_device(region, &device.name, "size"),
        text,
    ))
}

/// A place for a range: usually free and aligned.
fn place(random: &mut Random, view: &View, device: &Device) -> Span {
    let unit = device.align.max(UNIT);
    let all = view.span;
    let anywhere = |random: &mut Random| {
        let first = random.below(all.len() / UNIT);
        let len = random.between(1, (all.len() / UNIT - first).min(64));
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
    let Some(hole) = random.pick(&fitting).copied() else {
        return anywhere(random);
    };
    let units = hole.len() / unit;
    let len = match random.below(6) {
        0 => units,
        1 => random.between(1, units),
        _ => random.between(1, units.min(8)),
    };
    let first = match random.below(3) {
        0 => 0,
        1 => units - len,
        _ => random.between(0, units - len),
    };
    let good = Span::at(hole.start + first * unit, len * unit);
    let one = good.start;
    match random.below(40) {
        // Known to differ: rarely.
        0 => anywhere(random),
        1 => Span::at(all.end + 1 + random.below(4) * UNIT, UNIT),
        2 => Span {
            start: good.end,
            end: one,
        },
        3 => Span {
            start: one,
            end: good.end - random.between(1, UNIT - 1),
        },
        4 => Span::at(all.start.saturating_sub(UNIT), 2 * UNIT),
        5 if random.once_in(3) => Span::at(one + PAGE, good.len()),
        // With ranges there, the C driver warns.
        6 if device.ranges.is_empty() && random.once_in(3) => Span {
            start: one,
            end: one - 1,
        },
        7 if device.ranges.is_empty() && random.once_in(3) => Span {
            start: 0,
            end: u64::MAX,
        },
        _ => good,
    }
}

fn mapping(random: &mut Random, view: &View, region: &Region) -> Option<Operation> {
    let device = some(random, view, is_unbound)?;
    let Span { start, end } = place(random, view, &device);
    let text = match random.below(16) {
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
            (*random.pick(&odd)?).to_owned()
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

fn align(random: &mut Random, view: &View, region: &Region) -> Option<Operation> {
    let device = some(random, view, is_unbound)?;
    let text = match random.below(16) {
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
            let value = *random.pick(&odd)?;
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

/// A driver: mostly device_dax.
fn driver(random: &mut Random) -> &'static str {
    match random.below(10) {
        0 | 1 => "kmem",
        2 => "fsdev_dax",
        _ => "device_dax",
    }
}

fn bind(random: &mut Random, view: &View, _: &Region) -> Option<Operation> {
    let device = some(random, view, has_memory)?;
    let file = if random.once_in(5) { "new_id" } else { "bind" };
    let path = of_driver(driver(random), file);
    Some(Operation::write(path, format!("{}\n", device.name)))
}

fn unbind(random: &mut Random, view: &View, region: &Region) -> Option<Operation> {
    let device = some(random, view, |d| d.driver.is_some())?;
    // Memory in use cannot go, and would stay for good.
    if is_kmem(&device) && view.online {
        return None;
    }
    if random.once_in(6) {
        return Some(Operation::write(
            of_driver(driver(random), "unbind"),
            device.name,
        ));
    }
    let path = match device.driver {
        Some(driver) => of_driver(&driver, "unbind"),
        None => of_device(region, &device.name, "driver/unbind"),
    };
    Some(Operation::write(path, format!("{}\n", device.name)))
}

fn ids(random: &mut Random, view: &View, _: &Region) -> Option<Operation> {
    let file = if random.once_in(2) {
        "new_id"
    } else {
        "remove_id"
    };
    let path = of_driver(driver(random), file);
    let name = random
        .pick(&view.devices)
        .map_or("dax0.3", |d| &d.name)
        .to_owned();
    let text = match random.below(10) {
        0 => {
            let odd = [
                "",
                "dax0",
                "dax.0",
                "dax0.0.0",
                "dax0.0 ",
                "dax00.0",
                "dax0.-1",
                "0.0",
                "dax9.9",
                "dax0.99999999999",
            ];
            (*random.pick(&odd)?).to_owned()
        }
        1 => name,
        2 => format!("{name}\0"),
        3 => "dax0.5\n".to_owned(),
        _ => format!("{name}\n"),
    };
    Some(Operation::write(path, text))
}

fn touch(random: &mut Random, view: &View, _: &Region) -> Option<Operation> {
    let device = some(random, view, is_device_dax)?;
    if !is_device_dax(&device) && !random.once_in(6) {
        return None;
    }
    let align = device.align;
    let pages = (device.size / align).max(1);
    let at_boundary = random.pick(&device.ranges).map(|range| {
        let before = device.ranges.iter().take_while(|r| *r != range);
        before.map(|r| r.len()).sum::<u64>()
    });
    let offset = match random.below(14) {
        0 => device.size,
        1 => (pages - 1) * align,
        2 if align > PAGE && random.once_in(2) => PAGE * random.between(1, align / PAGE - 1),
        3..=7 => at_boundary.unwrap_or(0),
        _ => random.below(pages) * align,
    };
    let len = match random.below(12) {
        0 => PAGE,
        1 => align + PAGE,
        2 => 2 * align,
        _ => align,
    };
    Some(Operation::Touch {
        device: device.name,
        offset,
        len,
    })
}

fn across_unbind(random: &mut Random, view: &View, _: &Region) -> Option<Operation> {
    let bound: Vec<&Device> = view.devices.iter().filter(|d| is_device_dax(d)).collect();
    let device = random.pick(&bound)?.name.clone();
    Some(Operation::TouchAcrossUnbind { device })
}

fn memmap_on_memory(random: &mut Random, view: &View, region: &Region) -> Option<Operation> {
    let device = some(random, view, is_unbound)?;
    let text = *random.pick(&["0\n", "1\n", "1", "y", "n", "on", "2", "", "x", "Y\0"])?;
    Some(Operation::write(
        of_device(region, &device.name, "memmap_on_memory"),
        text,
    ))
}

/// System RAM: made, put to movable use, taken out of use.
fn hotplug(random: &mut Random, view: &View, region: &Region) -> Option<Operation> {
    let kmem: Vec<&Device> = view.devices.iter().filter(|d| is_kmem(d)).collect();
    let Some(device) = random.pick(&kmem).copied() else {
        let large = |d: &&Device| has_memory(d) && d.size >= 256 << 20;
        let large: Vec<&Device> = view.devices.iter().filter(large).collect();
        let name = &random.pick(&large)?.name;
        return Some(Operation::write(
            of_driver("kmem", "new_id"),
            format!("{name}\n"),
        ));
    };
    if random.once_in(2) {
        let words = [
            "unplugged",
            "online_movable",
            "offline",
            "",
            "x",
            "online_movable\n",
        ];
        let text = *random.pick(&words)?;
        return Some(Operation::write(
            of_device(region, &device.name, "state"),
            text,
        ));
    }
    let block = random.pick(&view.blocks)?;
    let text = *random.pick(&["online_movable", "offline", "offline"])?;
    Some(Operation::write(block.clone(), text))
}

fn probing(random: &mut Random, view: &View, _: &Region) -> Option<Operation> {
    if random.once_in(2) {
        let text = if view.autoprobe { "0" } else { "1" };
        return Some(Operation::write("/sys/bus/dax/drivers_autoprobe", text));
    }
    let name = &random.pick(&view.devices)?.name;
    Some(Operation::write("/sys/bus/dax/drivers_probe", name.clone()))
}

fn region(random: &mut Random, view: &View, of: &Region) -> Option<Operation> {
    if view.online || !random.once_in(2) {
        return None;
    }
    match random.below(8) {
        0 => Some(Operation::write(IDLE, "0")),
        1 => Some(Operation::write(IDLE, "1")),
        2 => Some(Operation::write(format!("{HMEM}/bind"), of.hmem())),
        _ => Some(Operation::write(format!("{HMEM}/unbind"), of.hmem())),
    }
}

fn daxctl(random: &mut Random, view: &View, _: &Region) -> Option<Operation> {
    let device = some(random, view, has_memory)?;
    let size = (random.between(1, 16) * UNIT).to_string();
    let name = device.name.as_str();
    if is_kmem(&device) && view.online {
        return None;
    }
    let words: &[&str] = match random.below(7) {
        0 | 1 => &["create-device", "-r", "0", "-s", &size],
        2 => &["create-device", "-r", "0"],
        3 => &["disable-device", name],
        4 => &["destroy-device", name],
        5 => &["enable-device", name],
        _ => &["reconfigure-device", "-N", "-m", "system-ram", name],
    };
    let words = [&["daxctl"], words].concat();
    Some(Operation::Run {
        words: words.into_iter().map(str::to_owned).collect(),
    })
}
