// SPDX-License-Identifier: GPL-2.0
//! The memory that the kernel needs for a range.

use super::record::Subject;
use super::Bench;
use crate::errno::Errno;
use crate::region::Region;
use crate::sysfs::{Error, Result};
use crate::units::UNIT;
use dax_protocol::bench::Line;
use std::collections::BTreeMap;
use std::fs;

/// The figure for all memory of a range.
const TOTAL: &str = "memory";
/// The figure without the `mappingN` device.
const OWN: &str = "memory-own";

/// The slab caches from which sysfs takes memory for the files of a `mappingN`: nodes, names and
/// inode numbers. They hold nothing of the driver.
const SYSFS: [&str; 4] = [
    "kernfs_node_cache",
    "kmalloc-8",
    "kmalloc-16",
    "radix_tree_node",
];
/// The `mappingN` device itself and the driver core's private part of it: the slab cache of each,
/// and the size of its objects.
const DEVICE: [(&str, f64); 2] = [("kmalloc-1k", 1024.0), ("kmalloc-256", 256.0)];
/// Objects that a CPU keeps for later count as used: a few in a hundred may be missing.
const ALL_BUT_A_FEW: f64 = 0.95;

/// Objects of a slab cache, or bytes of allocations that are too large for one.
#[derive(Clone, Copy, Default, PartialEq, Debug)]
struct Kind {
    objects: f64,
    size: f64,
}

impl Kind {
    /// The memory of this kind, in bytes.
    fn bytes(self) -> f64 {
        self.objects * self.size
    }
}

/// The kernel's allocated memory, by kind. `large` is memory that is too large for a slab cache.
type Allocated = BTreeMap<String, Kind>;

/// Reads the memory that is allocated now.
fn allocated() -> Result<Allocated> {
    const PAGE_KIB: f64 = 4.0;
    let mut kinds = Allocated::new();
    let mut slabs_kib = 0.0;
    // name active_objs num_objs objsize objperslab pagesperslab : tunables ... : slabdata
    // active_slabs num_slabs sharedavail
    for line in read("/proc/slabinfo")?.lines().skip(2) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |at: usize| words.get(at).and_then(|word| word.parse::<f64>().ok());
        let (Some(objects), Some(size), Some(pages), Some(slabs)) =
            (number(1), number(3), number(5), number(14))
        else {
            return Err(Error::state(format!("/proc/slabinfo: {line}")));
        };
        slabs_kib += slabs * pages * PAGE_KIB;
        kinds.insert(words[0].to_owned(), Kind { objects, size });
    }
    let meminfo = read("/proc/meminfo")?;
    let kib = |name: &str| {
        let mut lines = meminfo.lines();
        let number = lines.find_map(|line| line.strip_prefix(name)?.strip_suffix("kB"));
        let number = number.and_then(|text| text.trim().parse::<f64>().ok());
        number.ok_or_else(|| Error::state(format!("/proc/meminfo: no {name}")))
    };
    let large = kib("Slab:")? - slabs_kib + kib("VmallocUsed:")?;
    let (objects, size) = (large, 1024.0);
    kinds.insert("large".into(), Kind { objects, size });
    Ok(kinds)
}

/// Reads a file of any size.
fn read(path: &str) -> Result<String> {
    fs::read_to_string(path).map_err(|e| Error::new(format!("read {path}"), Errno::from(e)))
}

/// Fills a region with twice `count` ranges; half of them fill holes.
pub fn per_range(bench: &mut Bench, region: &Region, count: u64) -> Result<()> {
    if !bench.wants_any(&[TOTAL, OWN]) {
        return Ok(());
    }
    let separators = region.create_over(&[region.units(1, 1)])?;
    let device = region.create_sized(UNIT)?;
    let before = allocated()?;
    for separator in 1..count {
        separators.add_mapping(region.units(2 * separator + 1, 1))?;
    }
    device.set_size(count * UNIT)?;
    let after = allocated()?;
    region.destroy(&device)?;
    region.destroy(&separators)?;
    let added = 2 * (count - 1);
    let each: Allocated = after
        .into_iter()
        .map(|(name, kind)| {
            let old = before.get(&name).map_or(0.0, |kind| kind.objects);
            let objects = (kind.objects - old) / added as f64;
            let size = kind.size;
            (name, Kind { objects, size })
        })
        .collect();
    record(bench, &each, added)
}

/// Prints the memory of each kind that a range needs.
fn record(bench: &mut Bench, each: &Allocated, added: u64) -> Result<()> {
    let total: f64 = each.values().map(|kind| kind.bytes()).sum();
    let of = |name: &str| each.get(name).copied().unwrap_or_default();
    let mut own = total - SYSFS.iter().map(|name| of(name).bytes()).sum::<f64>();
    for (name, size) in DEVICE {
        let objects = of(name).objects;
        if bench.is_thorough() && objects < ALL_BUT_A_FEW {
            return Err(Error::state(format!(
                "a mapping has {objects} objects of {name}: not what it is made of"
            )));
        }
        own -= size;
    }
    let used = each.iter().filter(|(_, kind)| kind.bytes() >= 0.5);
    let used = used.map(|(name, kind)| (name.clone(), kind.bytes()));
    bench.record.line(&Line::Caches(used.collect()));
    for (operation, bytes) in [(TOTAL, total), (OWN, own)] {
        let subject = Subject {
            operation,
            ranges: added,
            unit: "bytes",
        };
        bench.record.median(subject, vec![bytes]);
    }
    Ok(())
}
