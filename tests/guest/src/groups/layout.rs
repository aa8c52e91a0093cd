// SPDX-License-Identifier: GPL-2.0
//! daxlayout, the tool of this project, which `make test` brings into the guest of this group. The
//! memory of node 1 has a direct-mapped cache.

use crate::daxctl;
use crate::daxlayout::{self, create, spans, value};
use crate::device::Device;
use crate::json;
use crate::kernel;
use crate::ktap::{check, Failure, Outcome, Rows, Test};
use crate::region::Region;
use crate::snapshot::Snapshot;
use crate::sysfs::Result;
use crate::test;
use crate::units::{Span, GIB, MIB};
use serde_json::{json, Value};
use std::fs;
use std::path::PathBuf;

/// 1 GiB of node 1 is ordinary memory, so that the node is online and shows its cache.
pub const QEMU: &str = "-machine hmat=on \
    -object memory-backend-ram,id=ram0,size=1G -object memory-backend-ram,id=ram1,size=3G \
    -numa node,nodeid=0,memdev=ram0,cpus=0-1 -numa node,nodeid=1,memdev=ram1,initiator=0 \
    -numa hmat-lb,initiator=0,target=0,hierarchy=memory,data-type=access-latency,latency=10 \
    -numa hmat-lb,initiator=0,target=0,hierarchy=memory,data-type=access-bandwidth,bandwidth=10G \
    -numa hmat-lb,initiator=0,target=1,hierarchy=memory,data-type=access-latency,latency=20 \
    -numa hmat-lb,initiator=0,target=1,hierarchy=memory,data-type=access-bandwidth,bandwidth=5G \
    -numa hmat-cache,node-id=1,size=512M,level=1,associativity=direct,policy=write-back,line=64";

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(show_tells_where_the_region_is_and_what_cache_it_has),
    test!(colours_share_no_part_of_the_cache),
    test!(first_fit_shares_the_cache),
    test!(kernel_gives_what_was_planned),
    test!(kernel_gives_hundreds_of_ranges),
    test!(create_that_the_kernel_refuses_changes_nothing),
    test!(create_that_does_not_fit_changes_nothing),
    test!(daxctl_takes_the_plan),
    test!(restore_brings_everything_back),
    test!(restore_of_what_is_there_changes_nothing),
    test!(restore_that_fails_half_way_changes_nothing),
    test!(restore_of_what_does_not_fit_changes_nothing),
];

/// The cache, as `QEMU` has it.
pub const CACHE: u64 = 512 * MIB;

/// Runs the tool, which must end with that status.
fn run(args: &[&str], status: i32) -> Outcome {
    let output = daxlayout::try_run(args)?;
    let what = format!("status of {args:?}: {}", kernel::said(&output));
    check(what, output.status.code(), Some(status))
}

/// A file for a layout.
fn file(name: &str) -> PathBuf {
    std::env::temp_dir().join(name)
}

/// Writes a file.
fn write(path: &PathBuf, text: &str) -> Outcome {
    fs::write(path, text).map_err(|e| Failure::Fail(format!("{}: {e}", path.display())))
}

/// Everything that the driver shows, but for minor numbers.
pub fn snapshot(region: &Region) -> Result<Snapshot> {
    let mut snapshot = Snapshot::of(region)?;
    snapshot.forget_minors();
    Ok(snapshot)
}

/// Runs the tool, which must end with that status and leave everything as it was.
pub fn changes_nothing(region: &Region, args: &[&str], status: i32) -> Outcome {
    let before = snapshot(region)?;
    run(args, status)?;
    before.check_same(&snapshot(region)?)
}

fn show_tells_where_the_region_is_and_what_cache_it_has(region: &Region) -> Outcome {
    let shown = value(&["--json", "show"])?;
    let cache = json!([{ "kind": "direct_mapped", "size": CACHE, "line_size": 64, "node": 1 }]);
    json::check_members(
        &shown,
        &[
            ("id", json!(region.id())),
            ("start", json!(region.span().start)),
            ("size", json!(region.span().len())),
            ("available", json!(region.available()?)),
            ("caches", cache),
        ],
    )?;
    check("holes", spans(&shown["holes"]), vec![region.span()])
}

fn colours_share_no_part_of_the_cache(_: &Region) -> Outcome {
    for colour in 0..4 {
        let device = create(&["-s", "256M", "--colour", &format!("{colour}/4")])?;
        for span in device.spans()? {
            let place = span.start % CACHE;
            check("first byte's colour", place / (CACHE / 4), colour)?;
            check("last byte's colour", span.end % CACHE / (CACHE / 4), colour)?;
        }
    }
    let shown = value(&["--json", "show"])?;
    check("conflicts", &shown["conflicts"], &json!([]))
}

fn first_fit_shares_the_cache(region: &Region) -> Outcome {
    let devices = [region.create_sized(CACHE)?, region.create_sized(CACHE)?];
    let names: Vec<&str> = devices.iter().map(Device::name).collect();
    let shown = value(&["--json", "show"])?;
    let conflicts = json!([{ "devices": names, "shared": CACHE }]);
    check("conflicts", &shown["conflicts"], &conflicts)
}

