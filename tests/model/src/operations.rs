// SPDX-License-Identifier: GPL-2.0

//! The operations of users, each in a task of its own.

use kernel::bindings::{self, Area, OpenFile};
use kernel::error::code::*;
use kernel::error::{Error, Result};
use kernel::sched;

use crate::machine::{mapped_bytes, touched_page, Machine, BASE, GRANULE};

/// The device that is created next.
const NEXT: &str = "dax0.2";

/// One operation of a user.
pub struct Operation {
    /// Its name, and that of its task.
    pub name: &'static str,
    /// Does it.
    pub run: fn(&Machine) -> Result,
    /// The errors that it may end in.
    pub errors: &'static [Error],
    /// The object that it is about. If somebody takes that away, it may end in more errors.
    pub gone: Gone,
    /// Whether it may have to wait until all pins are gone.
    pub waits_for_pins: bool,
}

/// The object that an operation is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gone {
    /// Nothing that goes away.
    Never,
    /// The region.
    Region,
    /// The device, which goes with the region too.
    Device,
}

/// The errors of an operation on an object that is gone.
const GONE: &[Error] = &[ENOENT, ENODEV, ENXIO];
/// The errors of a change. Nobody knows which device the next one is.
const CHANGE: &[Error] = &[EBUSY, EINVAL, ENOSPC, ERANGE];
const CHANGE_NEXT: &[Error] = &[EBUSY, EINVAL, ENOSPC, ERANGE, ENOENT, ENODEV, ENXIO];

/// Writes to a file of a device.
fn write(device: &str, name: &str, text: &str) -> Result {
    let dev = bindings::find_device(device).ok_or(ENOENT)?;
    bindings::write_attribute(dev.raw(), name, text)
}

fn size(device: &str, granules: u64) -> Result {
    write(device, "size", &(granules * GRANULE).to_string())
}

/// Appends these granules of the region, each as a range.
fn append(machine: &Machine, granules: &[u64]) -> Result {
    let range = |granule: &u64| {
        let start = BASE + granule * GRANULE;
        format!("{start:#x}-{:#x}", start + GRANULE - 1)
    };
    let ranges: Vec<String> = granules.iter().map(range).collect();
    write(machine.device(), "mapping", &ranges.join(" "))
}

fn read(machine: &Machine) -> Result {
    let dev = bindings::find_device(machine.device()).ok_or(ENOENT)?;
    for name in ["size", "align", "resource"] {
        bindings::read_attribute(dev.raw(), name)?;
    }
    Ok(())
}

/// Opens the device, maps its first granule and touches a page there.
fn page(machine: &Machine) -> Result<Area> {
    let file = OpenFile::open(machine.device())?;
    let area = file.mmap(0, mapped_bytes())?;
    let (index, order) = touched_page();
    area.touch(index, order)?;
    Ok(area)
}

fn map(machine: &Machine) -> Result {
    let area = page(machine)?;
    machine.areas.lock().expect("no task panics").push(area);
    Ok(())
}

fn pin(machine: &Machine) -> Result {
    let (index, order) = touched_page();
    let pin = page(machine)?.pin(index, order)?;
    machine.pins.lock().expect("no task panics").push(pin);
    Ok(())
}

fn open(machine: &Machine) -> Result {
    let file = OpenFile::open(machine.device())?;
    machine.files.lock().expect("no task panics").push(file);
    Ok(())
}

macro_rules! operations {
    ($($name:literal $run:expr, $errors:expr, $gone:ident, $waits:literal;)*) => {
        /// All operations.
        pub static OPERATIONS: &[Operation] = &[$(Operation {
            name: $name,
            run: $run,
            errors: $errors,
            gone: Gone::$gone,
            waits_for_pins: $waits,
        }),*];
    };
}

