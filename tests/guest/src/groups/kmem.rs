// SPDX-License-Identifier: GPL-2.0
//! The C driver kmem on this bus: it reads the structures of the Rust driver. The region is the
//! memory of a NUMA node, and the kernel may put page structures into hotplugged memory.

use crate::device::{Device, Driver};
use crate::errno::Errno;
use crate::family;
use crate::kernel;
use crate::ktap::{check, skip, Failure, Outcome, Test};
use crate::memory;
use crate::region::{self, Region};
use crate::sysfs;
use crate::test;
use crate::units::{Span, PAGE, UNIT};
use std::path::Path;

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(kmem_by_id_adds_every_range),
    test!(kmem_memory_belongs_to_the_target_node),
    test!(kmem_device_refuses_changes_with_ebusy),
    test!(kmem_skips_ranges_smaller_than_a_block),
    test!(kmem_state_can_be_changed),
    test!(kmem_region_unbind_removes_offline_memory),
    test!(kmem_takes_a_region_that_is_not_idle),
    test!(kmem_absent_leaves_a_region_that_is_not_idle_unbound),
    test!(memmap_on_memory_can_be_switched),
    test!(memmap_on_memory_of_kmem_device_gives_ebusy),
    test!(memmap_on_memory_of_a_device_that_kmem_refused_can_be_switched),
    test!(device_target_node_is_that_of_the_memory),
];

/// So many memory blocks, the first so many blocks after the start of the region.
fn blocks(region: &Region, first: u64, len: u64) -> Result<Span, Failure> {
    let size = memory::block_size()?;
    let start = region.span().start.next_multiple_of(size) + first * size;
    Ok(Span::at(start, len * size))
}

/// A device of two blocks and, below them, one.
fn two_ranges(region: &Region) -> Result<Device, Failure> {
    Ok(region.create_over(&[blocks(region, 4, 2)?, blocks(region, 1, 1)?])?)
}

/// The memory blocks that exist within a span.
fn present(span: Span) -> Result<usize, Failure> {
    Ok(memory::blocks(span)?.len())
}

fn kmem_by_id_adds_every_range(region: &Region) -> Outcome {
    let device = two_ranges(region)?;
    let spans = device.spans()?;
    check(
        "without id",
        Driver::Kmem.try_write("bind", device.name()),
        Err(Errno::ENODEV),
    )?;
    device.bind_by_id(Driver::Kmem)?;
    check("first range", present(spans[0])?, 2)?;
    check("second range", present(spans[1])?, 1)?;
    check("whole region", present(region.span())?, 3)?;
    device.unbind()?;
    check("after unbind", present(region.span())?, 0)
}

fn kmem_memory_belongs_to_the_target_node(region: &Region) -> Outcome {
    let device = two_ranges(region)?;
    let node = sysfs::read_number(&device.attr("target_node"))?;
    device.bind_by_id(Driver::Kmem)?;
    for span in device.spans()? {
        for block in memory::blocks(span)? {
            let link = block.join(format!("node{node}"));
            check(link.display(), link.exists(), true)?;
        }
    }
    Ok(())
}

fn kmem_device_refuses_changes_with_ebusy(region: &Region) -> Outcome {
    let device = two_ranges(region)?;
    device.bind_by_id(Driver::Kmem)?;
    let before = device.ranges()?;
    let free = crate::device::mapping_text(blocks(region, 8, 1)?);
    for (attr, text) in [("size", "0"), ("align", &PAGE.to_string())] {
        check(attr, device.try_write(attr, text), Err(Errno::EBUSY))?;
    }
    if kernel::driver() == kernel::Impl::Rust {
        check(
            "mapping",
            device.try_write("mapping", &free),
            Err(Errno::EBUSY),
        )?;
    }
    let deleted = region.try_write("delete", device.name());
    check("delete", deleted, Err(Errno::EBUSY))?;
    check("ranges", device.ranges()?, before)
}

fn kmem_skips_ranges_smaller_than_a_block(region: &Region) -> Outcome {
    let block = blocks(region, 2, 1)?;
    let small = Span::at(blocks(region, 5, 1)?.start, UNIT);
    let device = region.create_over(&[small, block])?;
    device.bind_by_id(Driver::Kmem)?;
    check("blocks", present(region.span())?, 1)?;
    device.unbind()?;
    check("after unbind", present(region.span())?, 0)
}

fn kmem_state_can_be_changed(region: &Region) -> Outcome {
    let device = two_ranges(region)?;
    device.bind_by_id(Driver::Kmem)?;
    let state = device.attr("state");
    if !state.exists() {
        return skip("kmem of this kernel has no state attribute");
    }
    check("state", sysfs::read(&state)?, "offline".into())?;
    for (text, blocks) in [("unplugged", 0), ("online_movable", 3), ("unplugged", 0)] {
        sysfs::write(&state, text)?;
        check("state", sysfs::read(&state)?, text.into())?;
        check("blocks", present(region.span())?, blocks)?;
    }
    Ok(())
}

