// SPDX-License-Identifier: GPL-2.0
//! Memory cgroups do not charge the pages of a device to anybody.

use super::failed;
use crate::child::{Child, End};
use crate::errno::Errno;
use crate::ktap::{check, needs_units, note, Failure, Outcome, Test};
use crate::mmap::Map;
use crate::region::{self, Region};
use crate::sysfs::{self, Error, Result};
use crate::test;
use crate::units::{MIB, PAGE, UNIT};
use nix::mount::{mount, umount2, MntFlags, MsFlags};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// The tests of this file.
pub const TESTS: &[Test] = &[test!(pages_of_a_device_are_not_charged, region::tear_down).slow()];

/// The memory that a process may use: not much more than the process itself and its page tables
/// need.
const LIMIT: u64 = 16 * MIB;

/// The memory of the device, far more than that.
const SIZE: u64 = 512 * MIB;

/// A cgroup for one process at a time.
struct Cgroup {
    root: PathBuf,
    dir: PathBuf,
}

impl Cgroup {
    /// Makes one with that limit.
    fn new(limit: u64) -> Result<Cgroup> {
        let root = std::env::temp_dir().join("dax-guest.cgroup");
        let failed = |what: &str, e| Error::new(format!("{what} {}", root.display()), e);
        fs::create_dir_all(&root).map_err(|e| failed("mkdir", Errno::from(e)))?;
        let kind = Some("cgroup2");
        mount(kind, &root, kind, MsFlags::empty(), None::<&str>)
            .map_err(|e| failed("mount", Errno::from(e)))?;
        let dir = root.join("dax-guest");
        let cgroup = Cgroup { root, dir };
        sysfs::write(&cgroup.root.join("cgroup.subtree_control"), "+memory")?;
        fs::create_dir_all(&cgroup.dir).map_err(|e| Error::new("mkdir", Errno::from(e)))?;
        sysfs::write(&cgroup.file("memory.max"), &limit.to_string())?;
        Ok(cgroup)
    }

    /// One of its files.
    fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Moves this process into the cgroup.
    fn enter(&self) -> Result<()> {
        sysfs::write(&self.file("cgroup.procs"), "0")
    }

    /// A line of `memory.stat` or `memory.events`.
    fn count(&self, file: &str, name: &str) -> Result<u64> {
        let text = sysfs::read(&self.file(file))?;
        let found = text.lines().find_map(|line| {
            let (key, count) = line.split_once(' ')?;
            (key == name).then(|| count.parse().ok())?
        });
        found.ok_or_else(|| Error::state(format!("{file}: no {name}")))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.dir);
        let _ = umount2(&self.root, MntFlags::MNT_DETACH);
        let _ = fs::remove_dir(&self.root);
    }
}

/// Starts a process that enters a cgroup and touches each page of the mapping that `map` returns.
/// `page` is the size of a page in bytes. Checks that the process ends well.
fn touch_in(cgroup: &Cgroup, page: u64, map: impl FnOnce() -> Result<Map>) -> Outcome {
    let child = Child::spawn(|| {
        let touched = cgroup.enter().and_then(|()| map()).map(|map| {
            let mut words = (0..map.len() / page).map(|number| number * page);
            (words.all(|word| map.store(word, word).is_ok()), map)
        });
        match touched {
            // While it is all mapped.
            Ok((true, _map)) => match check_charge(cgroup) {
                Ok(()) => 0,
                Err(Failure::Fail(why) | Failure::Skip(why)) => {
                    note(why);
                    1
                }
            },
            other => {
                note(format!("{other:?}"));
                1
            }
        }
    })
    .map_err(failed("fork"))?;
    check(
        "process",
        child.wait(Duration::from_secs(150)),
        End::Exit(0),
    )
}

/// Checks that next to nothing is charged.
fn check_charge(cgroup: &Cgroup) -> Outcome {
    let charge = sysfs::read_number(&cgroup.file("memory.current"))?;
    let file = cgroup.count("memory.stat", "file")?;
    let tables = cgroup.count("memory.stat", "pagetables")?;
    note(format!(
        "charged: {charge}, of which file {file}, page tables {tables}"
    ));
    check("charged for files is next to nothing", file < MIB, true)?;
    check("charged is below the limit", charge < LIMIT, true)
}

fn pages_of_a_device_are_not_charged() -> Outcome {
    let regions = Region::fresh_all()?;
    let region = regions.get(1);
    let region = region.ok_or_else(|| Failure::Fail("no second region".into()))?;
    needs_units(region, 8 + SIZE / UNIT)?;
    let cgroup = Cgroup::new(LIMIT)?;
    for align in [PAGE, UNIT] {
        let device = region.create_bound(align, &[region.units(8, SIZE / UNIT)])?;
        touch_in(&cgroup, align, || Map::whole(&device))?;
        check("killed", cgroup.count("memory.events", "oom_kill")?, 0)?;
        region.destroy(&device)?;
    }
    // The limit is one: as much of other memory is too much.
    let mapped = || Map::anonymous(4 * LIMIT).map_err(|e| Error::new("mmap", e));
    let killed = touch_in(&cgroup, PAGE, mapped).is_err();
    check("a process with as much other memory fails", killed, true)?;
    check("killed", cgroup.count("memory.events", "oom_kill")?, 1)
}
