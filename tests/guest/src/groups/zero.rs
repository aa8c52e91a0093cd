// SPDX-License-Identifier: GPL-2.0
//! `zero_on_alloc`: the driver zeroes memory before a device gets it. The C driver has no such
//! attribute. With the attribute off, both drivers leave the memory as it is.
//!
//! While the kernel zeroes memory for an unbound device, `/proc/iomem` shows the memory under the
//! name of the device. The tests look for that.

use crate::child::{Child, End};
use crate::device::{mappings_text, Device, Driver};
use crate::errno::Errno;
use crate::family;
use crate::iomem;
use crate::kernel;
use crate::ktap::{check, deviates, Failure, Outcome, Rows, Test};
use crate::memory;
use crate::mmap::Map;
use crate::region::{self, Region};
use crate::sysfs;
use crate::test;
use crate::units::{Span, MIB, PAGE, UNIT};
use std::path::Path;
use std::time::{Duration, Instant};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(zero_is_off_and_leaves_memory_as_it_is),
    test!(zero_attribute_takes_a_boolean).not_on_c(NOT_IN_C),
    test!(zero_of_a_resize_over_holes).not_on_c(NOT_IN_C),
    test!(zero_of_an_extended_range_spares_what_the_device_had).not_on_c(NOT_IN_C),
    test!(zero_of_ranges_at_given_addresses).not_on_c(NOT_IN_C),
    test!(zero_of_a_device_made_with_its_region, region::tear_down).not_on_c(NOT_IN_C),
    test!(zero_after_kmem).not_on_c(NOT_IN_C),
    test!(zero_after_kmem_is_for_other_drivers).not_on_c(NOT_IN_C),
    test!(zero_leaves_readers_and_others_alone).not_on_c(NOT_IN_C),
    test!(zero_in_progress_keeps_the_device_as_it_is).not_on_c(NOT_IN_C),
    test!(zero_ends_when_the_writer_is_killed).not_on_c(NOT_IN_C),
    test!(zero_ends_when_the_region_goes).not_on_c(NOT_IN_C),
    test!(zero_spares_a_page_that_failed_under_device_dax).not_on_c(NOT_IN_C),
    test!(zero_spares_a_page_that_failed_under_kmem).not_on_c(NOT_IN_C),
    test!(zero_knows_a_failed_page_only_while_the_region_lasts).not_on_c(NOT_IN_C),
];

/// The reason for which the tests leave the C driver out.
const NOT_IN_C: &str = "has no zero_on_alloc";
/// The attribute.
const ATTRIBUTE: &str = "zero_on_alloc";
/// The word that the tests write into each page.
const MARK: u64 = 0x6b72_616d_6b72_616d;
/// Far more time than any change needs.
const LIMIT: Duration = Duration::from_secs(60);

/// Turns zeroing on or off.
fn set(region: &Region, on: bool) -> Outcome {
    Ok(sysfs::write(
        &region.attr(ATTRIBUTE),
        if on { "1" } else { "0" },
    )?)
}

/// A bound device of 4 KiB pages over these spans.
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

/// Whether the kernel zeroes memory for an unbound device.
fn is_zeroing(device: &Device) -> Result<bool, Failure> {
    Ok(!iomem::named(device.name())?.is_empty())
}

/// An empty device, and all memory of the region zeroed for it by another process. Memory that was
/// never touched takes longer, so this is best done first.
fn while_zeroing(region: &Region) -> Result<(Device, Child), Failure> {
    set(region, true)?;
    let device = region.create()?;
    let size = region.available()? - 64 * MIB;
    let writer = device.clone();
    let mut child = Child::spawn(move || match writer.try_write("size", &size.to_string()) {
        Ok(_) => 0,
        Err(errno) => errno.0,
    })
    .map_err(|e| Failure::Fail(format!("fork: {e}")))?;
    let deadline = Instant::now() + LIMIT;
    while !is_zeroing(&device)? {
        let ended = child.poll().is_some() || Instant::now() > deadline;
        check("the writer ended before it was seen", ended, false)?;
    }
    Ok((device, child))
}

