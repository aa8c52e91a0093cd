// SPDX-License-Identifier: GPL-2.0
//! kmem on devices of one and of several ranges: the addresses that it reserves, the memory blocks
//! that appear, the growth of the node, and that all of it goes again.

use crate::daxctl;
use crate::device::{Device, Driver};
use crate::errno::Errno;
use crate::iomem;
use crate::json;
use crate::ktap::{check, skip, Failure, Outcome, Rows, Test};
use crate::memory;
use crate::mmap::Map;
use crate::region::Region;
use crate::sysfs;
use crate::test;
use crate::units::{Span, PAGE};
use serde_json::json;

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(kmem_memory_goes_online_and_offline_range_by_range),
    test!(kmem_takes_what_a_device_has_after_each_change),
    test!(kmem_gives_devices_back_page_by_page),
    test!(daxctl_makes_memory_of_every_range_and_back),
    test!(state_moves_every_range_at_once),
    test!(state_refuses_what_it_cannot_do),
    test!(state_does_not_mind_blocks_that_are_offline),
    test!(bind_follows_the_policy_of_the_machine),
];

/// The name of kmem's memory in /proc/iomem.
const SYSTEM_RAM: &str = "System RAM (kmem)";
/// The node that all of the region's memory belongs to.
const NODE: u64 = 1;

/// The shapes of devices: the first block and the number of blocks of each range.
const SHAPES: &[&[(u64, u64)]] = &[
    &[(2, 3)],
    &[(4, 2), (1, 1)],
    &[(9, 1), (1, 2), (5, 1)],
    // Next to each other, but in two ranges.
    &[(3, 1), (2, 1)],
];

/// A device of that shape. `on_memory` says where its page structures will be.
fn device_of(region: &Region, shape: &[(u64, u64)], on_memory: bool) -> Result<Device, Failure> {
    let block = memory::block_size()?;
    let base = region.span().start;
    check("region begins with a block", base % block, 0)?;
    let spans: Vec<Span> = shape
        .iter()
        .map(|&(first, len)| Span::at(base + first * block, len * block))
        .collect();
    let device = region.create_over(&spans)?;
    check("ranges", device.spans()?.len(), shape.len())?;
    let text = if on_memory { "1" } else { "0" };
    sysfs::write(&device.attr("memmap_on_memory"), text)?;
    Ok(device)
}

/// The reason for which no memory can be plugged in with its page structures on it, if there is
/// one. arm64 maps these with large entries, and refuses to split one when memory goes offline.
pub const NEVER_ON_MEMORY: Option<&str> = if cfg!(target_arch = "aarch64") {
    Some("arm64 does not let memory go offline that has its page structures on it")
} else {
    None
};

/// Runs a test on each shape, with the page structures in either place.
fn on_each_shape(region: &Region, run: fn(&Region, &Device, bool) -> Outcome) -> Outcome {
    let mut rows = Rows::default();
    for shape in SHAPES {
        for on_memory in [false, true] {
            if let Some(why) = NEVER_ON_MEMORY.filter(|_| on_memory) {
                rows.add(format!("{shape:?}, on memory: {on_memory}"), skip(why));
                continue;
            }
            let outcome = device_of(region, shape, on_memory).and_then(|device| {
                let ran = run(region, &device, on_memory);
                // The next shape needs the memory, whether this one passed or not.
                device.forget()?;
                region.destroy(&device)?;
                ran
            });
            let skipped = matches!(outcome, Err(Failure::Skip(_)));
            if skipped {
                return outcome;
            }
            rows.add(format!("{shape:?}, on memory: {on_memory}"), outcome);
        }
    }
    rows.finish()
}

/// The spans of a device in the order of /proc/iomem.
fn sorted(device: &Device) -> Result<Vec<Span>, Failure> {
    let mut spans = device.spans()?;
    spans.sort();
    Ok(spans)
}

/// The number of bytes by which the node grows when all of a device is online.
fn growth(device: &Device, on_memory: bool) -> Result<u64, Failure> {
    let size = device.size()?;
    // 64 bytes a page.
    let page_structures = if on_memory { size / PAGE * 64 } else { 0 };
    Ok(size - page_structures)
}

