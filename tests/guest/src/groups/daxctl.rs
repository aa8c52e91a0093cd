// SPDX-License-Identifier: GPL-2.0
//! The real daxctl as the client. The region is the memory of a NUMA node.

use crate::daxctl;
use crate::device::{Device, Driver};
use crate::iomem;
use crate::json;
use crate::ktap::{check, needs_units, Failure, Outcome, Test};
use crate::memory;
use crate::mmap::Map;
use crate::region::Region;
use crate::sysfs;
use crate::test;
use crate::units::{in_order, Span, GIB, HAS_GIANT, MIB, PAGE, UNIT};
use serde_json::{json, Value};
use std::fs;

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(list_reports_the_region),
    test!(list_reports_devices_under_their_region),
    test!(create_without_size_takes_the_whole_region),
    test!(create_with_size_and_align_gives_both),
    test!(create_over_holes_reports_several_mappings),
    test!(create_in_full_region_fails),
    test!(create_after_every_destroy_finds_a_seed),
    test!(create_from_input_replays_ranges_and_align),
    test!(disable_and_enable_unbinds_and_binds),
    test!(reconfigure_size_shrinks_and_grows),
    test!(reconfigure_size_of_enabled_device_fails),
    test!(destroy_of_enabled_device_needs_force),
    test!(destroy_of_all_empties_the_region),
    test!(system_ram_and_back_to_devdax_works),
    test!(system_ram_over_holes_uses_every_range),
    test!(system_ram_without_onlining_stays_offline),
];

/// The bytes of a block of memory, as daxctl counts: 128 MiB, or one unit if that is more.
const BLOCK: u64 = if UNIT > 128 * MIB { UNIT } else { 128 * MIB };

/// Lets daxctl create a device of so many bytes.
fn create(size: u64) -> sysfs::Result<Device> {
    daxctl::create(&["-s", &size.to_string()])
}

/// Creates devices of a block each, and destroys some to leave holes.
fn with_holes(region: &Region, keep: &[bool]) -> Result<Vec<Device>, Failure> {
    // What is created then may be larger than the holes.
    needs_units(region, 2 * keep.len() as u64 * BLOCK / UNIT)?;
    let mut devices = Vec::new();
    for _ in keep {
        devices.push(create(BLOCK)?);
    }
    let mut kept = Vec::new();
    for (device, &keep) in devices.into_iter().zip(keep) {
        if keep {
            kept.push(device);
        } else {
            daxctl::run(&["destroy-device", "-f", device.name()])?;
        }
    }
    Ok(kept)
}

/// So many blocks, the first so many after the start of the region.
fn blocks(region: &Region, first: u64, count: u64) -> Span {
    Span::at(region.span().start + first * BLOCK, count * BLOCK)
}

/// One block: so many after the start of the region.
fn block(region: &Region, number: u64) -> Span {
    blocks(region, number, 1)
}

fn list_reports_the_region(region: &Region) -> Outcome {
    let listed = daxctl::json(&["list", "-R"])?;
    check("regions", listed.len(), 1)?;
    let path = region
        .dir()
        .to_string_lossy()
        .replacen("/sys/devices", "", 1);
    let size = region.span().len();
    json::check_members(
        &listed[0],
        &[
            ("path", json!(path)),
            ("id", json!(0)),
            ("size", json!(size)),
            ("available_size", json!(size)),
            ("align", json!(UNIT)),
        ],
    )
}

fn list_reports_devices_under_their_region(region: &Region) -> Outcome {
    let kept = with_holes(region, &[true, false, true])?;
    let listed = daxctl::json(&["list", "-R", "-D", "-M"])?;
    check("regions", listed.len(), 1)?;
    let available = region.span().len() - 2 * BLOCK;
    json::check_members(&listed[0], &[("available_size", json!(available))])?;
    let devices = listed[0]["devices"].as_array().cloned().unwrap_or_default();
    check("devices", devices.len(), 2)?;
    for (device, number) in kept.iter().zip([0, 2]) {
        let found = devices.iter().find(|d| d["chardev"] == device.name());
        let ranges = daxctl::ranges(found.unwrap_or(&Value::Null))?;
        check("mappings", ranges, in_order(&[block(region, number)]))?;
    }
    Ok(())
}

fn create_without_size_takes_the_whole_region(region: &Region) -> Outcome {
    let device = daxctl::create(&[])?;
    let listed = daxctl::list(&device)?;
    json::check_members(
        &listed,
        &[
            ("size", json!(region.span().len())),
            ("mode", json!("devdax")),
            ("align", json!(UNIT)),
            ("target_node", json!(1)),
        ],
    )?;
    check(
        "mappings",
        daxctl::ranges(&listed)?,
        in_order(&[region.span()]),
    )?;
    check("available", region.available()?, 0)
}

