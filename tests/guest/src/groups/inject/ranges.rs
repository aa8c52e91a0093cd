// SPDX-License-Identifier: GPL-2.0
//! Creating and deleting devices, and changing their ranges.

use super::THE_COPY;
use crate::device::{mapping_text, mappings_text, Device, Driver};
use crate::errno::Errno;
use crate::inject::{injector, Operation};
use crate::iomem;
use crate::ktap::{check, Outcome, Test};
use crate::mmap::{self, Map};
use crate::node::Node;
use crate::region::Region;
use crate::sysfs::{self, Error};
use crate::test;
use crate::units::{PAGE, UNIT};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(create_without_memory_changes_nothing)
        .not_on_c("deadlocks")
        .slow(),
    test!(delete_without_memory_does_all_or_nothing).slow(),
    test!(growth_over_holes_without_memory_changes_nothing).slow(),
    test!(growth_that_is_zeroed_without_memory_changes_nothing)
        .slow()
        .not_on_c("zeroes no memory"),
    test!(growth_of_last_range_without_memory_changes_nothing).slow(),
    test!(shrink_without_memory_does_all_or_nothing).slow(),
    test!(release_without_memory_does_all_or_nothing).slow(),
    test!(mapping_without_memory_changes_nothing).slow(),
    test!(several_mappings_without_memory_change_nothing)
        .slow()
        .not_on_c("takes one range a write"),
    test!(align_without_memory_does_all_or_nothing).slow(),
];

/// A device of one unit. The holes are three of one and of two units, and the rest.
fn in_holes(region: &Region) -> Result<Device, crate::ktap::Failure> {
    let device = region.create_over(&[region.units(0, 1)])?;
    region.create_over(&[1, 3, 6].map(|unit| region.units(unit, 1)))?;
    Ok(device)
}

/// Checks that a driver gets what sysfs shows of a device: each of its ranges, from the first word
/// to the last.
fn used(device: &Device) -> Outcome {
    device.bind(Driver::DeviceDax)?;
    let mut spans = device.spans()?;
    spans.sort();
    check("reserved", iomem::named(device.name())?, spans)?;
    // The node in /dev may remember the former binding until the kernel has let go of it, which
    // takes a debug kernel seconds.
    let node = Node::of(device)?;
    let failed = |errno| Error::new(format!("map {}", device.name()), errno);
    let file = mmap::open(node.path()).map_err(failed)?;
    let map = Map::shared(&file, device.size()?, 0).map_err(failed)?;
    for range in device.ranges()? {
        let start = range.page_offset * PAGE;
        for word in [start, start + range.span.len() - 8] {
            check("store", map.store(word, word + 1), Ok(()))?;
            check("load", map.load(word), Ok(word + 1))?;
        }
        let frame = map.frames(start, 1)?[0];
        check("frame", frame, Some(range.span.start / PAGE))?;
    }
    drop((map, file));
    Ok(device.unbind()?)
}

fn create_without_memory_changes_nothing(region: &Region) -> Outcome {
    let created = Device::named("dax0.1");
    Operation::write(region.attr("create"), "1", || region.delete(&created))
        .walk(region, &injector()?)
}

fn delete_without_memory_does_all_or_nothing(region: &Region) -> Outcome {
    let device = region.create()?;
    Operation::write(region.attr("delete"), device.name(), || {
        region.create().map(drop)
    })
    .failing_at_most(THE_COPY)
    .walk(region, &injector()?)
}

fn growth_over_holes_without_memory_changes_nothing(region: &Region) -> Outcome {
    let device = in_holes(region)?;
    used(&device)?;
    Operation::write(device.attr("size"), (8 * UNIT).to_string(), || {
        device.set_size(UNIT)
    })
    .trying_out(|| used(&device))
    .walk(region, &injector()?)
}

fn growth_that_is_zeroed_without_memory_changes_nothing(region: &Region) -> Outcome {
    let device = in_holes(region)?;
    used(&device)?;
    sysfs::write(&region.attr("zero_on_alloc"), "1")?;
    Operation::write(device.attr("size"), (5 * UNIT).to_string(), || {
        device.set_size(UNIT)
    })
    // The kernel does not say why it reserved nothing in /proc/iomem, so EBUSY it is, as for bind.
    .or(Errno::EBUSY)
    .trying_out(|| used(&device))
    .walk(region, &injector()?)
}

fn growth_of_last_range_without_memory_changes_nothing(region: &Region) -> Outcome {
    let device = region.create_sized(UNIT)?;
    used(&device)?;
    Operation::write(device.attr("size"), (3 * UNIT).to_string(), || {
        device.set_size(UNIT)
    })
    .trying_out(|| used(&device))
    .walk(region, &injector()?)
}

fn shrink_without_memory_does_all_or_nothing(region: &Region) -> Outcome {
    let device = in_holes(region)?;
    device.set_size(8 * UNIT)?;
    used(&device)?;
    Operation::write(device.attr("size"), (3 * UNIT).to_string(), || {
        device.set_size(8 * UNIT)
    })
    .trying_out(|| used(&device))
    // A cut range leaves a new hole, which needs a tree node.
    .failing_at_most(THE_COPY + 1)
    .walk(region, &injector()?)
}

fn release_without_memory_does_all_or_nothing(region: &Region) -> Outcome {
    let device = in_holes(region)?;
    device.set_size(8 * UNIT)?;
    used(&device)?;
    Operation::write(device.attr("size"), "0", || device.set_size(8 * UNIT))
        .trying_out(|| used(&device))
        .failing_at_most(THE_COPY)
        .walk(region, &injector()?)
}

fn mapping_without_memory_changes_nothing(region: &Region) -> Outcome {
    let device = region.create_over(&[region.units(4, 1)])?;
    used(&device)?;
    let text = mapping_text(region.units(2, 1));
    Operation::write(device.attr("mapping"), text, || device.set_size(UNIT))
        .trying_out(|| used(&device))
        .walk(region, &injector()?)
}

fn several_mappings_without_memory_change_nothing(region: &Region) -> Outcome {
    let device = region.create_over(&[region.units(4, 1)])?;
    used(&device)?;
    let spans = [region.units(8, 1), region.units(2, 1), region.units(6, 1)];
    let text = mappings_text(&spans, " ");
    Operation::write(device.attr("mapping"), text, || device.set_size(UNIT))
        .trying_out(|| used(&device))
        .walk(region, &injector()?)
}

fn align_without_memory_does_all_or_nothing(region: &Region) -> Outcome {
    let device = region.create_sized(UNIT)?;
    Operation::write(device.attr("align"), PAGE.to_string(), || {
        device.set_align(UNIT)
    })
    .failing_at_most(THE_COPY)
    .walk(region, &injector()?)
}
