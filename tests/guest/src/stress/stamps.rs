// SPDX-License-Identifier: GPL-2.0
//! Words that say where in physical memory they belong.
//!
//! Two words of each page hold nothing, or the stamp of their own address. If a thread reads
//! another value through a mapping, then the mapping shows the wrong memory, or somebody wrote to
//! the wrong place through another mapping.
//!
//! If the region zeroes memory, a stamp also says for which device it was written. Then no device
//! may show the stamp of another.

use crate::device::Device;
use crate::errno::Errno;
use crate::kernel::{self, Impl};
use crate::ktap::{check, Failure, Outcome};
use crate::mmap::Map;
use crate::pattern::scramble;
use crate::region::Region;
use crate::sysfs::{self, Error};
use crate::trap::Signal;
use crate::units::{Range, PAGE, UNIT};
use std::os::unix::fs::MetadataExt;

/// The offsets of the words in a page.
const PLACES: [u64; 2] = [0, PAGE - 8];

/// The owner whose stamps a device may show.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Owner(u64);

impl Owner {
    /// Only its own if the region zeroes memory, else anybody's. A device that is created anew
    /// under the same name is another owner: its directory has another inode.
    pub fn of(region: &Region, device: &Device) -> sysfs::Result<Owner> {
        let zeroes = || sysfs::read_number(&region.attr("zero_on_alloc"));
        if kernel::driver() == Impl::C || zeroes()? == 0 {
            return Ok(Owner(0));
        }
        let dir = device.dir();
        let meta = dir.metadata();
        let meta = meta.map_err(|e| Error::new(dir.display().to_string(), Errno::from(e)))?;
        Ok(Owner(meta.ino()))
    }
}

/// The stamp of a physical address; never 0.
pub fn stamp(address: u64, owner: Owner) -> u64 {
    scramble(address ^ owner.0.rotate_left(40) ^ 0x6461_7874_6167_7321).max(1)
}

/// The physical address of an offset into a device.
pub fn address(ranges: &[Range], offset: u64) -> Option<u64> {
    let range = ranges
        .iter()
        .rfind(|range| range.page_offset * PAGE <= offset)?;
    let address = range.span.start + (offset - range.page_offset * PAGE);
    (address <= range.span.end).then_some(address)
}

/// A place that has a stamp, in the page at `page` bytes.
pub fn place(page: u64, random: u64) -> u64 {
    page + PLACES[random as usize % PLACES.len()]
}

/// Whether `word` may be at that address.
pub fn fits(word: u64, address: u64, owner: Owner) -> bool {
    word == 0 || word == stamp(address, owner)
}

/// The words of every `step`th page of a mapping of a whole device.
fn places(ranges: &[Range], step: u64) -> impl Iterator<Item = (u64, u64)> + '_ {
    ranges.iter().flat_map(move |range| {
        let pages = (0..range.span.len() / PAGE).step_by(step as usize);
        pages.flat_map(move |page| {
            PLACES.map(|place| {
                let offset = page * PAGE + place;
                (range.page_offset * PAGE + offset, range.span.start + offset)
            })
        })
    })
}

/// Wipes out the words of every page.
pub fn clear(map: &Map, ranges: &[Range], _: Owner) -> Outcome {
    for (offset, _) in places(ranges, 1) {
        must(map.store(offset, 0), offset)?;
    }
    Ok(())
}

/// Checks the words of every page, and how many there are that hold a stamp.
pub fn verify(map: &Map, ranges: &[Range], owner: Owner) -> Result<u64, Failure> {
    let mut stamps = 0;
    for (offset, address) in places(ranges, 1) {
        let word = must(map.load(offset), offset)?;
        if !fits(word, address, owner) {
            wrong(word, offset, address, owner)?;
        }
        stamps += u64::from(word != 0);
    }
    Ok(stamps)
}

/// Checks a few words of each unit and writes their stamps.
pub fn verify_some(map: &Map, ranges: &[Range], owner: Owner) -> Outcome {
    for (offset, address) in places(ranges, 37) {
        let word = must(map.load(offset), offset)?;
        if !fits(word, address, owner) {
            wrong(word, offset, address, owner)?;
        }
        must(map.store(offset, stamp(address, owner)), offset)?;
    }
    Ok(())
}

/// Compares the frame behind each unit.
pub fn verify_frames(map: &Map, ranges: &[Range]) -> Outcome {
    for range in ranges {
        for unit in (0..range.span.len()).step_by(UNIT as usize) {
            let offset = range.page_offset * PAGE + unit;
            must(map.load(offset), offset)?;
            let frame = map.frames(offset, 1)?;
            let expected = vec![Some((range.span.start + unit) / PAGE)];
            check(format!("frame at offset {offset:#x}"), frame, expected)?;
        }
    }
    Ok(())
}

/// A word that does not belong there.
fn wrong(word: u64, offset: u64, address: u64, owner: Owner) -> Outcome {
    let at = format!("word at offset {offset:#x}, address {address:#x}");
    check(at, word, stamp(address, owner))
}

/// An access that must succeed.
fn must<T>(result: Result<T, Signal>, offset: u64) -> Result<T, Failure> {
    result.map_err(|signal| Failure::Fail(format!("access at offset {offset:#x}: {signal:?}")))
}
