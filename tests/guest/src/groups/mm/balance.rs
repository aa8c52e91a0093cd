// SPDX-License-Identifier: GPL-2.0
//! NUMA balancing takes pages out of page tables to see who uses them. It leaves the pages of a
//! device alone, because they cannot be moved.

use super::failed;
use crate::child::Child;
use crate::errno::Errno;
use crate::kernel;
use crate::ktap::{check, needs_units, note, skip, Failure, Outcome, Test};
use crate::memory;
use crate::mmap::Map;
use crate::region::{self, Region};
use crate::sysfs::{self, Error};
use crate::test;
use crate::units::{MEDIUM, PAGE, UNIT};
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// The tests of this file.
pub const TESTS: &[Test] = &[test!(balancing_leaves_pages_of_a_device_alone, tear_down).slow()];

/// The switch of NUMA balancing.
const SWITCH: &str = "/proc/sys/kernel/numa_balancing";
/// The settings: every 100 ms the kernel looks at up to 256 MiB.
const SETTINGS: [(&str, &str); 4] = [
    ("scan_delay_ms", "10"),
    ("scan_period_min_ms", "100"),
    ("scan_period_max_ms", "100"),
    ("scan_size_mb", "256"),
];
/// The size of the memory that is touched again and again.
const SIZE: u64 = MEDIUM;
/// Time within which the kernel must have looked at the memory.
const PATIENCE: Duration = Duration::from_secs(60);

/// Turns NUMA balancing off again, and empties the regions.
fn tear_down() -> sysfs::Result<()> {
    sysfs::write(Path::new(SWITCH), "0")?;
    region::tear_down()
}

/// Turns NUMA balancing on, with the settings that make it quick.
fn turn_on() -> sysfs::Result<()> {
    for (name, value) in SETTINGS {
        let file = PathBuf::from("/sys/kernel/debug/sched/numa_balancing").join(name);
        sysfs::write(&file, value)?;
    }
    sysfs::write(Path::new(SWITCH), "1")
}

/// Number of entries of page tables that were changed to see who uses them.
fn updates() -> sysfs::Result<u64> {
    let path = "/proc/vmstat";
    let text = fs::read_to_string(path).map_err(|e| Error::new(path, Errno::from(e)))?;
    let count = text
        .lines()
        .find_map(|line| line.strip_prefix("numa_pte_updates ")?.parse().ok());
    count.ok_or_else(|| Error::state(format!("{path}: no numa_pte_updates")))
}

/// The updates while a process touches memory again and again, until there are `enough`, or `time`
/// has passed since the process first touched all memory; and how long everything took.
fn watch(
    map: impl FnOnce() -> sysfs::Result<Map>,
    enough: u64,
    time: Duration,
) -> Result<(u64, Duration), Failure> {
    let before = updates()?;
    let start = Instant::now();
    let passes = Map::anonymous(PAGE).map_err(failed("mmap"))?;
    let mut child = Child::spawn(|| {
        if let Err(error) = map().and_then(|map| touch(&map, &passes)) {
            note(error);
        }
        1
    })
    .map_err(failed("fork"))?;
    kernel::eventually("a process that touched all memory", || {
        let ended = child.poll().is_some();
        Ok((ended || passes.load(0) != Ok(0)).then_some(()))
    })?;
    let (first, began) = (passes.load(0), Instant::now());
    loop {
        let count = updates()? - before;
        let is_over = began.elapsed() > time;
        if count >= enough || is_over {
            check("the process", child.poll(), None)?;
            let touches = !is_over || passes.load(0) != first;
            check("the process touches memory again", touches, true)?;
            return Ok((count, start.elapsed()));
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Touches all memory of a mapping again and again, and counts how often.
fn touch(map: &Map, passes: &Map) -> sysfs::Result<()> {
    let failed = |signal| Error::state(format!("touch: {signal:?}"));
    for pass in 1.. {
        for page in 0..map.len() / PAGE {
            map.store(page * PAGE, pass).map_err(failed)?;
        }
        passes.store(0, pass).map_err(failed)?;
    }
    Ok(())
}

fn balancing_leaves_pages_of_a_device_alone() -> Outcome {
    let nodes = (0..3).filter(|node| memory::node(*node).exists()).count();
    if nodes < 2 {
        return skip("only one NUMA node has memory");
    }
    let regions = Region::fresh_all()?;
    let region = regions.get(1);
    let region = region.ok_or_else(|| Failure::Fail("no second region".into()))?;
    needs_units(region, 8 + SIZE / UNIT)?;
    turn_on()?;
    // Ordinary memory shows how long it takes.
    let pages = SIZE / PAGE;
    let anonymous = || Map::anonymous(SIZE).map_err(|e| Error::new("mmap", e));
    let (count, time) = watch(anonymous, pages, PATIENCE)?;
    note(format!("ordinary memory: {count} updates in {time:.1?}"));
    check("all ordinary memory was looked at", count >= pages, true)?;
    for align in [PAGE, UNIT] {
        let device = region.create_bound(align, &[region.units(8, SIZE / UNIT)])?;
        let (count, time) = watch(|| Map::whole(&device), pages, time * 3)?;
        note(format!("{align:#x}: {count} updates in {time:.1?}"));
        // The process's own memory is small.
        check("a device was not", count < pages / 4, true)?;
        region.destroy(&device)?;
    }
    Ok(())
}
