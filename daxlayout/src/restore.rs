// SPDX-License-Identifier: GPL-2.0
//! `restore`: checks all of a saved layout, then makes what is missing.

use serde::Serialize;

use crate::change::{driver_dir, Change};
use crate::cli::RestoreArgs;
use crate::device::{in_order, Device};
use crate::error::{Error, Result};
use crate::layout::{self, SavedDevice, SavedRegion};
use crate::memory::Memory;
use crate::output;
use crate::region::{granule_of, numbers_of, Region};
use crate::span::Span;
use crate::sysfs::Sysfs;

/// The saved devices of a region, divided by what they need.
struct Work {
    region: Region,
    /// Devices that exist, with what is saved of them.
    there: Vec<(SavedDevice, Device)>,
    /// Devices to make, by number.
    missing: Vec<(u64, SavedDevice)>,
}

/// What was done for a saved device.
#[derive(Serialize)]
struct Restored {
    saved: String,
    name: String,
    what: What,
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
enum What {
    Made,
    Bound,
    WasThere,
    /// Only with `--dry-run`.
    WouldBeMade,
}

/// `restore`
pub fn restore(sysfs: &Sysfs, args: &RestoreArgs, as_json: bool) -> Result<()> {
    let layout = layout::read(args.file.as_deref())?;
    let present = Region::all(sysfs)?;
    let mut works = Vec::new();
    for region in wanted(&present, args)? {
        match layout.regions.iter().find(|saved| is_of(saved, region)) {
            Some(saved) => works.push(check(saved, region)?),
            None if args.region.is_none() && args.device.is_none() => {}
            None if args.if_saved => {}
            None => {
                let text = format!("the file has no layout of region {}", region.id);
                return Err(Error::NotFound(text));
            }
        }
    }
    if args.region.is_none() && args.device.is_none() {
        all_present(&layout.regions, &present)?;
    }
    let restored = match args.dry_run {
        true => works.iter().flat_map(would_do).collect(),
        false => do_all(sysfs, &works)?,
    };
    if as_json {
        return output::json(&restored);
    }
    output::lines(&restored.iter().map(Restored::line).collect::<Vec<_>>())
}

/// The regions that the options choose.
fn wanted<'a>(present: &'a [Region], args: &RestoreArgs) -> Result<Vec<&'a Region>> {
    let about = |region: &&Region| {
        let by_device = args.device.as_ref();
        args.region.is_none_or(|id| region.id == id)
            && by_device.is_none_or(|name| region.device(name).is_some())
    };
    let regions: Vec<&Region> = present.iter().filter(about).collect();
    match regions.is_empty() {
        true => Err(Error::NotFound("no such region".to_owned())),
        false => Ok(regions),
    }
}

/// Whether `saved` is the layout of `region`: both have the same size and the same start. An unknown
/// start may be any that leaves the region's devices inside.
fn is_of(saved: &SavedRegion, region: &Region) -> bool {
    let same_start = region.start.is_none_or(|start| start == saved.start);
    let around = |span: Span| {
        let taken = region.taken();
        taken.into_iter().all(|taken| span.contains(taken))
    };
    same_start && region.size == saved.size && saved.span().is_ok_and(around)
}

/// Fails if a saved region does not exist.
fn all_present(saved: &[SavedRegion], present: &[Region]) -> Result<()> {
    for saved in saved {
        if !present.iter().any(|region| is_of(saved, region)) {
            let text = format!("no region at {}", saved.span()?);
            return Err(Error::NotFound(text));
        }
    }
    Ok(())
}

/// Compares a region with its saved layout. Fails if the layout cannot be restored.
fn check(saved: &SavedRegion, region: &Region) -> Result<Work> {
    let refused = |text: String| Error::DoesNotFit(format!("region {}: {text}", region.id));
    if !region.is_dynamic() {
        return Err(refused("static, so it cannot be divided".to_owned()));
    }
    let all = saved.span()?;
    let mut work = Work {
        region: region.clone(),
        there: Vec::new(),
        missing: Vec::new(),
    };
    let mut earlier = Vec::new();
    for device in &saved.devices {
        let id = check_saved(device, all, &mut earlier).map_err(refused)?;
        match region.devices.iter().find(|d| d.spans() == device.ranges) {
            Some(present) => {
                check_present(device, present).map_err(refused)?;
                work.there.push((device.clone(), present.clone()));
            }
            None => work.missing.push((id, device.clone())),
        }
    }
    let is_saved = |device: &Device| work.there.iter().any(|(_, d)| d.name == device.name);
    for device in region.devices.iter().filter(|device| device.size > 0) {
        if !is_saved(device) {
            let text = format!("{} exists, but was not saved", device.name);
            return Err(refused(text));
        }
    }
    work.missing.sort_by_key(|(id, _)| *id);
    Ok(work)
}

/// Checks that a saved device is sound, is inside the region, and overlaps none of the `earlier`
/// ranges. Adds its ranges to `earlier`, and returns its number.
fn check_saved(
    device: &SavedDevice,
    region: Span,
    earlier: &mut Vec<Span>,
) -> std::result::Result<u64, String> {
    let name = &device.name;
    let Some((_, id)) = numbers_of(name) else {
        return Err(format!("{name:?} is not a device name"));
    };
    if !device.align.is_power_of_two() || device.ranges.is_empty() {
        return Err(format!(
            "{name}: it has no ranges, or its alignment is not a power of two"
        ));
    }
    for &range in &device.ranges {
        if !range.is_aligned(granule_of(device.align)) {
            return Err(format!("{name}: range {range} is not aligned"));
        }
        if !region.contains(range) {
            return Err(format!("{name}: range {range} is not in the region"));
        }
        if let Some(other) = earlier.iter().find(|other| other.overlaps(range)) {
            return Err(format!("{name}: range {range} overlaps range {other}"));
        }
        earlier.push(range);
    }
    Ok(id)
}