fn kernel_gives_what_was_planned(region: &Region) -> Outcome {
    // Holes of 64 MiB, and one of what is left.
    for unit in [0, 64, 160] {
        region.create_over(&[region.units(unit, 32)])?;
    }
    let start = region.span().start;
    let ranges = [start + GIB, start + GIB / 2].map(|at| format!("{at:#x}+6M"));
    let mut rows = Rows::default();
    for place in [
        &["--contiguous", "-s", "64M"] as &[&str],
        &["-s", "1G"],
        &["--pair-distance", "auto", "-s", "64M"],
        &["--pair-distance", "256M", "-s", "32M", "-a", "4K"],
        &["--colour", "2/8", "-s", "128M"],
        &["--stride", "64M", "--offset", "6M", "-s", "16M"],
        &[
            "--stride", "128M", "--offset", "0", "--width", "10M", "-s", "44M",
        ],
        &["--range", &ranges[0], "--range", &ranges[1]],
        &["--colour", "7/8"],
    ] {
        rows.add(format!("{place:?}"), as_planned(region, place));
    }
    rows.finish()
}

/// Plans, creates, compares, destroys.
fn as_planned(region: &Region, place: &[&str]) -> Outcome {
    let planned = value(&[&["--json", "plan"], place].concat())?;
    let device = create(place)?;
    check("ranges", device.spans()?, spans(&planned["ranges"]))?;
    check("size", json!(device.size()?), planned["size"].clone())?;
    check("align", json!(device.align()?), planned["align"].clone())?;
    check("driver", device.driver(), Some("device_dax".into()))?;
    Ok(region.destroy(&device)?)
}

fn kernel_gives_hundreds_of_ranges(region: &Region) -> Outcome {
    let device = create(&["--stride", "4M", "--offset", "2M", "-s", "800M"])?;
    let wanted: Vec<Span> = (0..400).map(|i| region.units(2 * i + 1, 1)).collect();
    check("ranges", device.spans()?, wanted)
}

fn create_that_the_kernel_refuses_changes_nothing(region: &Region) -> Outcome {
    // kmem takes whole blocks of memory only.
    let args = ["create", "-s", "4M", "-a", "4K", "--driver", "kmem"];
    changes_nothing(region, &args, 4)
}

fn create_that_does_not_fit_changes_nothing(region: &Region) -> Outcome {
    create(&["-s", "1G"])?;
    changes_nothing(region, &["create", "-s", "2G"], 3)?;
    changes_nothing(region, &["create", "--pair-distance", "1G", "-s", "4M"], 3)?;
    changes_nothing(region, &["create", "-r", "9"], 2)?;
    changes_nothing(region, &["create", "--dry-run", "-s", "2M"], 0)
}

fn daxctl_takes_the_plan(_: &Region) -> Outcome {
    let args = ["-s", "256M", "--colour", "1/8", "-a", "4K"];
    let planned = value(&[&["--json", "plan"], &args[..]].concat())?;
    let input = value(&[&["plan", "--daxctl-json"], &args[..]].concat())?;
    let path = file("daxlayout-plan.json");
    write(&path, &input.to_string())?;
    let device = daxctl::create(&["--input", &path.to_string_lossy()])?;
    check("ranges", device.spans()?, spans(&planned["ranges"]))?;
    check("align", device.align()?, 4096)
}

/// Two devices with numbers that are not the first free ones, one of them of kmem, and the file
/// that they are saved in.
fn saved(region: &Region) -> std::result::Result<(Vec<Device>, PathBuf), Failure> {
    let gone = create(&["-s", "2M"])?;
    let file_like = create(&["-s", "256M", "--colour", "1/4"])?;
    let gone_too = create(&["-s", "2M"])?;
    let range = format!("{}+256M", region.span().start + GIB);
    let memory = create(&["--range", &range, "--driver", "kmem"])?;
    let unbound = create(&["-s", "6M", "-a", "4K", "--driver", "none"])?;
    for device in [gone, gone_too] {
        region.destroy(&device)?;
    }
    let path = file("daxlayout-saved.json");
    run(&["save", &path.to_string_lossy()], 0)?;
    Ok((vec![file_like, memory, unbound], path))
}

fn restore_brings_everything_back(region: &Region) -> Outcome {
    let (devices, path) = saved(region)?;
    let mut before = snapshot(region)?;
    for device in &devices {
        region.destroy(device)?;
    }
    run(&["restore", "-d", "dax0.0", &path.to_string_lossy()], 0)?;
    let mut after = snapshot(region)?;
    before.forget_seed();
    after.forget_seed();
    before.check_same(&after)
}

fn restore_of_what_is_there_changes_nothing(region: &Region) -> Outcome {
    let (_, path) = saved(region)?;
    changes_nothing(region, &["restore", &path.to_string_lossy()], 0)
}

fn restore_that_fails_half_way_changes_nothing(region: &Region) -> Outcome {
    let (devices, path) = saved(region)?;
    for device in &devices {
        region.destroy(device)?;
    }
    let text = fs::read_to_string(&path).map_err(|e| Failure::Fail(e.to_string()))?;
    let mut layout: Value =
        serde_json::from_str(&text).map_err(|e| Failure::Fail(e.to_string()))?;
    // The last device that is bound gets less than kmem takes.
    let start = region.span().start;
    layout["regions"][0]["devices"][1]["ranges"][0]["end"] = json!(start + GIB + 2 * MIB - 1);
    write(&path, &layout.to_string())?;
    changes_nothing(region, &["restore", &path.to_string_lossy()], 4)
}

fn restore_of_what_does_not_fit_changes_nothing(region: &Region) -> Outcome {
    let (devices, path) = saved(region)?;
    let path = path.to_string_lossy();
    // One is missing, and another is where it was.
    region.destroy(&devices[0])?;
    let other = create(&["-s", "2M", "--colour", "1/4"])?;
    changes_nothing(region, &["restore", &path], 3)?;
    region.destroy(&other)?;
    run(&["restore", &path], 0)?;
    changes_nothing(region, &["restore", "-r", "0", "--if-saved", &path], 0)
}
