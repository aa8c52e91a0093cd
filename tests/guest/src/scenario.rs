// SPDX-License-Identifier: GPL-2.0
//! The main job of the driver, from an empty region to an empty region, with the real daxctl.

use crate::ascii_map::{self, Style};
use crate::daxctl;
use crate::device::Device;
use crate::ktap::{check, Failure, Outcome};
use crate::mmap::Map;
use crate::pattern::{self, Figures};
use crate::region::Region;
use crate::units::{counted, human, Range, MIB, UNIT};
use std::fs;
use std::io::{self, Write};
use std::time::Instant;

/// The parts that the region is divided into, by size alone: 64 MiB each of 2 GiB.
const PARTS: u64 = 32;
/// The devices to begin with, in parts. Together they are the region.
const SIZES: [u64; 6] = [4, 6, 5, 7, 4, 6];
/// The parts that the device over several ranges loses: all of its last range, and some of the one
/// before.
const LOST: u64 = 8;
/// The positions of the devices that are deleted. No two of them touch.
const DESTROYED: [usize; 3] = [1, 3, 5];
/// The seed of the pattern.
const SEED: u64 = 0x00da_0073;

/// Prints the steps for people.
pub struct Narrator {
    /// The beginning of each line.
    pub prefix: &'static str,
    /// The style in which maps are drawn.
    pub style: Style,
    /// Whether maps are printed.
    pub maps: bool,
}

impl Narrator {
    /// Prints a line.
    pub fn line(&self, text: &str) {
        println!("{}{text}", self.prefix);
    }

    /// Shows the region.
    fn draw(&self, region: &Region) -> Outcome {
        if self.maps {
            self.line("");
            for line in ascii_map::draw(region, &self.style)? {
                self.line(&line);
            }
            self.line("");
        }
        Ok(())
    }

    /// Does a step. Prints its name, its result and the time that it took.
    fn step<T>(
        &self,
        what: &str,
        work: impl FnOnce() -> Result<(T, String), Failure>,
    ) -> Result<T, Failure> {
        print!("{}* {what} ... ", self.prefix);
        let _ = io::stdout().flush();
        let started = Instant::now();
        let result = work();
        let elapsed = started.elapsed().as_secs_f64();
        match &result {
            Ok((_, came_of_it)) => println!("{came_of_it} ({elapsed:.2} s)"),
            Err(_) => println!("FAILED ({elapsed:.2} s)"),
        }
        result.map(|(value, _)| value)
    }
}

/// Counts of the proofs, over all steps.
#[derive(Default)]
pub struct Totals {
    /// Ranges of the device over the holes, at most.
    pub ranges: usize,
    /// Boundaries between ranges that a store went across.
    pub boundaries: u64,
    /// Pages whose frame was compared.
    pub frames: u64,
    /// Bytes compared, through mappings and in physical memory.
    pub bytes: u64,
}

/// Runs the scenario in a fresh region, which is empty again at the end if all steps succeed.
pub fn play(region: &Region, out: &Narrator) -> Result<Totals, Failure> {
    let mut totals = Totals::default();
    show_region(region, out)?;
    let devices = carve(region, out)?;
    out.draw(region)?;
    let kept = destroy_some(&devices, out)?;
    out.draw(region)?;
    let device = create_over_holes(region, out)?;
    out.draw(region)?;
    let ranges = device.ranges()?;
    totals.ranges = ranges.len();
    write_and_look(&device, &ranges, out, &mut totals)?;
    let device = read_physical(region, device, &ranges, out, &mut totals)?;
    shrink(region, &device, &ranges, out, &mut totals)?;
    out.draw(region)?;
    grow(region, &device, &kept, &ranges, out, &mut totals)?;
    out.draw(region)?;
    delete_all(region, out)?;
    out.draw(region)?;
    Ok(totals)
}

/// Introduces the region.
fn show_region(region: &Region, out: &Narrator) -> Outcome {
    out.line(&format!(
        "The region: {} at {:#x}, {} free, in {}",
        human(region.span().len()),
        region.span().start,
        human(region.available()?),
        region.dir().display(),
    ));
    out.draw(region)
}

/// The bytes of a part. A region whose size is no multiple of it has some memory left over.
fn part(region: &Region) -> u64 {
    region.span().len() / PARTS / UNIT * UNIT
}