fn kmem_region_unbind_removes_offline_memory(region: &Region) -> Outcome {
    let device = two_ranges(region)?;
    device.bind_by_id(Driver::Kmem)?;
    region.unbind()?;
    check("blocks", present(region.span())?, 0)?;
    region.bind()?;
    check("devices", region.devices()?.len(), 1)
}

fn kmem_takes_a_region_that_is_not_idle(region: &Region) -> Outcome {
    region.unbind()?;
    region::set_idle(false)?;
    region.bind()?;
    let device = region.first_device()?;
    check("driver", device.driver(), Some("kmem".into()))?;
    check("ranges", device.spans()?, vec![region.span()])?;
    let count = region.span().len() / memory::block_size()?;
    check("blocks", present(region.span())? as u64, count)?;
    // By type it belongs to kmem alone; by id device_dax takes it as well.
    device.unbind()?;
    let bound = Driver::DeviceDax.try_write("bind", device.name());
    check("device_dax by type", bound, Err(Errno::ENODEV))?;
    device.bind_by_id(Driver::DeviceDax)?;
    check("driver", device.driver(), Some("device_dax".into()))
}

fn kmem_absent_leaves_a_region_that_is_not_idle_unbound(region: &Region) -> Outcome {
    family::require_modules()?;
    region.unbind()?;
    kernel::modprobe_remove("kmem")?;
    region::set_idle(false)?;
    region.bind()?;
    let device = region.first_device()?;
    check("size", device.size()?, region.span().len())?;
    check("driver", device.driver(), None)?;
    kernel::modprobe(&["kmem"])?;
    check("driver with kmem", device.driver(), Some("kmem".into()))
}

/// The attribute's text, after a write that must succeed.
fn switch(device: &Device, text: &str) -> Result<String, Failure> {
    sysfs::write(&device.attr("memmap_on_memory"), text)?;
    Ok(sysfs::read(&device.attr("memmap_on_memory"))?)
}

/// Skips where no memory block has room for its own page structures: the kernel maps these with
/// whole entries of a PMD, and with pages of more than 4 KiB they do not fill one.
fn needs_memmap_on_memory(device: &Device) -> Outcome {
    // 64 bytes a page.
    let structures = memory::block_size()? / PAGE * 64;
    let written = || device.try_write("memmap_on_memory", "1");
    if structures % UNIT != 0 && written() == Err(Errno::EOPNOTSUPP) {
        return skip("the page structures of a memory block do not fill a huge page");
    }
    Ok(())
}

fn memmap_on_memory_can_be_switched(region: &Region) -> Outcome {
    let supported = Path::new("/sys/module/memory_hotplug/parameters/memmap_on_memory");
    if sysfs::read(supported).unwrap_or_default() == "N" {
        return skip("needs memory_hotplug.memmap_on_memory=1");
    }
    let device = two_ranges(region)?;
    needs_memmap_on_memory(&device)?;
    for (text, value) in [
        ("1", "1"),
        ("0\n", "0"),
        ("y\n\0", "1"),
        ("off", "0"),
        ("1", "1"),
    ] {
        check(format!("{text:?}"), switch(&device, text)?, value.into())?;
    }
    // Another driver than kmem does not care.
    device.bind(Driver::DeviceDax)?;
    check("bound to device_dax", switch(&device, "0")?, "0".into())
}

fn memmap_on_memory_of_kmem_device_gives_ebusy(region: &Region) -> Outcome {
    let device = two_ranges(region)?;
    needs_memmap_on_memory(&device)?;
    check("before", switch(&device, "1")?, "1".into())?;
    device.bind_by_id(Driver::Kmem)?;
    let changed = device.try_write("memmap_on_memory", "0");
    check("another value", changed, Err(Errno::EBUSY))?;
    check("the same value", switch(&device, "1")?, "1".into())?;
    check("blocks", present(region.span())?, 3)?;
    device.unbind()?;
    check("after unbind", switch(&device, "0")?, "0".into())
}

fn memmap_on_memory_of_a_device_that_kmem_refused_can_be_switched(region: &Region) -> Outcome {
    let block = blocks(region, 2, 1)?;
    // Too small to be memory.
    let device = region.create_over(&[Span::at(block.start, UNIT)])?;
    needs_memmap_on_memory(&device)?;
    for attr in ["new_id", "bind"] {
        // A writer of new_id is not told that the bind failed.
        let expected = match attr {
            "bind" => Err(Errno::EINVAL),
            _ => Ok(device.name().len()),
        };
        check(attr, Driver::Kmem.try_write(attr, device.name()), expected)?;
        check("driver", device.driver(), None)?;
        for text in ["1", "0", "1"] {
            check(text, switch(&device, text)?, text.into())?;
        }
    }
    // Nor does anything else remember it.
    device.set_size(0)?;
    device.add_mapping(block)?;
    device.bind(Driver::Kmem)?;
    check("blocks", present(region.span())?, 1)?;
    let changed = device.try_write("memmap_on_memory", "0");
    check("bound", changed, Err(Errno::EBUSY))
}

fn device_target_node_is_that_of_the_memory(region: &Region) -> Outcome {
    let device = region.create()?;
    let text = sysfs::read_raw(&device.attr("target_node"))?;
    check("target_node", text, "1\n".into())
}
