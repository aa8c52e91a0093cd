// SPDX-License-Identifier: GPL-2.0
//! `dax-guest colours SEEDS`: two tenants with a device each, made in several ways, and the page
//! frames that they then have. One JSON line for each way.
//!
//! The guest has a memory-side cache in front of the region. SEEDS are numbers with commas between
//! them, one for each time that the devices grow in turns.

use crate::daxlayout;
use crate::device::{Device, Driver};
use crate::kernel;
use crate::mmap::Map;
use crate::random;
use crate::region::{self, Region};
use crate::sysfs::{self, Error, Result};
use crate::trap;
use crate::units::{Span, PAGE, UNIT};
use dax_protocol::colours::{Cache, Line, Placement, Run, Tenants};
use std::path::PathBuf;

/// The most by which a device grows at a time: 64 MiB.
const LARGEST_STEP: u64 = 32;
/// Pages whose page frames are read at a time.
const READ: u64 = 1 << 15;

/// Makes devices of half the region in each way. Returns whether nothing went wrong.
pub fn run(seeds: &str) -> Result<bool> {
    let seeds: std::result::Result<Vec<u64>, _> = seeds.split(',').map(str::parse).collect();
    let seeds = seeds.map_err(|_| Error::state("SEEDS: write numbers, like 1,2,3"))?;
    let driver = kernel::detect()?;
    trap::install().map_err(|errno| Error::new("sigaction", errno))?;
    let region = Region::fresh()?;
    let span = region.span();
    let machine = Line::Machine {
        driver,
        kernel: sysfs::read("/proc/sys/kernel/osrelease".as_ref())?,
        cache: cache(&region)?,
        region: run_of(span),
    };
    println!("{machine}");
    let half = span.len() / 2;
    let in_turns = seeds.into_iter().map(Placement::InTurns);
    let placements: Vec<Placement> = [Placement::OneWrite]
        .into_iter()
        .chain(in_turns)
        .chain([Placement::Colours, Placement::Pairs(half)])
        .collect();
    for &placement in &placements {
        let tenants = tenants(&region, placement, half)?;
        println!("{}", Line::Tenants(tenants));
    }
    region::tear_down()?;
    println!("{}", Line::Done(placements.len() as u64));
    Ok(true)
}

/// The page frames of a span.
fn run_of(span: Span) -> Run {
    Run {
        first: span.start / PAGE,
        count: span.len() / PAGE,
    }
}

/// The cache in front of a region: what daxlayout shows, which must be what sysfs has.
pub fn cache(region: &Region) -> Result<Cache> {
    let id = region.id().to_string();
    let shown = daxlayout::value(&["--json", "show", "-r", &id])?;
    let caches = &shown["caches"];
    let bad = |why: &str| Error::state(format!("daxlayout shows {caches}: {why}"));
    let one = caches
        .as_array()
        .filter(|all| all.len() == 1)
        .ok_or_else(|| bad("not one cache; the guest needs an HMAT with hmat-cache"))?;
    let number = |key: &str| one[0][key].as_u64().ok_or_else(|| bad(key));
    let node = number("node")?;
    let directory = format!("/sys/devices/system/node/node{node}/memory_side_cache/index1");
    let attr = |name: &str| sysfs::read_number(&PathBuf::from(&directory).join(name));
    let cache = Cache {
        size: attr("size")?,
        line_size: attr("line_size")?,
        indexing: attr("indexing")?,
        write_policy: attr("write_policy")?,
        directory: directory.clone(),
    };
    if one[0]["kind"] != "direct_mapped" || cache.indexing != 0 {
        return Err(bad("it is not direct-mapped"));
    }
    if (number("size")?, number("line_size")?) != (cache.size, cache.line_size) {
        return Err(bad(&format!("sysfs has {cache:?}")));
    }
    Ok(cache)
}

/// Makes a device of that size for each of two tenants, reads their page frames, and takes the
/// devices away again.
pub fn tenants(region: &Region, placement: Placement, size: u64) -> Result<Tenants> {
    let devices = make(region, placement, size)?;
    let frames = [frames(&devices[0])?, frames(&devices[1])?];
    for device in &devices {
        region.destroy(device)?;
    }
    Ok(Tenants {
        placement,
        frames: frames.map(|frames| Run::of(&frames)),
    })
}

/// The devices, bound to device_dax.
fn make(region: &Region, placement: Placement, size: u64) -> Result<[Device; 2]> {
    let text = size.to_string();
    match placement {
        Placement::OneWrite => {
            let devices = [region.create_sized(size)?, region.create_sized(size)?];
            bound(devices)
        }
        Placement::InTurns(seed) => {
            let devices = [region.create()?, region.create()?];
            grow_in_turns(&devices, seed, size)?;
            bound(devices)
        }
        Placement::Colours => Ok([
            daxlayout::create(&["-s", &text, "--colour", "0/2"])?,
            daxlayout::create(&["-s", &text, "--colour", "1/2"])?,
        ]),
        Placement::Pairs(distance) => {
            let distance = distance.to_string();
            let pair = || daxlayout::create(&["-s", &text, "--pair-distance", &distance]);
            Ok([pair()?, pair()?])
        }
    }
}

/// Binds both devices to device_dax.
fn bound(devices: [Device; 2]) -> Result<[Device; 2]> {
    for device in &devices {
        device.bind(Driver::DeviceDax)?;
    }
    Ok(devices)
}

/// Lets both grow in turns until they have that size.
fn grow_in_turns(devices: &[Device; 2], seed: u64, size: u64) -> Result<()> {
    let mut random = random::of_sequence(seed, 0);
    let mut sizes = [0; 2];
    while sizes != [size; 2] {
        for (device, now) in devices.iter().zip(&mut sizes) {
            let step = random.u64(1..=LARGEST_STEP) * UNIT;
            let next = size.min(*now + step);
            if next != *now {
                device.set_size(next)?;
                *now = next;
            }
        }
    }
    Ok(())
}

/// The page frames of a device in the order of its pages: maps it, reads each page, and looks into
/// the page table. They must be those of its ranges in sysfs.
fn frames(device: &Device) -> Result<Vec<u64>> {
    let map = Map::whole(device)?;
    let failed = |what: String| Error::state(format!("{}: {what}", device.name()));
    for offset in (0..map.len()).step_by(PAGE as usize) {
        let touched = map.load(offset);
        touched.map_err(|signal| failed(format!("page at {offset:#x}: {signal:?}")))?;
    }
    let mut frames = Vec::new();
    let pages = map.len() / PAGE;
    for first in (0..pages).step_by(READ as usize) {
        for frame in map.frames(first * PAGE, READ.min(pages - first))? {
            let page = frames.len();
            frames.push(frame.ok_or_else(|| failed(format!("page {page}: not mapped")))?);
        }
    }
    let ranges: Vec<Run> = device.spans()?.into_iter().map(run_of).collect();
    if Run::frames(&ranges) != frames {
        let runs = Run::of(&frames);
        return Err(failed(format!("ranges {ranges:?}, page frames {runs:?}")));
    }
    Ok(frames)
}