/// Carves the region into devices.
fn carve(region: &Region, out: &Narrator) -> Result<Vec<Device>, Failure> {
    out.step(
        "carve the region into 6 devices: daxctl create-device -s",
        || {
            let mut devices = Vec::new();
            let part = part(region);
            for size in SIZES {
                devices.push(daxctl::create(&["-s", &format!("{}M", size * part / MIB)])?);
            }
            check(
                "free",
                region.available()?,
                region.span().len() - SIZES.iter().sum::<u64>() * part,
            )?;
            Ok((devices, "done".into()))
        },
    )
}

/// Destroys some of the devices, which leaves holes. Returns the others.
fn destroy_some(devices: &[Device], out: &Narrator) -> Result<Vec<Device>, Failure> {
    out.step("destroy 3 of them: daxctl destroy-device", || {
        let mut kept = Vec::new();
        for (index, device) in devices.iter().enumerate() {
            if DESTROYED.contains(&index) {
                daxctl::run(&["disable-device", device.name()])?;
                daxctl::run(&["destroy-device", device.name()])?;
                check(device.name(), device.exists(), false)?;
            } else {
                kept.push(device.clone());
            }
        }
        Ok((kept, "done".into()))
    })
}

/// Creates one device over all the holes.
fn create_over_holes(region: &Region, out: &Narrator) -> Result<Device, Failure> {
    out.step(
        "create one device over all the holes: daxctl create-device",
        || {
            let free = region.available()?;
            let device = daxctl::create(&[])?;
            check("size", device.size()?, free)?;
            check("free", region.available()?, 0)?;
            let ranges = daxctl::ranges(&daxctl::list(&device)?)?;
            check("ranges in daxctl list -M", &ranges, &device.ranges()?)?;
            check("ranges", ranges.len(), DESTROYED.len())?;
            let said = format!(
                "{}: {} in {} ranges",
                device.name(),
                human(free),
                ranges.len()
            );
            Ok((device, said))
        },
    )
}

/// Writes the whole device, and proves which memory is behind it.
fn write_and_look(
    device: &Device,
    ranges: &[Range],
    out: &Narrator,
    totals: &mut Totals,
) -> Outcome {
    let map = out.step("map it", || {
        let map = Map::whole(device)?;
        let said = format!("{} at {:#x}", human(map.len()), map.addr());
        Ok((map, said))
    })?;
    out.step(
        "write to both ends of every page, and all of the pages at range ends",
        || Ok(((), figures(pattern::fill(&map, ranges, SEED)?))),
    )?;
    totals.boundaries = out.step(
        "write across every range boundary with one store each",
        || {
            let count = pattern::fill_across(&map, ranges, SEED)?;
            check("boundaries", count, ranges.len() as u64 - 1)?;
            Ok((count, counted(count as usize, "store")))
        },
    )?;
    compare(&map, ranges, out, totals)?;
    totals.frames = out.step(
        "compare the frame of every page with what its offset says",
        || {
            let found = pattern::compare_frames(&map, ranges)?;
            Ok((
                found.pages,
                format!("{} pages in {} ranges", found.pages, found.ranges),
            ))
        },
    )?;
    Ok(())
}

/// Reads the pattern through a mapping.
fn compare(map: &Map, ranges: &[Range], out: &Narrator, totals: &mut Totals) -> Outcome {
    totals.bytes += out.step("read it all back through the mapping", || {
        let found = pattern::compare(map, ranges, SEED)?;
        Ok((found.bytes, figures(found)))
    })?;
    Ok(())
}

/// Destroys the device, finds its bytes in the physical memory it had, and makes it again.
fn read_physical(
    region: &Region,
    device: Device,
    ranges: &[Range],
    out: &Narrator,
    totals: &mut Totals,
) -> Result<Device, Failure> {
    let listed = daxctl::list(&device)?;
    totals.bytes += out.step(
        "destroy it and read its memory through one device per range",
        || {
            daxctl::run(&["destroy-device", "-f", device.name()])?;
            let found = pattern::compare_physical(region, ranges, SEED)?;
            Ok((found.bytes, figures(found)))
        },
    )?;
    let input = std::env::temp_dir().join("dax-guest-scenario.json");
    fs::write(&input, listed.to_string()).map_err(|e| Failure::Fail(format!("write JSON: {e}")))?;
    let again = out.step("make it again: daxctl create-device --input", || {
        let again = daxctl::create(&["--input", &input.to_string_lossy()])?;
        check("ranges", again.ranges()?, ranges.to_vec())?;
        let said = format!("{}, the same ranges", again.name());
        Ok((again, said))
    })?;
    Ok(again)
}

