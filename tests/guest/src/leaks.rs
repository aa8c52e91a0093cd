// SPDX-License-Identifier: GPL-2.0
//! Finds memory that is still allocated after an operation was repeated many times.

use crate::errno::Errno;
use crate::grace;
use crate::iomem::{self, Entry};
use crate::kernel;
use crate::ktap::{check, note, Failure, Outcome};
use crate::sysfs::{self, Error, Result};
use crate::units::PAGE;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

/// The memory in use, as far as the kernel shows it.
pub struct Usage {
    /// Objects in use, by slab cache.
    objects: BTreeMap<String, u64>,
    /// Memory in kB, by line of /proc/meminfo.
    memory: BTreeMap<String, u64>,
    iomem: Vec<Entry>,
}

/// Lines of /proc/meminfo that grow when pages, page tables, per-CPU counters or stacks leak.
const LINES: [&str; 4] = ["VmallocUsed", "Percpu", "PageTables", "KernelStack"];
/// Pages that come and go on their own: lists of each CPU, and of each cache.
const SLACK_KIB: u64 = 8 << 10;
/// A debug kernel's notes about objects that it tracked once. Without DEBUG_OBJECTS_FREE it never
/// forgets one, whichever driver had the object: this cache grows on C as on Rust.
const NOTES: &str = "debug_objects_cache";
/// kmemleak's file, on a debug kernel.
const KMEMLEAK: &str = "/sys/kernel/debug/kmemleak";
/// The age from which on kmemleak reports an object.
const KMEMLEAK_AGE: Duration = Duration::from_secs(6);

/// Reads a file of many pages.
fn read(path: &str) -> Result<String> {
    fs::read_to_string(path).map_err(|e| Error::new(format!("read {path}"), Errno::from(e)))
}

impl Usage {
    /// Makes the kernel drop its caches, then reads the memory in use.
    pub fn now() -> Result<Usage> {
        sysfs::write(Path::new("/proc/sys/vm/drop_caches"), "3")?;
        // The callbacks of the first grace period may run during the second.
        grace::wait()?;
        grace::wait()?;
        // After this, memory that a grace period protected is freed.
        thread::sleep(Duration::from_millis(500) * kernel::slowness());
        let slab = Path::new("/sys/kernel/slab");
        for cache in sysfs::names(slab)? {
            // KASAN keeps freed objects for a while, as if in use. A cache may be going.
            let _ = sysfs::try_write(&slab.join(cache).join("shrink"), b"1");
        }
        let objects = read("/proc/slabinfo")?
            .lines()
            .filter_map(|line| {
                let mut words = line.split_whitespace();
                Some((words.next()?.to_owned(), words.next()?.parse().ok()?))
            })
            .filter(|(cache, _): &(String, u64)| cache != NOTES)
            .collect();
        let memory = read("/proc/meminfo")?
            .lines()
            .filter_map(|line| {
                let (name, value) = line.split_once(':')?;
                Some((name.into(), value.trim().strip_suffix(" kB")?.parse().ok()?))
            })
            .collect();
        Ok(Usage {
            objects,
            memory,
            iomem: iomem::read()?,
        })
    }

    /// Fails if something grew as if each of `rounds` rounds had left one object or page behind.
    pub fn check_no_growth(&self, later: &Usage, rounds: u64) -> Outcome {
        check("/proc/iomem", &later.iomem, &self.iomem)?;
        let mut grown = Vec::new();
        let mut most = (0, "none");
        for (cache, &after) in &later.objects {
            let growth = after.saturating_sub(self.objects.get(cache).copied().unwrap_or(0));
            most = most.max((growth, cache));
            if growth > rounds / 2 {
                grown.push(format!("{cache}: {growth} objects"));
            }
        }
        note(format!(
            "{rounds} rounds; most growth of a cache: {} objects, {}",
            most.0, most.1
        ));
        let kib = |usage: &Usage, line: &str| usage.memory.get(line).copied().unwrap_or(0);
        // Half a page a round counts.
        let limit = SLACK_KIB + rounds * PAGE / 2 / 1024;
        let lost = kib(self, "MemFree").saturating_sub(kib(later, "MemFree"));
        if lost > limit {
            grown.push(format!("{lost} KiB less are free"));
        }
        for line in LINES {
            let growth = kib(later, line).saturating_sub(kib(self, line));
            if growth > limit / 2 {
                grown.push(format!("{line}: {growth} KiB more"));
            }
        }
        note(format!("{lost} KiB less are free than before"));
        if grown.is_empty() {
            return Ok(());
        }
        Err(Failure::Fail(format!(
            "after {rounds} rounds: {}",
            grown.join("; ")
        )))
    }
}

/// Turns off kmemleak's own scans. One scan takes a slow guest a minute.
pub fn scan_on_demand() {
    // Most kernels do not have it.
    let _ = sysfs::try_write(Path::new(KMEMLEAK), b"scan=off");
}

/// If the kernel has kmemleak: fails if it finds memory that nothing points to any more.
pub fn check_kmemleak() -> Outcome {
    let path = Path::new(KMEMLEAK);
    if !path.exists() {
        return Ok(());
    }
    // A first scan may suspect an object that is just moving from one place to another.
    for _ in 0..2 {
        thread::sleep(KMEMLEAK_AGE);
        sysfs::write(path, "scan")?;
    }
    let report = read(KMEMLEAK)?;
    note(format!(
        "kmemleak: {} reports",
        report.matches("unreferenced object").count()
    ));
    check("kmemleak", report, String::new())
}
