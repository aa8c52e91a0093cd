// SPDX-License-Identifier: GPL-2.0
//! `device_add()` of a device fails while somebody already gives the device memory (L3). Ids need
//! no large pieces of memory (L6).

use crate::child::Child;
use crate::cpu::{self, Hog};
use crate::device::{Device, Driver};
use crate::errno::Errno;
use crate::family;
use crate::inject::{injector, Injector, Starved};
use crate::kernel;
use crate::ktap::{check, note, part, Failure, Outcome, Test};
use crate::mmap::Map;
use crate::pin::failed;
use crate::race::write;
use crate::region::{self, Region};
use crate::snapshot::Snapshot;
use crate::sysfs::{self, Error};
use crate::test;
use crate::units::{PAGE, UNIT};
use std::path::PathBuf;
use std::time::Duration;

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(
        l3_device_that_is_not_added_leaves_nothing_to_a_writer,
        region::tear_down
    )
    .not_on_c("deadlocks")
    .slow(),
    test!(l6_ids_need_no_large_pieces_of_memory, stop_starving),
];

/// A process that writes `size` again and again while it is told to.
struct Writer {
    /// Three words: whether the writer shall write, whether it writes, and the number of writes
    /// that succeeded.
    words: Map,
    child: Child,
}

const WANTED: u64 = 0;
const WRITING: u64 = 8;
const WRITTEN: u64 = 16;

impl Writer {
    /// Starts a writer on this CPU. The task that creates devices runs on another one.
    fn new(size: PathBuf, cpu: usize) -> Result<Writer, Failure> {
        let words = Map::anonymous(PAGE).map_err(failed("mmap"))?;
        let texts = [6 * UNIT, UNIT, 4 * UNIT].map(|bytes| bytes.to_string());
        let child = Child::spawn(|| {
            if cpu::stay_on(cpu).is_err() {
                return 1;
            }
            for round in 0.. {
                let wanted = words.load(WANTED);
                if words.store(WRITING, wanted.unwrap_or(0)).is_err() {
                    return 1;
                }
                if wanted != Ok(1) {
                    std::thread::sleep(Duration::from_micros(200));
                } else if write(&size, &texts[round % texts.len()]).is_ok() {
                    let _ = words.store(WRITTEN, words.load(WRITTEN).unwrap_or(0) + 1);
                }
            }
            0
        });
        let child = child.map_err(failed("fork"))?;
        Ok(Writer { words, child })
    }

    /// Lets it write, or waits until it writes no more.
    fn tell(&self, wanted: bool) -> sysfs::Result<()> {
        let failed = |signal| Error::state(format!("a writer: {signal:?}"));
        let wanted = u64::from(wanted);
        self.words.store(WANTED, wanted).map_err(failed)?;
        kernel::eventually("a writer that does as it is told", || {
            let is = self.words.load(WRITING).map_err(failed)?;
            Ok((is == wanted).then_some(()))
        })
    }

    /// Number of times that it has written.
    fn count(&self) -> u64 {
        self.words.load(WRITTEN).unwrap_or(0)
    }
}

/// The minor number of a new device, which is deleted again.
fn minor(region: &Region) -> sysfs::Result<String> {
    let device = region.create()?;
    let minor = device.dev()?;
    region.delete(&device)?;
    Ok(minor)
}

/// An operation that needs more allocations than this is broken.
const MOST: u64 = 1000;

fn l3_device_that_is_not_added_leaves_nothing_to_a_writer() -> Outcome {
    let region = Region::fresh()?;
    let injector = injector()?;
    Injector::quiet()?;
    // The free memory is in several holes, so that growth has several mappings to register.
    region.create_over(&[1, 3, 6].map(|unit| region.units(unit, 1)))?;
    let device = Device::named("dax0.2");
    let first = minor(&region)?;
    let (before, available) = (look(&region)?, region.available()?);
    let writer = Writer::new(region.dir().join("dax0.2/size"), 0)?;
    // The task that creates devices loses its CPU half way.
    let hog = Hog::in_turns(1)?;
    cpu::stay_on(1).map_err(failed("sched_setaffinity"))?;
    let mut tally = (0, 0);
    for nth in 1..=MOST {
        writer.tell(true)?;
        injector.arm(nth).map_err(failed("fail-nth"))?;
        let created = write(&region.attr("create"), "1");
        let injected = injector.disarm().map_err(failed("fail-nth"))?;
        writer.tell(false)?;
        if let Err(errno) = created {
            tally.1 += 1;
            check(format!("allocation {nth}"), errno, Errno::ENOMEM)?;
            check(format!("{device:?} after that"), device.exists(), false)?;
        } else {
            tally.0 += 1;
            region.destroy(&device)?;
        }
        check("available", region.available()?, available)?;
        if !injected {
            note(format!(
                "{} allocations; {} devices were made, {} were not; size was written {} times",
                nth - 1,
                tally.0,
                tally.1,
                writer.count()
            ));
            check("size was written", writer.count() > 0, true)?;
            check("devices that could not be added", tally.1 > 0, true)?;
            hog.end()?;
            writer.child.end()?;
            before.check_same(&look(&region)?)?;
            return nothing_is_left(&region, &first);
        }
    }
    check("create ends", false, true)
}

/// Everything that a user can see of the region.
fn look(region: &Region) -> sysfs::Result<Snapshot> {
    let mut state = Snapshot::of(region)?;
    state.forget_minors();
    Ok(state)
}

/// No number is lost, and no object, whose type would be gone with the module.
fn nothing_is_left(region: &Region, first: &str) -> Outcome {
    let what = format!("the minor number {first} for a new device");
    kernel::eventually(&what, || Ok((minor(region)? == first).then_some(())))?;
    part("the module goes", || {
        family::require_modules()?;
        family::unload()?;
        Ok(Region::fresh().map(drop)?)
    })
}

/// So many ids that an array of them is no small piece of memory.
const IDS: u32 = 3000;

/// Lets every piece of memory be given away again.
fn stop_starving() -> sysfs::Result<()> {
    Starved::end()?;
    region::tear_down()
}

/// A machine that runs for long has no large pieces of memory.
fn l6_ids_need_no_large_pieces_of_memory() -> Outcome {
    injector()?;
    Injector::quiet()?;
    let _region = Region::fresh()?;
    let driver = Driver::DeviceDax;
    let told = |attr: &str| {
        (0..IDS).try_for_each(|id| {
            let name = format!("dax9.{id}");
            let told = driver.try_write(attr, &name);
            check(format!("{attr} of {name}"), told, Ok(name.len()))
        })
    };
    Starved::of_more_than_a_page()?;
    told("new_id")?;
    told("remove_id")
}