/// Checks what /proc/iomem, sysfs and daxctl say of a device whose memory is plugged in, with every
/// block in that state.
fn check_present(region: &Region, device: &Device, state: &str) -> Outcome {
    let spans = sorted(device)?;
    check("reserved", iomem::named(device.name())?, spans.clone())?;
    check(SYSTEM_RAM, iomem::named(SYSTEM_RAM)?, spans.clone())?;
    let count = device.size()? / memory::block_size()?;
    let mut states = Vec::new();
    for &span in &spans {
        states.extend(memory::states(span)?);
        for block in memory::blocks(span)? {
            let link = block.join(format!("node{NODE}"));
            check(link.display(), link.exists(), true)?;
        }
    }
    check("states", states, vec![state.to_owned(); count as usize])?;
    let all = memory::blocks(region.span())?.len() as u64;
    check("blocks in the whole region", all, count)?;
    let listed = daxctl::list(device)?;
    check("mappings", daxctl::ranges(&listed)?, device.ranges()?)?;
    json::check_members(&listed, &[("mode", json!("system-ram"))])?;
    // libdaxctl counts the blocks of one range, as long as the device, from its first address on.
    let seen = Span::at(device.resource()?, device.size()?);
    let total = memory::blocks(seen)?.len();
    json::check_members(&listed, &[("total_memblocks", json!(total))])
}

/// Checks what they say of a device, bound or not, whose memory is not plugged in.
fn check_absent(region: &Region, device: &Device) -> Outcome {
    check("reserved", iomem::named(device.name())?, vec![])?;
    check(SYSTEM_RAM, iomem::named(SYSTEM_RAM)?, vec![])?;
    check("blocks", memory::blocks(region.span())?.len(), 0)
}

/// Onlines or offlines all of a device, block by block.
fn set_blocks(device: &Device, online: bool) -> sysfs::Result<()> {
    for span in device.spans()? {
        if online {
            memory::online(span, "online_movable")?;
        } else {
            memory::offline(span)?;
        }
    }
    Ok(())
}

fn kmem_memory_goes_online_and_offline_range_by_range(region: &Region) -> Outcome {
    on_each_shape(region, |region, device, on_memory| {
        let before = memory::of_node(NODE)?;
        device.bind_by_id(Driver::Kmem)?;
        for _ in 0..2 {
            check_present(region, device, "offline")?;
            check("memory of the node", memory::of_node(NODE)?, before)?;
            set_blocks(device, true)?;
            check_present(region, device, "online")?;
            let grown = memory::of_node(NODE)? - before;
            check("growth of the node", grown, growth(device, on_memory)?)?;
            set_blocks(device, false)?;
        }
        device.unbind()?;
        check("memory of the node", memory::of_node(NODE)?, before)?;
        check_absent(region, device)
    })
}

/// kmem reads the ranges where the C driver has them.
fn kmem_takes_what_a_device_has_after_each_change(region: &Region) -> Outcome {
    let block = memory::block_size()?;
    let device = device_of(region, &[(9, 1), (1, 2), (5, 2)], false)?;
    let separator = device_of(region, &[(0, 1)], false)?;
    // Into the last range, to the end of one, into the middle one; over holes again.
    for blocks in [4, 3, 2, 6, 1, 8] {
        device.set_size(blocks * block)?;
        device.bind_by_id(Driver::Kmem)?;
        check_present(region, &device, "offline")?;
        set_blocks(&device, true)?;
        check_present(region, &device, "online")?;
        set_blocks(&device, false)?;
        device.unbind()?;
        check_absent(region, &device)?;
    }
    region.destroy(&separator).map_err(Failure::from)
}

fn kmem_gives_devices_back_page_by_page(region: &Region) -> Outcome {
    on_each_shape(region, |region, device, on_memory| {
        let ranges = device.ranges()?;
        device.bind_by_id(Driver::Kmem)?;
        set_blocks(device, true)?;
        set_blocks(device, false)?;
        device.unbind()?;
        device.forget()?;
        check_absent(region, device)?;
        device.bind(Driver::DeviceDax)?;
        check("ranges", device.ranges()?, ranges.clone())?;
        let map = Map::whole(device)?;
        let seed = u64::from(on_memory);
        for range in &ranges {
            for offset in [0, range.span.len() - 8] {
                let offset = range.page_offset * PAGE + offset;
                check("store", map.store(offset, offset ^ seed), Ok(()))?;
            }
        }
        for range in &ranges {
            for offset in [0, range.span.len() - 8] {
                let offset = range.page_offset * PAGE + offset;
                check("load", map.load(offset), Ok(offset ^ seed))?;
                let page = offset / PAGE * PAGE;
                let expected = range.span.start / PAGE + page / PAGE - range.page_offset;
                let frame = map.frames(page, 1)?[0];
                check("frame", frame, Some(expected))?;
            }
        }
        Ok(())
    })
}