/// Checks that a device with the saved ranges is otherwise as saved, or can be made so by binding it.
fn check_present(saved: &SavedDevice, present: &Device) -> std::result::Result<(), String> {
    let name = &present.name;
    if present.align != saved.align {
        let (is, was) = (present.align, saved.align);
        return Err(format!("{name}: alignment {is}, saved with {was}"));
    }
    if present.draining {
        return Err(format!("{name}: unbound, but its memory is still in use"));
    }
    let driver = |driver: &Option<String>| driver.clone().unwrap_or_else(|| "no driver".into());
    if present.driver.is_some() && present.driver != saved.driver {
        let (is, was) = (driver(&present.driver), driver(&saved.driver));
        return Err(format!("{name}: bound to {is}, saved with {was}"));
    }
    match (present.memory, saved.memory) {
        (_, Some(Memory::Mixed)) | (None, _) => Ok(()),
        (is, was) if is == was => Ok(()),
        (is, was) => Err(format!("{name}: memory is {is:?}, saved {was:?}")),
    }
}

/// What `restore` would do for the saved devices of a region.
fn would_do(work: &Work) -> Vec<Restored> {
    let there = work.there.iter().map(|(saved, present)| Restored {
        saved: saved.name.clone(),
        name: present.name.clone(),
        what: What::WasThere,
    });
    let missing = work.missing.iter().map(|(id, saved)| Restored {
        saved: saved.name.clone(),
        name: format!("dax{}.{id}", work.region.id),
        what: What::WouldBeMade,
    });
    there.chain(missing).collect()
}

/// Restores all regions. If a step fails, undoes all steps before it.
fn do_all(sysfs: &Sysfs, works: &[Work]) -> Result<Vec<Restored>> {
    // If a driver is missing, fail before anything is changed.
    for work in works {
        let missing = work.missing.iter().map(|(_, saved)| saved);
        let there = work.there.iter().map(|(saved, _)| saved);
        for driver in missing.chain(there).filter_map(|s| s.driver.as_ref()) {
            driver_dir(sysfs, driver)?;
        }
    }
    let mut changes = Vec::new();
    let mut restored = Vec::new();
    for work in works {
        let mut change = Change::new(sysfs, &work.region);
        let done = make(&mut change, work);
        changes.push(change);
        match done {
            Ok(done) => restored.extend(done),
            Err(cause) => {
                return Err(Error::HalfWay {
                    cause: Box::new(cause),
                    left: changes.into_iter().rev().flat_map(Change::undo).collect(),
                })
            }
        }
    }
    Ok(restored)
}

/// Creates the missing devices of a region, and binds devices to the saved drivers.
fn make(change: &mut Change<'_>, work: &Work) -> Result<Vec<Restored>> {
    let mut restored = Vec::new();
    for (saved, present) in &work.there {
        let bind = present.driver.is_none() && saved.driver.is_some();
        if bind {
            bind_saved(change, &present.name, saved)?;
        }
        restored.push(Restored {
            saved: saved.name.clone(),
            name: present.name.clone(),
            what: if bind { What::Bound } else { What::WasThere },
        });
    }
    let names = make_empty(change, work)?;
    for (name, (_, saved)) in names.iter().zip(&work.missing) {
        change.align(name, saved.align)?;
        change.fill(name, &saved.ranges)?;
    }
    for (name, (_, saved)) in names.iter().zip(&work.missing) {
        bind_saved(change, name, saved)?;
        restored.push(Restored {
            saved: saved.name.clone(),
            name: name.clone(),
            what: What::Made,
        });
    }
    Ok(restored)
}

/// Creates devices without memory for those that are missing, with the saved numbers where possible.
/// Returns their names. The kernel gives the lowest free number, so devices with lower numbers are
/// created first, and deleted at the end.
fn make_empty(change: &mut Change<'_>, work: &Work) -> Result<Vec<String>> {
    let mut names = Vec::new();
    let mut too_many = Vec::new();
    for (id, _) in &work.missing {
        let empty = |d: &&Device| d.id == *id && d.size == 0 && !d.draining;
        if let Some(device) = work.region.devices.iter().find(empty) {
            names.push(device.name.clone());
            continue;
        }
        let name = loop {
            let name = change.create()?;
            if numbers_of(&name).is_some_and(|(_, made)| made < *id) {
                too_many.push(name);
            } else {
                break name;
            }
        };
        names.push(name);
    }
    for name in too_many {
        change.delete(&name)?;
    }
    Ok(names)
}

/// Binds a device to the saved driver, and brings its memory into the saved state.
fn bind_saved(change: &mut Change<'_>, name: &str, saved: &SavedDevice) -> Result<()> {
    if let Some(on_memory) = saved.memmap_on_memory {
        change.memmap_on_memory(name, on_memory)?;
    }
    if let Some(driver) = &saved.driver {
        change.bind(name, driver)?;
    }
    match saved.memory {
        Some(memory) => change.set_memory(&in_order(&saved.ranges), memory),
        None => Ok(()),
    }
}

impl Restored {
    fn line(&self) -> String {
        let Self { saved, name, .. } = self;
        let what = match self.what {
            What::Made => "made",
            What::Bound => "was there, bound",
            What::WasThere => "was there",
            What::WouldBeMade => "would be made",
        };
        match saved == name {
            true => format!("{name}: {what}"),
            false => format!("{name}: {what}; it was saved as {saved}"),
        }
    }
}
