// SPDX-License-Identifier: GPL-2.0
//! `zero_on_alloc`: the driver zeroes memory before a device gets it. The C driver has no such
//! attribute. With the attribute off, both drivers leave the memory as it is.

mod failed;
mod gains;
mod kmem;
mod progress;

use crate::device::{Device, Driver};
use crate::ktap::{check, Failure, Outcome, Test};
use crate::memory;
use crate::mmap::Map;
use crate::region::Region;
use crate::sysfs;
use crate::units::{Span, PAGE};

/// The tests, by file. Those that look while memory is zeroed come first: memory that was never
/// touched takes longer.
pub const FILES: &[&[Test]] = &[progress::TESTS, gains::TESTS, kmem::TESTS, failed::TESTS];

/// The reason for which the tests leave the C driver out.
const NOT_IN_C: &str = "has no zero_on_alloc";
/// The name of the attribute.
const ATTRIBUTE: &str = "zero_on_alloc";
/// The word that the tests write into each page.
const MARK: u64 = 0x6b72_616d_6b72_616d;

/// Turns zeroing on or off.
fn set(region: &Region, on: bool) -> Outcome {
    Ok(sysfs::write(
        &region.attr(ATTRIBUTE),
        if on { "1" } else { "0" },
    )?)
}

/// A bound device of small pages over these spans.
fn device(region: &Region, spans: &[Span]) -> Result<Device, Failure> {
    Ok(region.create_bound(PAGE, spans)?)
}

/// Marks every page of a bound device.
fn mark(device: &Device) -> Outcome {
    let map = Map::whole(device)?;
    for offset in (0..map.len()).step_by(PAGE as usize) {
        check("store", map.store(offset + 8, MARK).is_ok(), true)?;
    }
    Ok(())
}

/// The page offsets, in pages, at which a bound device still has the mark. All other words that are
/// looked at must be zero.
fn marked(device: &Device) -> Result<Vec<u64>, Failure> {
    let map = Map::whole(device)?;
    let mut found = Vec::new();
    for offset in (0..map.len()).step_by(PAGE as usize) {
        match map.load(offset + 8) {
            Ok(MARK) => found.push(offset / PAGE),
            Ok(0) => {}
            other => check(format!("word in page {}", offset / PAGE), other, Ok(0))?,
        }
    }
    Ok(found)
}

/// The pages of a bound device that are not zero.
fn not_zero(device: &Device) -> Result<Vec<u64>, Failure> {
    let map = Map::whole(device)?;
    let pages = 0..map.len() / PAGE;
    Ok(pages
        .filter(|page| map.load(page * PAGE + 8) != Ok(0))
        .collect())
}

/// Puts the mark into all pages of these spans, and gives the memory back.
fn dirty(region: &Region, spans: &[Span]) -> Outcome {
    let device = device(region, spans)?;
    mark(&device)?;
    Ok(region.destroy(&device)?)
}

/// Number of pages in the spans.
fn pages(spans: &[Span]) -> u64 {
    spans.iter().map(|span| span.len() / PAGE).sum()
}

/// Memory blocks in the middle of the region, with the mark in each page.
fn dirty_blocks(region: &Region, first: u64) -> Result<Span, Failure> {
    let block = memory::block_size()?;
    let start = region.span().start.next_multiple_of(block) + first * block;
    let span = Span::at(start, block);
    dirty(region, &[span])?;
    Ok(span)
}

/// Lets kmem have a device's memory online for a while.
fn lend_to_kmem(device: &Device, work: impl Fn() -> Outcome) -> Outcome {
    device.bind_by_id(Driver::Kmem)?;
    for span in device.spans()? {
        memory::online(span, "online_movable")?;
    }
    work()?;
    device.disable()?;
    Ok(device.forget()?)
}
