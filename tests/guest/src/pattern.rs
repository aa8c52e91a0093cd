// SPDX-License-Identifier: GPL-2.0
//! Proves that each byte of a device is on the physical page that its page offset says.
//!
//! A device is filled with words that follow from their offset in it. Then there are three proofs,
//! each independent of the other two: the words read back through the mapping; the page frame
//! behind every page, from pagemap; and the same physical memory read through other devices, which
//! have one range each.

use crate::device::Driver;
use crate::ktap::{check, Failure};
use crate::mmap::Map;
use crate::region::Region;
use crate::trap::Signal;
use crate::units::{Range, PAGE, UNIT};

/// The bytes in a word.
const WORD: u64 = 8;

/// Counts of pages that were written or looked at.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Figures {
    /// Ranges of the device.
    pub ranges: u64,
    /// Pages touched.
    pub pages: u64,
    /// Bytes written or compared.
    pub bytes: u64,
}

impl Figures {
    /// Adds the counts of another proof.
    fn add(&mut self, other: Figures) {
        self.ranges += other.ranges;
        self.pages += other.pages;
        self.bytes += other.bytes;
    }
}

/// The word at a byte offset of a device. Any two offsets and any two seeds give different ones.
fn word(seed: u64, offset: u64) -> u64 {
    scramble(offset ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// Another number for each number: a bijection that changes about half of the bits, namely the
/// finalizer of splitmix64. A generator of random numbers would give some numbers twice.
pub fn scramble(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The offsets at which a page of a range is looked at: all of the pages at either end of the
/// range, else the first and the last word.
fn offsets(range: &Range, page: u64) -> impl Iterator<Item = u64> {
    let at_an_end = page == 0 || page == range.span.len() / PAGE - 1;
    let step = if at_an_end { WORD } else { PAGE - WORD };
    let base = (range.page_offset + page) * PAGE;
    (0..PAGE).step_by(step as usize).map(move |o| base + o)
}

/// Visits the words of a range, by device offset.
fn visit(range: &Range, mut f: impl FnMut(u64) -> Result<(), Failure>) -> Result<Figures, Failure> {
    let mut figures = Figures {
        ranges: 1,
        ..Figures::default()
    };
    for page in 0..range.span.len() / PAGE {
        figures.pages += 1;
        for offset in offsets(range, page) {
            f(offset)?;
            figures.bytes += WORD;
        }
    }
    Ok(figures)
}

/// Writes the pattern through a mapping that begins at offset 0 of the device.
pub fn fill(map: &Map, ranges: &[Range], seed: u64) -> Result<Figures, Failure> {
    let mut figures = Figures::default();
    for range in ranges {
        figures.add(visit(range, |offset| {
            expect(
                map.store(offset, word(seed, offset)),
                Ok(()),
                "store",
                offset,
            )
        })?);
    }
    Ok(figures)
}

/// Writes the eight bytes around every boundary between two ranges again, each time with one
/// store: half of it goes to the end of one range, half to the start of the next. The number of
/// boundaries.
pub fn fill_across(map: &Map, ranges: &[Range], seed: u64) -> Result<u64, Failure> {
    let mut boundaries = 0;
    for range in ranges.iter().skip(1) {
        let boundary = range.page_offset * PAGE;
        let (before, after) = (word(seed, boundary - WORD), word(seed, boundary));
        // Spoil the halves, so that only the store across can make them right.
        let spoil = [
            (boundary - WORD, before ^ (u64::MAX << 32)),
            (boundary, after ^ (u64::MAX >> 32)),
        ];
        for (offset, value) in spoil {
            expect(map.store(offset, value), Ok(()), "store", offset)?;
        }
        let across = (before >> 32) | (after << 32);
        let offset = boundary - WORD / 2;
        expect(map.store(offset, across), Ok(()), "store across", offset)?;
        for (offset, value) in [(boundary - WORD, before), (boundary, after)] {
            expect(map.load(offset), Ok(value), "load", offset)?;
        }
        boundaries += 1;
    }
    Ok(boundaries)
}

/// Reads the pattern through a mapping that begins at offset 0 of the device.
pub fn compare(map: &Map, ranges: &[Range], seed: u64) -> Result<Figures, Failure> {
    let mut figures = Figures::default();
    for range in ranges {
        figures.add(visit(range, |offset| {
            expect(map.load(offset), Ok(word(seed, offset)), "load", offset)
        })?);
    }
    Ok(figures)
}

/// Compares two values. It formats only if they differ, because it runs millions of times.
fn expect<T: PartialEq + std::fmt::Debug>(
    actual: Result<T, Signal>,
    expected: Result<T, Signal>,
    what: &str,
    offset: u64,
) -> Result<(), Failure> {
    if actual == expected {
        Ok(())
    } else {
        check(format!("{what} at offset {offset:#x}"), actual, expected)
    }
}

/// Compares the page frame behind every page of a mapping, which must have been touched.
pub fn compare_frames(map: &Map, ranges: &[Range]) -> Result<Figures, Failure> {
    let mut figures = Figures::default();
    for range in ranges {
        let pages = range.span.len() / PAGE;
        let frames = map.frames(range.page_offset * PAGE, pages)?;
        let first = range.span.start / PAGE;
        for (frame, expected) in frames.into_iter().zip(first..) {
            if frame != Some(expected) {
                let page = range.page_offset + (expected - first);
                check(format!("frame of page {page:#x}"), frame, Some(expected))?;
            }
        }
        figures.add(Figures {
            ranges: 1,
            pages,
            bytes: 0,
        });
    }
    Ok(figures)
}

/// Reads the pattern from the physical memory of a device that is gone, range by range through
/// a new device over just that range.
pub fn compare_physical(region: &Region, ranges: &[Range], seed: u64) -> Result<Figures, Failure> {
    let mut figures = Figures::default();
    for range in ranges {
        let reader = region.create_over(&[range.span])?;
        reader.set_align(UNIT)?;
        reader.bind(Driver::DeviceDax)?;
        let map = Map::whole(&reader)?;
        let base = range.page_offset * PAGE;
        figures.add(visit(range, |offset| {
            expect(
                map.load(offset - base),
                Ok(word(seed, offset)),
                "physical load",
                offset,
            )
        })?);
        drop(map);
        region.destroy(&reader)?;
    }
    Ok(figures)
}