/// Gives a device another size, which needs it disabled.
fn resize(device: &Device, size: u64) -> Outcome {
    daxctl::run(&["disable-device", device.name()])?;
    daxctl::reconfigure(device, &["-s", &size.to_string()])?;
    daxctl::run(&["enable-device", device.name()])?;
    check("size", device.size()?, size)
}

/// Shrinks the device: removes its last range and a part of the range before.
fn shrink(
    region: &Region,
    device: &Device,
    ranges: &[Range],
    out: &Narrator,
    totals: &mut Totals,
) -> Outcome {
    let lost = LOST * part(region);
    let what = format!("shrink it by {}: daxctl reconfigure-device -s", human(lost));
    out.step(&what, || {
        let size = device.size()? - lost;
        resize(device, size)?;
        let left = device.ranges()?;
        check("first range", left[0], ranges[0])?;
        check(
            "start of the second",
            left[1].span.start,
            ranges[1].span.start,
        )?;
        check("ranges", left.len(), 2)?;
        Ok(((), format!("{} in {} ranges", human(size), left.len())))
    })?;
    let map = Map::whole(device)?;
    compare(&map, &ranges[..1], out, totals)
}

/// Grows the device: first over the memory that it had, then also over the memory of another
/// device.
fn grow(
    region: &Region,
    device: &Device,
    kept: &[Device],
    ranges: &[Range],
    out: &Narrator,
    totals: &mut Totals,
) -> Outcome {
    let other = &kept[1];
    let extra = out.step("destroy another device to make room", || {
        let extra = other.spans()?[0];
        daxctl::run(&["destroy-device", "-f", other.name()])?;
        Ok((extra, format!("{} at {extra:?}", human(extra.len()))))
    })?;
    out.step(
        "grow it over all that is free: daxctl reconfigure-device -s",
        || {
            let size = device.size()? + region.available()?;
            resize(device, size)?;
            check("free", region.available()?, 0)?;
            let grown = device.ranges()?;
            check("first range", grown[0], ranges[0])?;
            let holds_extra = grown
                .iter()
                .any(|r| r.span.start <= extra.start && extra.end <= r.span.end);
            check(format!("{extra:?} in {grown:?}"), holds_extra, true)?;
            totals.ranges = totals.ranges.max(grown.len());
            Ok(((), format!("{} in {} ranges", human(size), grown.len())))
        },
    )?;
    let map = Map::whole(device)?;
    compare(&map, &ranges[..1], out, totals)?;
    let grown = device.ranges()?;
    totals.boundaries += out.step("write it all again, across the boundaries too", || {
        let written = pattern::fill(&map, &grown, SEED)?;
        let count = pattern::fill_across(&map, &grown, SEED)?;
        Ok((count, figures(written)))
    })?;
    compare(&map, &grown, out, totals)?;
    totals.frames += out.step(
        "compare the frame of every page with what its offset says",
        || {
            let found = pattern::compare_frames(&map, &grown)?;
            Ok((
                found.pages,
                format!("{} pages in {} ranges", found.pages, found.ranges),
            ))
        },
    )?;
    Ok(())
}

/// Deletes everything.
fn delete_all(region: &Region, out: &Narrator) -> Outcome {
    out.step("delete everything: daxctl destroy-device -f all", || {
        daxctl::run(&["destroy-device", "-f", "all"])?;
        check("free", region.available()?, region.span().len())?;
        check("devices", region.devices()?, vec![region.first_device()?])?;
        Ok(((), format!("{} free", human(region.available()?))))
    })
}

/// The counts as text for people.
fn figures(figures: Figures) -> String {
    format!(
        "{} pages, {:.1} MB in {}",
        figures.pages,
        figures.bytes as f64 / 1e6,
        counted(figures.ranges as usize, "range")
    )
}
