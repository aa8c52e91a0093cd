// SPDX-License-Identifier: GPL-2.0
//! `show`: prints regions as maps, as a table or as JSON.

use serde::Serialize;

use crate::cache::Cache;
use crate::cli::ShowArgs;
use crate::colour;
use crate::error::{Error, Result};
use crate::map;
use crate::output;
use crate::region::{numbers_of, Region};
use crate::span::{counted, human, Span};
use crate::svg;
use crate::sysfs::Sysfs;

/// A region as `--json` prints it.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    region: &'a Region,
    holes: Vec<Span>,
    conflicts: Vec<Conflict<'a>>,
}

/// Two devices whose memory shares places in the cache.
#[derive(Serialize)]
pub struct Conflict<'a> {
    pub devices: [&'a str; 2],
    /// Bytes of the cache that both use.
    pub shared: u64,
}

/// Prints the regions that the options choose.
pub fn show(sysfs: &Sysfs, args: &ShowArgs, as_json: bool) -> Result<()> {
    let mut regions = Region::all(sysfs)?;
    let wanted = match &args.device {
        Some(name) => Some(
            numbers_of(name)
                .map(|(region, _)| region)
                .ok_or_else(|| Error::Usage(format!("{name:?} is not a device name")))?,
        ),
        None => args.region,
    };
    regions.retain(|region| wanted.is_none_or(|id| region.id == id));
    if let Some(name) = &args.device {
        regions.retain(|region| region.device(name).is_some());
    }
    if regions.is_empty() {
        return Err(Error::NotFound("no such region".to_owned()));
    }
    if let Some(size) = args.cache_size {
        for region in &mut regions {
            region.caches = vec![Cache::given(size)];
        }
    }
    if let Some(path) = &args.svg {
        output::file(path, svg::draw(&regions).as_bytes())?;
    }
    match (as_json, args.table) {
        (true, _) => output::json(&regions.iter().map(shown).collect::<Vec<_>>()),
        (false, true) => output::lines(&table(&regions)),
        (false, false) => output::lines(&maps(&regions)),
    }
}

fn shown(region: &Region) -> Shown<'_> {
    Shown {
        region,
        holes: region.holes(),
        conflicts: conflicts(region),
    }
}

/// The pairs of devices that share parts of the cache.
pub fn conflicts(region: &Region) -> Vec<Conflict<'_>> {
    let Some(period) = region.period() else {
        return Vec::new();
    };
    let mut conflicts = Vec::new();
    for (i, one) in region.devices.iter().enumerate() {
        for other in region.devices.iter().skip(i + 1) {
            let shared = colour::shared(&one.spans(), &other.spans(), period);
            if shared > 0 {
                let devices = [one.name.as_str(), other.name.as_str()];
                conflicts.push(Conflict { devices, shared });
            }
        }
    }
    conflicts
}

/// Each region as a map.
fn maps(regions: &[Region]) -> Vec<String> {
    let style = map::style_of_terminal();
    let mut lines = Vec::new();
    for region in regions {
        if !lines.is_empty() {
            lines.push(String::new());
        }
        lines.push(title(region));
        lines.extend(map::draw(region, &style));
        if let Some(period) = region.period() {
            let conflicts = conflicts(region);
            lines.push(format!(
                "cache of {}: {}",
                human(period),
                match conflicts.is_empty() {
                    true => "no two devices share a part of it".to_owned(),
                    false => counted(conflicts.len(), "conflict"),
                }
            ));
            lines.extend(conflicts.iter().map(|conflict| {
                let [one, other] = conflict.devices;
                format!("  {one} and {other} share {}", human(conflict.shared))
            }));
        }
    }
    lines
}

/// A region in words.
pub fn title(region: &Region) -> String {
    let free = match region.available {
        Some(free) => format!("{} free", human(free)),
        None => "static".to_owned(),
    };
    let (size, align) = (human(region.size), human(region.align));
    format!("region {}: {size}, {free}, alignment {align}", region.id)
}

/// One line for each range and each hole.
fn table(regions: &[Region]) -> Vec<String> {
    let header = [
        "region",
        "name",
        "start",
        "end",
        "size",
        "page offset",
        "align",
        "state",
    ];
    let mut rows = vec![header.map(str::to_owned)];
    for region in regions {
        let id = region.id.to_string();
        for device in &region.devices {
            let align = human(device.align);
            for mapping in &device.mappings {
                rows.push([
                    id.clone(),
                    device.name.clone(),
                    format!("{:#x}", mapping.span.start),
                    format!("{:#x}", mapping.span.end),
                    human(mapping.span.len()),
                    format!("{:#x}", mapping.page_offset),
                    align.clone(),
                    device.state(),
                ]);
            }
            if device.mappings.is_empty() {
                let dash = || "-".to_owned();
                let name = device.name.clone();
                let (size, state) = (human(0), device.state());
                rows.push([id.clone(), name, dash(), dash(), size, dash(), align, state]);
            }
        }
        for hole in region.holes() {
            rows.push([
                id.clone(),
                "free".to_owned(),
                format!("{:#x}", hole.start),
                format!("{:#x}", hole.end),
                human(hole.len()),
                "-".to_owned(),
                "-".to_owned(),
                "-".to_owned(),
            ]);
        }
    }
    columns(&rows)
}

/// The rows as lines, with all columns aligned.
fn columns<const N: usize>(rows: &[[String; N]]) -> Vec<String> {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.len().max(*width);
        }
    }
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths);
        let cells: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}