operations! {
    "create" |m| m.write_region("create", "1"), &[ENOSPC], Region, false;
    "delete" |m| m.write_region("delete", m.device()), &[ENXIO, EBUSY], Device, false;
    "delete next" |m| m.write_region("delete", NEXT), &[ENXIO, EBUSY], Region, false;
    "grow" |m| size(m.device(), 3), CHANGE, Device, false;
    "grow next" |_| size(NEXT, 1), CHANGE_NEXT, Never, false;
    "shrink" |m| size(m.device(), 1), CHANGE, Device, false;
    "empty" |m| size(m.device(), 0), CHANGE, Device, false;
    "mapping" |m| append(m, &[6]), CHANGE, Device, false;
    "mappings" |m| append(m, &[7, 6]), CHANGE, Device, false;
    "align" |m| write(m.device(), "align", "4096"), CHANGE, Device, false;
    "memmap" |m| write(m.device(), "memmap_on_memory", "1"), CHANGE, Device, false;
    "read" read, &[], Device, false;
    "bind" |m| bindings::bind("device_dax", m.device()), &[ENXIO, EBUSY, EAGAIN], Device, false;
    "bind next" |_| bindings::bind("device_dax", NEXT), &[ENOENT, ENODEV, ENXIO, EBUSY, EAGAIN], Never, false;
    "unbind" |m| bindings::unbind("device_dax", m.device()), &[ENODEV], Device, false;
    "new_id" |m| bindings::write_driver_attribute("kmem", "new_id", m.device()), &[ENOENT, ENODEV], Never, false;
    "own new_id" |m| bindings::write_driver_attribute("device_dax", "new_id", m.device()), &[], Never, false;
    "fsdev new_id" |m| bindings::write_driver_attribute("fsdev_dax", "new_id", m.device()), &[], Never, false;
    "fsdev bind" |m| bindings::bind("fsdev_dax", m.device()), &[ENOENT, ENODEV, ENXIO, EBUSY, EAGAIN], Never, false;
    "fsdev unbind" |m| bindings::unbind("fsdev_dax", m.device()), &[ENOENT, ENODEV], Never, false;
    "kmem bind" |m| bindings::bind("kmem", m.device()), &[ENOENT, ENODEV, ENXIO, EBUSY, EAGAIN], Never, false;
    "kmem unbind" |m| bindings::unbind("kmem", m.device()), &[ENOENT, ENODEV], Never, false;
    "kmem unload" |m| { m.unload_kmem(); Ok(()) }, &[], Never, false;
    "open" open, &[ENXIO], Device, false;
    "close" |m| { m.close(); Ok(()) }, &[], Never, false;
    "map" map, &[ENXIO, EFAULT, ENODEV], Device, false;
    "unmap" |m| { m.unmap(); Ok(()) }, &[], Never, false;
    "pin" pin, &[ENXIO, EFAULT, ENODEV], Device, false;
    "unpin" |m| { m.unpin(); Ok(()) }, &[], Never, false;
    "region unbind" |m| { m.unbind_region(); Ok(()) }, &[], Never, true;
    "region rebind" |m| { m.unbind_region(); bindings::take_memory_offline(); m.bind_region() }, &[EBUSY], Never, true;
    "kill" |_| { bindings::kill("region"); Ok(()) }, &[], Never, false;
    "shutdown" |_| { bindings::shut_down(); Ok(()) }, &[], Never, false;
}

/// The operation of that name.
pub fn operation(name: &str) -> &'static Operation {
    let found = OPERATIONS.iter().find(|operation| operation.name == name);
    found.unwrap_or_else(|| panic!("there is no operation {name}"))
}

impl Operation {
    /// Does it, and looks at what it says. `others` are done at the same time.
    pub fn perform(&self, machine: &Machine, others: &[&Operation], may_fail: bool) {
        let result = (self.run)(machine);
        sched::trace(|| format!("{} says {result:?}", self.name));
        sched::part(|results: &mut Results| results.0.push((self.name, result)));
        if let Err(e) = result {
            let region_goes = others.iter().any(|other| other.waits_for_pins);
            let device_goes = region_goes || others.iter().any(|other| other.name == "delete");
            let gone = match self.gone {
                Gone::Never => false,
                Gone::Region => region_goes,
                Gone::Device => device_goes,
            };
            // Zeroing ends early.
            let goes_down = others.iter().any(|other| other.name == "shutdown");
            let expected = self.errors.contains(&e)
                || (goes_down && bindings::is_kept_clean() && e == EINTR)
                || (gone && GONE.contains(&e))
                || (may_fail && e == ENOMEM)
                || (machine.is_static() && [EACCES, ENOENT].contains(&e));
            sched::require(expected, format!("{} says {e:?}", self.name));
        }
    }
}

/// The results of the operations.
#[derive(Default)]
struct Results(Vec<(&'static str, Result)>);

/// Number of operations of these names that succeeded.
pub fn successes(names: &[&str]) -> usize {
    sched::part(|results: &mut Results| {
        let good = results.0.iter().filter(|(_, result)| result.is_ok());
        good.filter(|(name, _)| names.contains(name)).count()
    })
}