fn create_with_size_and_align_gives_both(region: &Region) -> Outcome {
    let giant = if HAS_GIANT { GIB } else { UNIT };
    for (size, align) in [(3 * UNIT, PAGE), (GIB, giant), (UNIT, UNIT)] {
        let device = daxctl::create(&["-s", &size.to_string(), "-a", &align.to_string()])?;
        let listed = daxctl::list(&device)?;
        json::check_members(&listed, &[("size", json!(size)), ("align", json!(align))])?;
        let map = Map::whole(&device)?;
        check("store", map.store(size - 8, size), Ok(()))?;
        drop(map);
        region.destroy(&device)?;
    }
    Ok(())
}

fn create_over_holes_reports_several_mappings(region: &Region) -> Outcome {
    with_holes(region, &[true, false, true, false, false, true])?;
    let device = create(4 * BLOCK)?;
    let expected = in_order(&[block(region, 1), blocks(region, 3, 2), block(region, 6)]);
    check(
        "mappings",
        daxctl::ranges(&daxctl::list(&device)?)?,
        expected.clone(),
    )?;
    check("the same in sysfs", device.ranges()?, expected)
}

fn create_in_full_region_fails(region: &Region) -> Outcome {
    daxctl::create(&[])?;
    let output = daxctl::try_run(&["create-device", "-s", &UNIT.to_string()])?;
    check("success", output.status.success(), false)?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    check(said.clone(), said.contains("No space left on device"), true)?;
    check("available", region.available()?, 0)
}

fn create_after_every_destroy_finds_a_seed(region: &Region) -> Outcome {
    for round in 0..8 {
        let one = create(2 * UNIT)?;
        let two = create(3 * UNIT)?;
        let [first, second] = if round % 2 == 0 {
            [one, two]
        } else {
            [two, one]
        };
        daxctl::run(&["disable-device", first.name()])?;
        daxctl::run(&["destroy-device", first.name()])?;
        daxctl::run(&["destroy-device", "-f", second.name()])?;
    }
    check("available", region.available()?, region.span().len())
}

fn create_from_input_replays_ranges_and_align(region: &Region) -> Outcome {
    with_holes(region, &[true, false, true, false])?;
    let device = daxctl::create(&["-s", &(3 * BLOCK).to_string(), "-a", &PAGE.to_string()])?;
    let before = daxctl::list(&device)?;
    check("mappings", daxctl::ranges(&before)?.len(), 2)?;
    let input = std::env::temp_dir().join("dax-guest.json");
    fs::write(&input, before.to_string()).map_err(|e| Failure::Fail(e.to_string()))?;
    // Frees a lower hole too: only a replay gives the same ranges again.
    daxctl::run(&["destroy-device", "-f", "all"])?;
    let again = daxctl::create(&["--input", &input.to_string_lossy()])?;
    let after = daxctl::list(&again)?;
    for key in ["size", "align", "mode", "mappings"] {
        check(key, &after[key], &before[key])?;
    }
    check("ranges", again.ranges()?, daxctl::ranges(&before)?)?;
    check("devices", region.devices()?.len(), 2)
}

fn disable_and_enable_unbinds_and_binds(_: &Region) -> Outcome {
    let device = create(2 * UNIT)?;
    daxctl::run(&["disable-device", device.name()])?;
    check("driver", device.driver(), None)?;
    json::check_members(&daxctl::list(&device)?, &[("state", json!("disabled"))])?;
    daxctl::run(&["enable-device", device.name()])?;
    check("driver", device.driver(), Some("device_dax".into()))?;
    json::check_members(&daxctl::list(&device)?, &[("state", Value::Null)])
}

fn reconfigure_size_shrinks_and_grows(region: &Region) -> Outcome {
    needs_units(region, 4 * BLOCK / UNIT)?;
    let device = create(2 * BLOCK)?;
    let other = create(BLOCK)?;
    for (size, spans) in [
        (BLOCK, vec![block(region, 0)]),
        (UNIT, vec![region.units(0, 1)]),
        // Over the other device.
        (3 * BLOCK, vec![blocks(region, 0, 2), block(region, 3)]),
    ] {
        daxctl::run(&["disable-device", device.name()])?;
        daxctl::reconfigure(&device, &["-s", &size.to_string()])?;
        daxctl::run(&["enable-device", device.name()])?;
        let listed = daxctl::list(&device)?;
        json::check_members(&listed, &[("size", json!(size))])?;
        check("mappings", daxctl::ranges(&listed)?, in_order(&spans))?;
    }
    check("the other", other.ranges()?, in_order(&[block(region, 2)]))
}