fn zero_is_off_and_leaves_memory_as_it_is(region: &Region) -> Outcome {
    let there = region.attr(ATTRIBUTE).exists();
    check(ATTRIBUTE, there, deviates(true, false))?;
    if there {
        check(ATTRIBUTE, sysfs::read(&region.attr(ATTRIBUTE))?, "0".into())?;
    }
    let spans = [region.units(9, 2), region.units(3, 1)];
    dirty(region, &spans)?;
    let next = device(region, &spans)?;
    check("marked pages", marked(&next)?.len() as u64, pages(&spans))
}

fn zero_attribute_takes_a_boolean(region: &Region) -> Outcome {
    check("mode", sysfs::mode(&region.attr(ATTRIBUTE))?, 0o644)?;
    let mut rows = Rows::default();
    for (text, shown) in [
        ("1", "1"),
        ("n", "0"),
        ("on", "1"),
        ("0\n", "0"),
        ("Y", "1"),
    ] {
        let written = region.try_write(ATTRIBUTE, text);
        rows.add(text, check("write", written, Ok(text.len())));
        let now = sysfs::read(&region.attr(ATTRIBUTE))?;
        rows.add(text, check("read", now, shown.into()));
    }
    for text in ["", "2", "-1", "zero"] {
        let written = region.try_write(ATTRIBUTE, text);
        let expected = if text.is_empty() {
            Ok(0)
        } else {
            Err(Errno::EINVAL)
        };
        rows.add(text, check("write", written, expected));
        let now = sysfs::read(&region.attr(ATTRIBUTE))?;
        rows.add(text, check("read", now, "1".into()));
    }
    rows.finish()
}

fn zero_of_a_resize_over_holes(region: &Region) -> Outcome {
    set(region, true)?;
    dirty(region, &[region.units(0, 8)])?;
    // Holes of one unit each.
    let others = region.create_over(&[region.units(1, 1), region.units(3, 1)])?;
    let next = region.create()?;
    next.set_align(PAGE)?;
    next.set_size(4 * UNIT)?;
    check("ranges", next.ranges()?.len(), 3)?;
    next.bind(Driver::DeviceDax)?;
    check("marked pages", marked(&next)?, vec![])?;
    // The memory of the other device was zeroed as well, when it got that.
    others.set_align(PAGE)?;
    others.bind(Driver::DeviceDax)?;
    check("marked pages of the other", marked(&others)?, vec![])
}

fn zero_of_an_extended_range_spares_what_the_device_had(region: &Region) -> Outcome {
    dirty(region, &[region.units(0, 4)])?;
    set(region, true)?;
    let device = device(region, &[region.units(0, 2)])?;
    mark(&device)?;
    device.unbind()?;
    device.set_size(4 * UNIT)?;
    check("ranges", device.spans()?, vec![region.units(0, 4)])?;
    device.bind(Driver::DeviceDax)?;
    let own: Vec<u64> = (0..2 * UNIT / PAGE).collect();
    check("marked pages", marked(&device)?, own)
}

fn zero_of_ranges_at_given_addresses(region: &Region) -> Outcome {
    let spans = [region.units(9, 1), region.units(4, 2), region.units(12, 1)];
    dirty(region, &[region.units(0, 16)])?;
    set(region, true)?;
    let next = region.create()?;
    next.set_align(PAGE)?;
    let text = mappings_text(&spans[..2], " ");
    check("mapping", next.try_write("mapping", &text), Ok(text.len()))?;
    next.add_mapping(spans[2])?;
    check("spans", next.spans()?, spans.to_vec())?;
    next.bind(Driver::DeviceDax)?;
    check("marked pages", marked(&next)?, vec![])?;
    // The memory around them was not touched.
    set(region, false)?;
    let around = [region.units(8, 1), region.units(10, 2), region.units(3, 1)];
    let rest = device(region, &around)?;
    check("marked around", marked(&rest)?.len() as u64, pages(&around))
}

