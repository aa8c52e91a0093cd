// SPDX-License-Identifier: GPL-2.0
//! Pages that memory-failure handling has marked are not zeroed.

use super::{device, dirty_blocks, lend_to_kmem, mark, marked, not_zero, pages, set, NOT_IN_C};
use crate::device::Driver;
use crate::ktap::{check, needs_memory_failure, Outcome, Test};
use crate::region::Region;
use crate::sysfs;
use crate::test;
use crate::units::{Span, PAGE, UNIT};
use std::path::Path;

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(zero_spares_a_page_that_failed_under_device_dax).not_on_c(NOT_IN_C),
    test!(zero_spares_a_page_that_failed_under_kmem).not_on_c(NOT_IN_C),
    test!(zero_knows_a_failed_page_only_while_the_region_lasts).not_on_c(NOT_IN_C),
];

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
    needs_memory_failure()?;
    set(region, true)?;
    let span = region.units(5, 2);
    // The first page, one of the second unit, and the last.
    let failed = [0, UNIT / PAGE + 188, pages(&[span]) - 1];
    for page in failed {
        fail_under_device_dax(region, span, page)?;
    }
    let next = device(region, &[span])?;
    check("marked pages", marked(&next)?, failed.to_vec())
}

fn zero_spares_a_page_that_failed_under_kmem(region: &Region) -> Outcome {
    needs_memory_failure()?;
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
    needs_memory_failure()?;
    set(region, true)?;
    let span = region.units(5, 1);
    fail_under_device_dax(region, span, 3)?;
    let region = Region::fresh()?;
    set(&region, true)?;
    let next = device(&region, &[span])?;
    check("marked pages", marked(&next)?, vec![])
}
