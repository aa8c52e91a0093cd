// SPDX-License-Identifier: GPL-2.0
//! kmem had the memory of a device. The driver zeroes it before another driver gets it.

use super::{dirty_blocks, lend_to_kmem, mark, marked, not_zero, pages, set, NOT_IN_C};
use crate::device::{Device, Driver};
use crate::family;
use crate::ktap::{check, Failure, Outcome, Test};
use crate::region::Region;
use crate::test;
use crate::units::{Span, PAGE};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(zero_after_kmem).not_on_c(NOT_IN_C),
    test!(zero_after_kmem_is_for_other_drivers).not_on_c(NOT_IN_C),
];

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

fn zero_after_kmem_is_for_other_drivers(region: &Region) -> Outcome {
    let span = dirty_blocks(region, 1)?;
    let device = used_by_kmem(region, span)?;
    set(region, true)?;
    // kmem itself gets the memory as it is.
    lend_to_kmem(&device, || Ok(()))?;
    if family::require_fsdev().is_ok() {
        device.bind_by_id(Driver::FsdevDax)?;
        device.unbind()?;
        device.forget()?;
        // fsdev_dax has seen zeroes, so nothing is left to be zeroed.
        set(region, false)?;
    }
    device.bind(Driver::DeviceDax)?;
    check("marked pages", marked(&device)?, vec![])
}