fn zero_of_a_device_made_with_its_region() -> Outcome {
    family::require_modules()?;
    let region = Region::fresh()?;
    let span = region.units(0, 8);
    dirty(&region, &[span])?;
    let hmem = region.hmem().to_owned();
    family::unload_bus()?;
    kernel::modprobe(&["device_dax", "zero_on_alloc=1"])?;
    // Not idle: the first device has all of the region.
    kernel::modprobe(&["dax_hmem", "region_idle=0"])?;
    let region = kernel::eventually("the region", || Ok(Region::of(hmem.clone()).ok()))?;
    check(ATTRIBUTE, sysfs::read(&region.attr(ATTRIBUTE))?, "1".into())?;
    let first = region.first_device()?;
    check("spans", first.spans()?, vec![region.span()])?;
    first.unbind()?;
    first.set_align(PAGE)?;
    first.bind_by_id(Driver::DeviceDax)?;
    let map = Map::whole(&first)?;
    for offset in (0..span.len()).step_by(PAGE as usize) {
        check("word", map.load(offset + 8), Ok(0))?;
    }
    Ok(())
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

/// A device over these spans that kmem had.
fn used_by_kmem(region: &Region, span: Span) -> Result<Device, Failure> {
    let device = region.create_over(&[span])?;
    device.set_align(PAGE)?;
    lend_to_kmem(&device, || Ok(()))?;
    Ok(device)
}

fn zero_after_kmem(region: &Region) -> Outcome {
    let span = dirty_blocks(region, 1)?;
    // A test before this one may have loaded the module with the parameter.
    set(region, false)?;
    let device = used_by_kmem(region, span)?;
    device.bind(Driver::DeviceDax)?;
    // What kmem left is what was there before, for the most part.
    let left = not_zero(&device)?.len() as u64;
    check("something is left", left > pages(&[span]) / 2, true)?;
    device.unbind()?;
    set(region, true)?;
    device.bind(Driver::DeviceDax)?;
    check("marked pages", marked(&device)?, vec![])?;
    // From here on the memory is the device's own.
    mark(&device)?;
    device.unbind()?;
    device.bind(Driver::DeviceDax)?;
    check("own pages", marked(&device)?.len() as u64, pages(&[span]))
}

/// The pages of a bound device that are not zero.
fn not_zero(device: &Device) -> Result<Vec<u64>, Failure> {
    let map = Map::whole(device)?;
    let pages = 0..map.len() / PAGE;
    Ok(pages
        .filter(|page| map.load(page * PAGE + 8) != Ok(0))
        .collect())
}

fn zero_after_kmem_is_for_other_drivers(region: &Region) -> Outcome {
    let span = dirty_blocks(region, 1)?;
    let device = used_by_kmem(region, span)?;
    set(region, true)?;
    // kmem itself gets the memory as it is.
    lend_to_kmem(&device, || Ok(()))?;
    if crate::family::require_fsdev().is_ok() {
        device.bind_by_id(Driver::FsdevDax)?;
        device.unbind()?;
        device.forget()?;
        // fsdev_dax has seen zeroes, so nothing is left to be zeroed.
        set(region, false)?;
    }
    device.bind(Driver::DeviceDax)?;
    check("marked pages", marked(&device)?, vec![])
}

fn zero_leaves_readers_and_others_alone(region: &Region) -> Outcome {
    let (device, child) = while_zeroing(region)?;
    check("size", device.size()?, 0)?;
    check("ranges", device.ranges()?, vec![])?;
    check("available_size", region.available()?, 64 * MIB)?;
    let other = region.create()?;
    other.set_size(UNIT)?;
    other.set_align(PAGE)?;
    other.bind(Driver::DeviceDax)?;
    check("marked pages", marked(&other)?, vec![])?;
    region.destroy(&other)?;
    check("still zeroing", is_zeroing(&device)?, true)?;
    check("writer", child.wait(LIMIT), End::Exit(0))?;
    check("size", device.size()?, region.span().len() - 64 * MIB)?;
    check("still zeroing", is_zeroing(&device)?, false)
}

fn zero_in_progress_keeps_the_device_as_it_is(region: &Region) -> Outcome {
    let (device, child) = while_zeroing(region)?;
    let mut rows = Rows::default();
    let range = mappings_text(&[region.units(region.unit_count() - 1, 1)], "");
    for (attr, text) in [
        ("size", "2097152"),
        ("size", "0"),
        ("align", "4096"),
        ("mapping", &range),
    ] {
        let written = device.try_write(attr, text);
        rows.add(attr, check("write", written, Err(Errno::EBUSY)));
    }
    let deleted = region.try_write("delete", device.name());
    rows.add("delete", check("write", deleted, Err(Errno::EBUSY)));
    let bound = Driver::DeviceDax.try_write("bind", device.name());
    rows.add("bind", check("write", bound, Err(Errno::EBUSY)));
    rows.add("zeroing", check("still", is_zeroing(&device)?, true));
    rows.finish()?;
    check("writer", child.wait(LIMIT), End::Exit(0))?;
    device.bind(Driver::DeviceDax)?;
    Ok(())
}

fn zero_ends_when_the_writer_is_killed(region: &Region) -> Outcome {
    let (device, child) = while_zeroing(region)?;
    child.kill();
    check("writer", child.wait(LIMIT), End::Signal(libc::SIGKILL))?;
    check("zeroing", is_zeroing(&device)?, false)?;
    check("size", device.size()?, 0)?;
    check("ranges", device.ranges()?, vec![])?;
    check("available_size", region.available()?, region.span().len())?;
    // The device can be used.
    device.set_size(UNIT)?;
    device.bind(Driver::DeviceDax)?;
    Ok(())
}

fn zero_ends_when_the_region_goes(region: &Region) -> Outcome {
    let (_, child) = while_zeroing(region)?;
    sysfs::write(&Region::driver_attr("unbind"), region.hmem())?;
    check("writer", child.wait(LIMIT), End::Exit(Errno::ENXIO.0))?;
    let region = Region::fresh()?;
    check("available_size", region.available()?, region.span().len())
}

/// Memory-failure handling marks the page at a physical address.
fn fail_page(addr: u64) -> Outcome {
    let path = Path::new("/sys/devices/system/memory/hard_offline_page");
    Ok(sysfs::write(path, &format!("{addr:#x}"))?)
}

/// Fails one page under device_dax, and gives all memory back.
fn fail_under_device_dax(region: &Region, span: Span, page: u64) -> Outcome {
    let device = device(region, &[span])?;
    mark(&device)?;
    fail_page(span.start + page * PAGE)?;
    Ok(region.destroy(&device)?)
}

fn zero_spares_a_page_that_failed_under_device_dax(region: &Region) -> Outcome {
    set(region, true)?;
    let span = region.units(5, 2);
    for page in [0, 700, 1023] {
        fail_under_device_dax(region, span, page)?;
    }
    let next = device(region, &[span])?;
    check("marked pages", marked(&next)?, vec![0, 700, 1023])
}

fn zero_spares_a_page_that_failed_under_kmem(region: &Region) -> Outcome {
    set(region, true)?;
    let span = dirty_blocks(region, 1)?;
    let page = 777;
    // Zeroed when the device got it, so give the page something to be recognised by.
    let other = device(region, &[span])?;
    mark(&other)?;
    other.unbind()?;
    lend_to_kmem(&other, || fail_page(span.start + page * PAGE))?;
    other.bind(Driver::DeviceDax)?;
    // The page allocator of a debug kernel writes a pattern of its own.
    check("pages that are not zero", not_zero(&other)?, vec![page])
}

fn zero_knows_a_failed_page_only_while_the_region_lasts(region: &Region) -> Outcome {
    set(region, true)?;
    let span = region.units(5, 1);
    fail_under_device_dax(region, span, 3)?;
    let region = Region::fresh()?;
    set(&region, true)?;
    let next = device(&region, &[span])?;
    check("marked pages", marked(&next)?, vec![])
}
