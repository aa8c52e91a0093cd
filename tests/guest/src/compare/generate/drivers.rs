// SPDX-License-Identifier: GPL-2.0
//! Chooses operations on drivers, on devices as their drivers offer them, and on the region itself.

use super::{has_memory, is_device_dax, is_kmem, is_unbound, of_device, of_driver, some, HMEM};
use crate::compare::view::{Device, View};
use crate::region::Region;
use crate::units::{PAGE, UNIT};
use dax_protocol::compare::Operation;
use fastrand::Rng;

/// The parameter of dax_hmem.
const IDLE: &str = "/sys/module/dax_hmem/parameters/region_idle";

/// A driver: mostly device_dax.
fn driver(random: &mut Rng) -> &'static str {
    match random.u64(..10) {
        0 | 1 => "kmem",
        2 => "fsdev_dax",
        _ => "device_dax",
    }
}

pub fn bind(random: &mut Rng, view: &View, _: &Region) -> Option<Operation> {
    let device = some(random, view, has_memory)?;
    let file = if random.u64(..5) == 0 {
        "new_id"
    } else {
        "bind"
    };
    let path = of_driver(driver(random), file);
    Some(Operation::write(path, format!("{}\n", device.name)))
}

pub fn unbind(random: &mut Rng, view: &View, region: &Region) -> Option<Operation> {
    let device = some(random, view, |d| d.driver.is_some())?;
    // Memory in use cannot go, and would stay for good.
    if is_kmem(&device) && view.online {
        return None;
    }
    if random.u64(..6) == 0 {
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

pub fn ids(random: &mut Rng, view: &View, _: &Region) -> Option<Operation> {
    let file = if random.bool() { "new_id" } else { "remove_id" };
    let path = of_driver(driver(random), file);
    let name = random
        .choice(&view.devices)
        .map_or("dax0.3", |d| &d.name)
        .to_owned();
    let text = match random.u64(..10) {
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
            (*random.choice(&odd)?).to_owned()
        }
        1 => name,
        2 => format!("{name}\0"),
        3 => "dax0.5\n".to_owned(),
        _ => format!("{name}\n"),
    };
    Some(Operation::write(path, text))
}

pub fn touch(random: &mut Rng, view: &View, _: &Region) -> Option<Operation> {
    let device = some(random, view, is_device_dax)?;
    if !is_device_dax(&device) && random.u64(..6) != 0 {
        return None;
    }
    let align = device.align;
    let pages = (device.size / align).max(1);
    let at_boundary = random.choice(&device.ranges).map(|range| {
        let before = device.ranges.iter().take_while(|r| *r != range);
        before.map(|r| r.len()).sum::<u64>()
    });
    let offset = match random.u64(..14) {
        0 => device.size,
        1 => (pages - 1) * align,
        2 if align > PAGE && random.bool() => PAGE * random.u64(1..=align / PAGE - 1),
        3..=7 => at_boundary.unwrap_or(0),
        _ => random.u64(..pages) * align,
    };
    let len = match random.u64(..12) {
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

pub fn across_unbind(random: &mut Rng, view: &View, _: &Region) -> Option<Operation> {
    let bound: Vec<&Device> = view.devices.iter().filter(|d| is_device_dax(d)).collect();
    let device = random.choice(&bound)?.name.clone();
    Some(Operation::TouchAcrossUnbind { device })
}

pub fn memmap_on_memory(random: &mut Rng, view: &View, region: &Region) -> Option<Operation> {
    let device = some(random, view, is_unbound)?;
    let text = *random.choice(&["0\n", "1\n", "1", "y", "n", "on", "2", "", "x", "Y\0"])?;
    Some(Operation::write(
        of_device(region, &device.name, "memmap_on_memory"),
        text,
    ))
}

/// System RAM: made, put to movable use, taken out of use.
pub fn hotplug(random: &mut Rng, view: &View, region: &Region) -> Option<Operation> {
    let kmem: Vec<&Device> = view.devices.iter().filter(|d| is_kmem(d)).collect();
    let Some(device) = random.choice(&kmem).copied() else {
        let large = |d: &&Device| has_memory(d) && d.size >= 256 << 20;
        let large: Vec<&Device> = view.devices.iter().filter(large).collect();
        let name = &random.choice(&large)?.name;
        return Some(Operation::write(
            of_driver("kmem", "new_id"),
            format!("{name}\n"),
        ));
    };
    if random.bool() {
        let words = [
            "unplugged",
            "online_movable",
            "offline",
            "",
            "x",
            "online_movable\n",
        ];
        let text = *random.choice(&words)?;
        return Some(Operation::write(
            of_device(region, &device.name, "state"),
            text,
        ));
    }
    let block = random.choice(&view.blocks)?;
    let text = *random.choice(&["online_movable", "offline", "offline"])?;
    Some(Operation::write(block.clone(), text))
}

pub fn probing(random: &mut Rng, view: &View, _: &Region) -> Option<Operation> {
    if random.bool() {
        let text = if view.autoprobe { "0" } else { "1" };
        return Some(Operation::write("/sys/bus/dax/drivers_autoprobe", text));
    }
    let name = &random.choice(&view.devices)?.name;
    Some(Operation::write("/sys/bus/dax/drivers_probe", name.clone()))
}

pub fn region(random: &mut Rng, view: &View, of: &Region) -> Option<Operation> {
    if view.online || random.bool() {
        return None;
    }
    match random.u64(..8) {
        0 => Some(Operation::write(IDLE, "0")),
        1 => Some(Operation::write(IDLE, "1")),
        2 => Some(Operation::write(format!("{HMEM}/bind"), of.hmem())),
        _ => Some(Operation::write(format!("{HMEM}/unbind"), of.hmem())),
    }
}

pub fn daxctl(random: &mut Rng, view: &View, _: &Region) -> Option<Operation> {
    let device = some(random, view, has_memory)?;
    let size = (random.u64(1..=16) * UNIT).to_string();
    let name = device.name.as_str();
    if is_kmem(&device) && view.online {
        return None;
    }
    let words: &[&str] = match random.u64(..7) {
        0 | 1 => &["create-device", "-r", "0", "-s", &size],
        2 => &["create-device", "-r", "0"],
        3 => &["disable-device", name],
        4 => &["destroy-device", name],
        5 => &["enable-device", name],
        _ => &["reconfigure-device", "-N", "-m", "system-ram", name],
    };
    Some(Operation::run(&[&["daxctl"], words].concat()))
}
