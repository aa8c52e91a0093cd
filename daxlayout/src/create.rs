// SPDX-License-Identifier: GPL-2.0
//! `plan` and `create`.

use serde::Serialize;
use serde_json::{json, Value};

use crate::change::{driver_dir, Change};
use crate::cli::{CreateArgs, Distance, PlanArgs};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::map;
use crate::output;
use crate::plan::{plan, CachePart, Placement, Request};
use crate::region::{granule_of, Region};
use crate::span::{counted, human, Span};
use crate::sysfs::Sysfs;

/// The value of `--driver` for no driver.
const NO_DRIVER: &str = "none";

/// A plan, as `--json` prints it.
#[derive(Serialize)]
struct Planned<'a> {
    region: u64,
    size: u64,
    align: u64,
    ranges: &'a [Span],
}

/// `plan`
pub fn print_plan(sysfs: &Sysfs, args: &PlanArgs, as_json: bool) -> Result<()> {
    let region = Region::one(sysfs, args.region)?;
    region.known_span()?;
    let spans = ranges(&region, args)?;
    let planned = planned(&region, args, &spans);
    if args.daxctl_json {
        return output::json(&daxctl_json(&planned));
    }
    if as_json {
        return output::json(&Planned {
            region: region.id,
            size: planned.size,
            align: planned.align,
            ranges: &spans,
        });
    }
    let size = human(planned.size);
    let mut lines = vec![format!("{size} in {}", counted(spans.len(), "range"))];
    lines.extend(
        spans
            .iter()
            .map(|span| format!("{span}  {}", human(span.len()))),
    );
    output::lines(&lines)
}

/// `create`
pub fn create(sysfs: &Sysfs, args: &CreateArgs, as_json: bool) -> Result<()> {
    if args.dry_run || args.plan.daxctl_json {
        return dry_run(sysfs, args, as_json);
    }
    let region = Region::one(sysfs, args.plan.region)?;
    // Refuse before anything is changed, if the start of the region is known.
    if args.driver != NO_DRIVER {
        driver_dir(sysfs, &args.driver)?;
    }
    if region.start.is_some() {
        ranges(&region, &args.plan)?;
    }
    let name = Change::all_or_nothing(sysfs, &region, |change| {
        let name = change.create()?;
        // The attribute `resource` of an empty device is the start of the region.
        let now = Region::one(sysfs, Some(region.id))?;
        now.known_span()?;
        let spans = ranges(&now, &args.plan)?;
        if let Some(align) = args.plan.align {
            change.align(&name, align)?;
        }
        change.fill(&name, &spans)?;
        if args.driver != NO_DRIVER {
            change.bind(&name, &args.driver)?;
        }
        Ok(name)
    })?;
    let region = Region::one(sysfs, Some(region.id))?;
    let device = region
        .device(&name)
        .ok_or_else(|| Error::Unexpected(format!("{name}: created, but somebody deleted it")))?;
    if as_json {
        return output::json(device);
    }
    output::lines(&map::device_lines(device))
}

/// Draws the region as it is, and as it would be.
fn dry_run(sysfs: &Sysfs, args: &CreateArgs, as_json: bool) -> Result<()> {
    if as_json || args.plan.daxctl_json {
        return print_plan(sysfs, &args.plan, as_json);
    }
    let region = Region::one(sysfs, args.plan.region)?;
    region.known_span()?;
    let spans = ranges(&region, &args.plan)?;
    let mut device = planned(&region, &args.plan, &spans);
    device.driver = Some(args.driver.clone()).filter(|driver| driver != NO_DRIVER);
    let after = region.with(device);
    let style = map::style_of_terminal();
    let mut lines = vec!["before:".to_owned()];
    lines.extend(map::draw(&region, &style));
    lines.push("after:".to_owned());
    lines.extend(map::draw(&after, &style));
    output::lines(&lines)
}

/// The alignment that was asked for, or the region's.
fn align_of(region: &Region, args: &PlanArgs) -> u64 {
    args.align.unwrap_or(region.align)
}

/// The ranges that the device gets.
fn ranges(region: &Region, args: &PlanArgs) -> Result<Vec<Span>> {
    let align = align_of(region, args);
    if !align.is_power_of_two() {
        return Err(Error::Usage(format!(
            "alignment {align}: not a power of two"
        )));
    }
    let request = Request {
        size: args.size,
        granule: granule_of(align),
        placement: placement(region, args, granule_of(align))?,
    };
    Ok(plan(&region.holes(), &request)?)
}

/// The place that the options ask for, with the size of the cache filled in.
fn placement(region: &Region, args: &PlanArgs, granule: u64) -> Result<Placement> {
    let place = &args.place;
    let period = || {
        place.cache_size.or(region.period()).ok_or_else(|| {
            Error::NotFound(format!(
                "region {}: sysfs shows no direct-mapped cache for it; give its size with --cache-size",
                region.id
            ))
        })
    };
    if let Some(colour) = place.colour {
        return Ok(Placement::CachePart(colour.part(period()?)?));
    }
    if let Some(distance) = place.pair_distance {
        let distance = match distance {
            Distance::Bytes(distance) => distance,
            Distance::Auto => period()?,
        };
        return Ok(Placement::Pair { distance });
    }
    if let (Some(period), Some(offset)) = (place.cache_size, place.offset) {
        let width = place.width.unwrap_or(granule);
        return Ok(Placement::CachePart(CachePart::new(period, offset, width)?));
    }
    if place.cache_size.is_some() {
        let text = "--cache-size needs --offset, --colour or --pair-distance auto";
        return Err(Error::Usage(text.to_owned()));
    }
    Ok(match place.range.is_empty() {
        true => Placement::Contiguous,
        false => Placement::Exact(place.range.clone()),
    })
}

/// The device that `create` would make, with the lowest free number.
fn planned(region: &Region, args: &PlanArgs, spans: &[Span]) -> Device {
    let taken = |id: &u64| region.devices.iter().any(|device| device.id == *id);
    let id = (0..).find(|id| !taken(id)).unwrap_or_default();
    Device::planned(region.id, id, align_of(region, args), spans)
}

/// The input of `daxctl create-device --input`, which is the output of `daxctl list -M`: the last
/// mapping first.
fn daxctl_json(device: &Device) -> Value {
    let mappings = device.mappings.iter().rev().map(|mapping| {
        json!({
            "page_offset": mapping.page_offset,
            "start": mapping.span.start,
            "end": mapping.span.end,
            "size": mapping.span.len(),
        })
    });
    json!({
        "chardev": device.name,
        "size": device.size,
        "align": device.align,
        "mode": "devdax",
        "mappings": mappings.collect::<Vec<_>>(),
    })
}
