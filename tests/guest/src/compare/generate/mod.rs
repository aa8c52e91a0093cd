// SPDX-License-Identifier: GPL-2.0
//! Chooses the next operation. The choice depends on the state, so most operations make sense. If
//! two drivers differ in the state, the host has seen that before the choice.
//!
//! It never chooses an operation that hangs or crashes the C driver: docs/side-by-side.md has the
//! list.

mod drivers;
mod memory;

use super::view::{Device, View};
use crate::random::weighted;
use crate::region::Region;
use dax_protocol::compare::Operation;
use fastrand::Rng;

/// The directory through which the hmem driver gets devices and lets them go.
const HMEM: &str = "/sys/bus/platform/drivers/hmem";

/// The kinds of operations, each with its weight in the choice.
const KINDS: [(Choice, u64); 15] = [
    (create, 14),
    (delete, 9),
    (memory::size, 34),
    (memory::mapping, 16),
    (memory::align, 8),
    (drivers::bind, 20),
    (drivers::unbind, 14),
    (drivers::ids, 6),
    (drivers::touch, 16),
    (drivers::across_unbind, 3),
    (drivers::memmap_on_memory, 2),
    (drivers::hotplug, 8),
    (drivers::probing, 3),
    (drivers::region, 4),
    (drivers::daxctl, 2),
];

/// Chooses an operation of a kind; `None` if the state has no use for one.
type Choice = fn(&mut Rng, &View, &Region) -> Option<Operation>;

/// The next operation, and whether it must be the last of its sequence.
pub fn next(random: &mut Rng, view: &View, of: &Region) -> (Operation, bool) {
    if !view.bound && random.u64(..4) != 0 {
        return (Operation::write(format!("{HMEM}/bind"), of.hmem()), false);
    }
    let weights = KINDS.map(|(_, weight)| weight);
    loop {
        let (choose, _) = KINDS[weighted(random, &weights)];
        if let Some(operation) = choose(random, view, of) {
            let last = is_last(&operation, view);
            // These end a sequence, so they are rare.
            if last && random.u64(..3) != 0 {
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
fn some(random: &mut Rng, view: &View, fits: fn(&Device) -> bool) -> Option<Device> {
    let fitting: Vec<Device> = view.devices.iter().filter(|d| fits(d)).cloned().collect();
    if random.u64(..12) == 0 {
        return random.choice(&view.devices).cloned();
    }
    random.choice(&fitting).cloned()
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

fn create(random: &mut Rng, view: &View, region: &Region) -> Option<Operation> {
    if view.devices.len() >= 7 && random.u64(..8) != 0 {
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
    let text = match random.u64(..8) {
        0 => *random.choice(&odd)?,
        1 => "1",
        2 => "1\0",
        _ => "1\n",
    };
    Some(Operation::write(of_region(region, "create"), text))
}

fn delete(random: &mut Rng, view: &View, region: &Region) -> Option<Operation> {
    let name = some(random, view, is_empty)?.name;
    let text = match random.u64(..12) {
        0 => {
            let odd = [
                "", "dax0", "dax0.99", "dax1.0", "dax0.-1", "dax0.1 ", "dax00.1", "0",
            ];
            (*random.choice(&odd)?).to_owned()
        }
        1 => name,
        2 => format!("{name}\0"),
        _ => format!("{name}\n"),
    };
    Some(Operation::write(of_region(region, "delete"), text))
}
