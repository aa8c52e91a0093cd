// SPDX-License-Identifier: GPL-2.0
//! The driver refuses what the machine does not allow. The region is made up: no memory is behind
//! it, so the tests never touch it. It crosses the end of a PCI window, so memory across that end
//! cannot be reserved. A second region is not aligned. The processor has no pages of 1 GiB.

use super::bind::iomem;
use crate::compare::log::Log;
use crate::device::{Device, Driver};
use crate::errno::Errno;
use crate::grace;
use crate::ktap::{check, deviates, skip, Failure, Outcome, Test};
use crate::region::Region;
use crate::sysfs;
use crate::test;
use crate::units::{Span, GIB, UNIT};
use std::fs;
use std::path::Path;

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(target_node_of_memory_without_node_is_absent),
    test!(align_of_one_gib_without_such_pages_gives_einval),
    test!(region_of_misaligned_memory_is_refused),
    test!(bind_of_reserved_memory_gives_ebusy_and_reserves_nothing),
    test!(bind_of_reserved_memory_can_be_repeated),
    test!(bind_of_reserved_memory_leaves_the_device_resizable),
    test!(bind_of_reserved_memory_leaves_the_device_deletable),
    test!(bind_of_reserved_memory_leaves_grace_periods_ordinary),
];

fn target_node_of_memory_without_node_is_absent(region: &Region) -> Outcome {
    let device = region.first_device()?;
    check("target_node", device.attr("target_node").exists(), false)?;
    let node = sysfs::read(&device.attr("numa_node"))?;
    check("numa_node is a number", node.parse::<i32>().is_ok(), true)
}

fn align_of_one_gib_without_such_pages_gives_einval(region: &Region) -> Outcome {
    let flags = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    if flags.contains(" pdpe1gb") {
        return skip("the processor has pages of 1 GiB");
    }
    let device = region.create()?;
    let aligned = device.try_write("align", "1073741824");
    // The C driver does not look, and its page table entries would be corrupt.
    check("write", aligned, deviates(Err(Errno::EINVAL), Ok(10)))?;
    check("align", device.align()?, deviates(UNIT, GIB))
}

fn region_of_misaligned_memory_is_refused(region: &Region) -> Outcome {
    let second = region.hmem().replace(".0", ".1");
    if !Path::new("/sys/bus/platform/devices")
        .join(&second)
        .exists()
    {
        return skip("no second region");
    }
    let bind = Path::new("/sys/bus/platform/drivers/hmem/bind");
    let mut log = Log::open()?;
    let bound = sysfs::try_write(bind, second.as_bytes());
    check(format!("bind of {second}"), bound, Err(Errno::ENOMEM))?;
    let others: Vec<Device> = Device::all()
        .into_iter()
        .filter(|device| !device.name().starts_with("dax0."))
        .collect();
    check("devices of other regions", others, vec![])?;
    let lines = log.lines()?;
    let said = lines.iter().filter(|line| line.contains("is not aligned"));
    // The C driver leaves the user to find out.
    check(format!("said in {lines:?}"), said.count(), deviates(1, 0))
}

/// The first byte behind a PCI window that ends within the region.
fn window_end(region: &Region) -> Result<u64, Failure> {
    let iomem = fs::read_to_string("/proc/iomem").unwrap_or_default();
    let all = region.span();
    let end = iomem
        .lines()
        .filter_map(|line| line.trim_start().split_once(" : PCI Bus"))
        .filter_map(|(span, _)| u64::from_str_radix(span.split_once('-')?.1, 16).ok())
        .map(|last| last + 1)
        .find(|end| (all.start + GIB..all.end - GIB).contains(end));
    end.map_or_else(|| skip("no PCI window ends within the region"), Ok)
}

/// The answer to a bind.
fn try_bind(device: &Device) -> Result<(), Errno> {
    Driver::DeviceDax.try_write("bind", device.name()).map(drop)
}

/// Two ranges, of which the first could be bound alone.
fn reserved(region: &Region) -> Result<Device, Failure> {
    let across = Span::at(window_end(region)? - UNIT, 2 * UNIT);
    Ok(region.create_over(&[region.units(4, 2), across])?)
}

fn bind_of_reserved_memory_gives_ebusy_and_reserves_nothing(region: &Region) -> Outcome {
    let device = reserved(region)?;
    check("bind", try_bind(&device), Err(Errno::EBUSY))?;
    check("driver", device.driver(), None)?;
    check("reserved", iomem(device.name()), 0)
}

fn bind_of_reserved_memory_can_be_repeated(region: &Region) -> Outcome {
    let device = reserved(region)?;
    check("bind", try_bind(&device), Err(Errno::EBUSY))?;
    for _ in 0..3 {
        // The C driver does not recover from the first attempt.
        let expected = deviates(Errno::EBUSY, Errno::EINVAL);
        check("bind again", try_bind(&device), Err(expected))?;
    }
    Ok(())
}

fn bind_of_reserved_memory_leaves_the_device_resizable(region: &Region) -> Outcome {
    let device = reserved(region)?;
    check("bind", try_bind(&device), Err(Errno::EBUSY))?;
    device.set_size(2 * UNIT)?;
    let expected = deviates(Ok(()), Err(Errno::EINVAL));
    check("bind without the conflict", try_bind(&device), expected)?;
    check("reserved", iomem(device.name()), deviates(1, 0))
}

fn bind_of_reserved_memory_leaves_the_device_deletable(region: &Region) -> Outcome {
    let device = reserved(region)?;
    check("bind", try_bind(&device), Err(Errno::EBUSY))?;
    region.destroy(&device)?;
    let next = region.create_over(&[region.units(4, 2)])?;
    check("name", next.name(), device.name())?;
    check("bind of the next", try_bind(&next), Ok(()))
}

fn bind_of_reserved_memory_leaves_grace_periods_ordinary(region: &Region) -> Outcome {
    let device = reserved(region)?;
    for _ in 0..3 {
        check("bind", try_bind(&device).is_err(), true)?;
        grace::check_ordinary("after a bind that failed")?;
    }
    Ok(())
}