fn daxctl_makes_memory_of_every_range_and_back(region: &Region) -> Outcome {
    on_each_shape(region, |region, device, on_memory| {
        let before = memory::of_node(NODE)?;
        let ranges = device.ranges()?;
        daxctl::reconfigure(device, &["-N", "-m", "system-ram"])?;
        check("driver", device.driver(), Some("kmem".into()))?;
        check_present(region, device, "offline")?;
        // daxctl itself brings the first range online.
        daxctl::run(&["online-memory", device.name()])?;
        let first = memory::states(ranges[0].span)?;
        check(
            "states of the first range",
            first.iter().all(|s| s == "online"),
            true,
        )?;
        for range in &ranges[1..] {
            memory::online(range.span, "online_movable")?;
        }
        check_present(region, device, "online")?;
        let grown = memory::of_node(NODE)? - before;
        check("growth of the node", grown, growth(device, on_memory)?)?;
        for range in &ranges[1..] {
            memory::offline(range.span)?;
        }
        daxctl::reconfigure(device, &["-f", "-m", "devdax"])?;
        check("driver", device.driver(), Some("device_dax".into()))?;
        check("ranges", device.ranges()?, ranges)?;
        check("memory of the node", memory::of_node(NODE)?, before)?;
        check("blocks", memory::blocks(region.span())?.len(), 0)?;
        check("reserved", iomem::named(device.name())?, sorted(device)?)
    })
}

/// The `state` file of a device that kmem has.
fn state_of(device: &Device) -> Result<std::path::PathBuf, Failure> {
    let state = device.attr("state");
    check("state without kmem", state.exists(), false)?;
    device.bind_by_id(Driver::Kmem)?;
    if state.exists() {
        Ok(state)
    } else {
        skip("kmem of this kernel has no state attribute")
    }
}

fn state_moves_every_range_at_once(region: &Region) -> Outcome {
    on_each_shape(region, |region, device, on_memory| {
        let before = memory::of_node(NODE)?;
        let state = state_of(device)?;
        check("state", sysfs::read(&state)?, "offline".into())?;
        for round in 0..2 {
            sysfs::write(&state, "unplugged")?;
            check("state", sysfs::read(&state)?, "unplugged".into())?;
            check_absent(region, device)?;
            check("memory of the node", memory::of_node(NODE)?, before)?;
            sysfs::write(&state, "online_movable")?;
            check("state", sysfs::read(&state)?, "online_movable".into())?;
            check_present(region, device, "online")?;
            let grown = memory::of_node(NODE)? - before;
            check(
                format!("growth in round {round}"),
                grown,
                growth(device, on_memory)?,
            )?;
        }
        sysfs::write(&state, "unplugged")?;
        device.unbind()?;
        check("state without kmem", state.exists(), false)?;
        check_absent(region, device)
    })
}

fn state_refuses_what_it_cannot_do(region: &Region) -> Outcome {
    on_each_shape(region, |region, device, _| {
        let state = state_of(device)?;
        let refused = |text: &str, errno| {
            let written = sysfs::try_write(&state, text.as_bytes());
            check(format!("{text:?}"), written, Err(errno))
        };
        for text in ["offline", "\n", "bogus", "1"] {
            refused(text, Errno::EINVAL)?;
        }
        // Memory goes online from unplugged, not from offline.
        refused("online_movable", Errno::EBUSY)?;
        check("state", sysfs::read(&state)?, "offline".into())?;
        check_present(region, device, "offline")?;
        sysfs::write(&state, "unplugged")?;
        sysfs::write(&state, "unplugged\n")?;
        sysfs::write(&state, "online_movable")?;
        sysfs::write(&state, "online_movable")?;
        refused("online_kernel", Errno::EBUSY)?;
        refused("offline", Errno::EINVAL)?;
        check_present(region, device, "online")?;
        Ok(sysfs::write(&state, "unplugged")?)
    })
}

fn state_does_not_mind_blocks_that_are_offline(region: &Region) -> Outcome {
    on_each_shape(region, |region, device, _| {
        let state = state_of(device)?;
        for _ in 0..2 {
            sysfs::write(&state, "unplugged")?;
            sysfs::write(&state, "online_movable")?;
            let last = device.spans()?.pop().unwrap_or(region.span());
            memory::offline(last)?;
            sysfs::write(&state, "unplugged")?;
            check_absent(region, device)?;
        }
        Ok(())
    })
}

fn bind_follows_the_policy_of_the_machine(region: &Region) -> Outcome {
    on_each_shape(region, |region, device, on_memory| {
        let before = memory::of_node(NODE)?;
        memory::with_online_movable(|| device.bind_by_id(Driver::Kmem))??;
        check_present(region, device, "online")?;
        let grown = memory::of_node(NODE)? - before;
        check("growth of the node", grown, growth(device, on_memory)?)?;
        let state = device.attr("state");
        if state.exists() {
            check("state", sysfs::read(&state)?, "online_movable".into())?;
        }
        set_blocks(device, false)?;
        device.unbind()?;
        check_absent(region, device)
    })
}
