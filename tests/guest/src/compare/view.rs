// SPDX-License-Identifier: GPL-2.0
//! The part of a state that the choice of the next operation looks at.

use crate::units::{holes, Span, UNIT};
use dax_protocol::compare::State;
use std::path::Path;

/// A device, as the state has it.
#[derive(Clone, Debug)]
pub struct Device {
    /// `daxR.N`.
    pub name: String,
    /// N of daxR.N.
    pub id: u64,
    /// Bytes.
    pub size: u64,
    /// Bytes.
    pub align: u64,
    /// The driver that it is bound to.
    pub driver: Option<String>,
    /// Its ranges by number.
    pub ranges: Vec<Span>,
}

impl Device {
    /// Whether every range is a multiple of the device's alignment.
    pub fn is_aligned(&self) -> bool {
        let unit = self.align.max(UNIT);
        let aligned = |s: &Span| s.start % unit == 0 && s.len() % unit == 0;
        self.ranges.iter().all(aligned)
    }
}

/// A region and its devices.
#[derive(Clone, Debug)]
pub struct View {
    /// All of its memory.
    pub span: Span,
    /// Whether the region is bound.
    pub bound: bool,
    /// `available_size`.
    pub available: u64,
    /// Its devices by number.
    pub devices: Vec<Device>,
    /// Pieces of memory that no device has.
    pub holes: Vec<Span>,
    /// Whether a memory block of the region is in use.
    pub online: bool,
    /// Memory blocks of the region.
    pub blocks: Vec<String>,
    /// Whether drivers are tried on new devices.
    pub autoprobe: bool,
}

impl View {
    /// Reads a state. `owner` is the directory of the region's owner.
    pub fn of(state: &State, owner: &Path, span: Span) -> View {
        let owner = owner.display().to_string();
        let region = format!("{owner}/dax_region");
        let mut devices: Vec<Device> = state
            .keys()
            .filter_map(|key| {
                key.strip_prefix(&format!("{owner}/"))?
                    .strip_suffix("/size")
            })
            .filter(|name| name.starts_with("dax") && !name.contains('/'))
            .filter(|name| *name != "dax_region")
            .filter_map(|name| device(state, &owner, name))
            .collect();
        devices.sort_by_key(|device| device.id);
        let taken: Vec<Span> = devices.iter().flat_map(|d| d.ranges.clone()).collect();
        let blocks: Vec<String> = state
            .keys()
            .filter(|key| key.contains("/memory/memory") && key.ends_with("/state"))
            .cloned()
            .collect();
        View {
            span,
            bound: state.contains_key(&region),
            available: number(state, &format!("{region}/available_size")).unwrap_or(0),
            holes: holes(span, &taken),
            devices,
            online: blocks.iter().any(|b| !state[b].contains("\"offline")),
            blocks,
            autoprobe: !state
                .get("/sys/bus/dax/drivers_autoprobe")
                .is_some_and(|text| text.contains("\"0")),
        }
    }

    /// The reason for which nothing more may be done to this state: the C driver might damage
    /// memory.
    pub fn hazard(&self) -> Option<String> {
        let odd = self.devices.iter().find(|device| !device.is_aligned())?;
        Some(format!("a range of {} is not aligned", odd.name))
    }
}

/// One device of a state.
fn device(state: &State, owner: &str, name: &str) -> Option<Device> {
    let dir = format!("{owner}/{name}");
    let id = name.split_once('.')?.1.parse().ok()?;
    let mut ranges = Vec::new();
    while let (Some(start), Some(end)) = (
        number(state, &format!("{dir}/mapping{}/start", ranges.len())),
        number(state, &format!("{dir}/mapping{}/end", ranges.len())),
    ) {
        ranges.push(Span { start, end });
    }
    let driver = state.get(&format!("{dir}/driver"));
    Some(Device {
        name: name.to_owned(),
        id,
        size: number(state, &format!("{dir}/size"))?,
        align: number(state, &format!("{dir}/align"))?,
        driver: driver.and_then(|link| Some(link.rsplit_once('/')?.1.to_owned())),
        ranges,
    })
}

/// The number in `644 0:0 "0x1000\n"`.
fn number(state: &State, key: &str) -> Option<u64> {
    let text = state.get(key)?.split('"').nth(1)?;
    let text = text.strip_suffix("\\n").unwrap_or(text);
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}