fn reconfigure_size_of_enabled_device_fails(region: &Region) -> Outcome {
    let device = create(4 * UNIT)?;
    let smaller = (2 * UNIT).to_string();
    let output = daxctl::try_run(&["reconfigure-device", "-s", &smaller, device.name()])?;
    check("success", output.status.success(), false)?;
    check("ranges", device.ranges()?, in_order(&[region.units(0, 4)]))
}

fn destroy_of_enabled_device_needs_force(_: &Region) -> Outcome {
    let device = create(4 * UNIT)?;
    let output = daxctl::try_run(&["destroy-device", device.name()])?;
    check("success", output.status.success(), false)?;
    check("device", device.exists(), true)?;
    daxctl::run(&["destroy-device", "-f", device.name()])?;
    check("device", device.exists(), false)
}

fn destroy_of_all_empties_the_region(region: &Region) -> Outcome {
    with_holes(region, &[true, false, true])?;
    create(2 * BLOCK)?;
    region.create_sized(8 * UNIT)?;
    daxctl::run(&["destroy-device", "-f", "all"])?;
    // The first device cannot go, and daxctl knows.
    check("devices", region.devices()?, vec![region.first_device()?])?;
    check("available", region.available()?, region.span().len())
}

/// The spans of System RAM that kmem made.
fn system_ram() -> Result<Vec<Span>, Failure> {
    Ok(iomem::named("System RAM (kmem)")?)
}

fn system_ram_and_back_to_devdax_works(region: &Region) -> Outcome {
    let device = create(2 * BLOCK)?;
    let map = Map::whole(&device)?;
    check("store", map.store(0, 1), Ok(()))?;
    drop(map);
    for _ in 0..2 {
        daxctl::reconfigure(&device, &["-m", "system-ram"])?;
        json::check_members(
            &daxctl::list(&device)?,
            &[
                ("mode", json!("system-ram")),
                ("online_memblocks", json!(2)),
                ("total_memblocks", json!(2)),
            ],
        )?;
        check("driver", device.driver(), Some(Driver::Kmem.name().into()))?;
        let both = blocks(region, 0, 2);
        check("System RAM", system_ram()?, vec![both])?;
        daxctl::run(&["offline-memory", device.name()])?;
        json::check_members(&daxctl::list(&device)?, &[("online_memblocks", json!(0))])?;
        daxctl::reconfigure(&device, &["-m", "devdax"])?;
        json::check_members(&daxctl::list(&device)?, &[("mode", json!("devdax"))])?;
        check("System RAM", system_ram()?, vec![])?;
        check("store", Map::whole(&device)?.store(0, 2), Ok(()))?;
    }
    Ok(())
}

fn system_ram_over_holes_uses_every_range(region: &Region) -> Outcome {
    with_holes(region, &[true, false, true, false])?;
    let device = create(3 * BLOCK)?;
    let ranges = device.ranges()?;
    check("ranges", ranges.len(), 2)?;
    daxctl::reconfigure(&device, &["-m", "system-ram"])?;
    let expected: Vec<Span> = ranges.iter().map(|r| r.span).collect();
    check("System RAM", system_ram()?, expected)?;
    // libdaxctl takes a device for one range and onlines the blocks of the first one only.
    let mut blocks = 0;
    for range in &ranges {
        blocks += memory::blocks(range.span)?.len() as u64;
    }
    check("blocks", blocks, 3 * BLOCK / memory::block_size()?)?;
    daxctl::reconfigure(&device, &["-f", "-m", "devdax"])?;
    check("System RAM", system_ram()?, vec![])?;
    check("ranges", device.ranges()?, ranges)?;
    region.destroy(&device).map_err(Failure::from)
}

fn system_ram_without_onlining_stays_offline(_: &Region) -> Outcome {
    let device = create(BLOCK)?;
    daxctl::reconfigure(&device, &["-N", "-m", "system-ram"])?;
    json::check_members(
        &daxctl::list(&device)?,
        &[
            ("mode", json!("system-ram")),
            ("online_memblocks", json!(0)),
        ],
    )?;
    daxctl::reconfigure(&device, &["-m", "devdax"])?;
    check("driver", device.driver(), Some("device_dax".into()))
}
