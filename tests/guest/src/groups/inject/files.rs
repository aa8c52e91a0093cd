// SPDX-License-Identifier: GPL-2.0
//! Files of devices, and their mappings.

use crate::device::{Device, Driver};
use crate::errno::Errno;
use crate::inject::{injector_of_pages, Operation};
use crate::ktap::{Outcome, Test};
use crate::mmap::{self, Map};
use crate::region::Region;
use crate::sysfs::{self, Error};
use crate::test;
use crate::units::{PAGE, UNIT};
use std::fs::File;

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(open_without_memory_changes_nothing).slow(),
    test!(mmap_without_memory_changes_nothing).slow(),
    test!(first_touch_of_a_page_without_memory_gives_the_page).slow(),
    test!(first_touch_of_a_huge_page_without_memory_gives_the_page).slow(),
    test!(munmap_of_a_part_without_memory_changes_nothing).slow(),
];

/// An address near which nothing is mapped, so that the first touch needs page tables.
const FAR: usize = 0x6000_0000_0000;

/// A bound device of two ranges.
fn bound(region: &Region, align: u64) -> sysfs::Result<Device> {
    region.create_bound(align, &[region.units(3, 2), region.units(0, 1)])
}

/// Undoes nothing, because the result is dropped with the prepared value.
fn nothing() -> sysfs::Result<()> {
    Ok(())
}

/// Opens the device's node.
fn opened(device: &Device) -> sysfs::Result<File> {
    mmap::open(&device.node()).map_err(|e| Error::new(format!("open {}", device.name()), e))
}

fn open_without_memory_changes_nothing(region: &Region) -> Outcome {
    let device = bound(region, UNIT)?;
    let node = device.node();
    Operation::new(
        "open",
        || Ok(None),
        |file| {
            *file = Some(mmap::open(&node)?);
            Ok(())
        },
        nothing,
    )
    .walk(region, &injector_of_pages()?)
}

fn mmap_without_memory_changes_nothing(region: &Region) -> Outcome {
    let device = bound(region, UNIT)?;
    Operation::new(
        "mmap",
        || Ok((opened(&device)?, None)),
        |(file, map)| {
            *map = Some(Map::shared(file, 3 * UNIT, 0)?);
            Ok(())
        },
        nothing,
    )
    .walk(region, &injector_of_pages()?)
}

/// The first store to a mapping; the kernel tries a fault again for which it had no memory.
fn first_touch(region: &Region, align: u64) -> Outcome {
    let device = bound(region, align)?;
    Operation::new(
        format!("first touch of {align} bytes"),
        || {
            let map = Map::at(&opened(&device)?, FAR, 3 * UNIT, 0);
            map.map_err(|e| Error::new(format!("mmap {}", device.name()), e))
        },
        |map| match map.store(2 * UNIT + PAGE, align) {
            Ok(()) if map.load(2 * UNIT + PAGE) == Ok(align) => Ok(()),
            _ => Err(Errno::EFAULT),
        },
        nothing,
    )
    .failing_at_most(0)
    .walk(region, &injector_of_pages()?)?;
    Ok(device
        .unbind()
        .and_then(|()| device.bind(Driver::DeviceDax))?)
}

fn first_touch_of_a_page_without_memory_gives_the_page(region: &Region) -> Outcome {
    first_touch(region, PAGE)
}

fn first_touch_of_a_huge_page_without_memory_gives_the_page(region: &Region) -> Outcome {
    first_touch(region, UNIT)
}

fn munmap_of_a_part_without_memory_changes_nothing(region: &Region) -> Outcome {
    let device = bound(region, UNIT)?;
    Operation::new(
        "munmap of the middle",
        || {
            let map = Map::whole(&device)?;
            for offset in [0, UNIT, 2 * UNIT] {
                map.store(offset, offset)
                    .map_err(|signal| Error::state(format!("store: {signal:?}")))?;
            }
            Ok(map)
        },
        |map| map.unmap(UNIT, UNIT),
        nothing,
    )
    .walk(region, &injector_of_pages()?)
}
