// SPDX-License-Identifier: GPL-2.0

//! What an operation on a device gives whenever no other operation runs. That depends on whether a
//! driver is bound and pages are pinned, and on nothing that happened before.

use kernel::bindings::{self, device};
use kernel::error::code::{EBUSY, EINTR, ENODEV, ENXIO};
use kernel::error::Result;
use kernel::sched;

use crate::machine::{Machine, GRANULE, ORDER};

/// The file `name` of a device: what writing `text` to it must give.
fn write(name: &str, dev: *mut device, file: &str, text: &str, expected: &[Result]) {
    let result = bindings::write_attribute(dev, file, text);
    sched::require(
        expected.contains(&result),
        format!("nobody does anything, and {text} to {file} of {name} gives {result:?}"),
    );
}

fn read(dev: *mut device, file: &str) -> String {
    bindings::read_attribute(dev, file)
        .unwrap_or_else(|e| sched::violation(format!("nobody does anything: {file} gives {e:?}")))
}

/// Checks all devices.
pub(crate) fn check(machine: &Machine) {
    for name in bindings::devices_on_bus() {
        let Some(dev) = bindings::find_device(&name) else {
            sched::violation(format!("{name} is on the bus, and cannot be found"));
        };
        let is_static = machine.is_static();
        let raw = dev.raw();
        let driver = bindings::driver_of(&name);
        let (size, align) = (read(raw, "size"), read(raw, "align"));
        let busy = driver.is_some() || bindings::is_held(raw);
        let changes: &[Result] = if busy { &[Err(EBUSY)] } else { &[Ok(())] };
        if !is_static {
            write(&name, raw, "size", &size, changes);
            write(&name, raw, "align", &align, changes);
        }
        let on = read(raw, "memmap_on_memory");
        let kmem = driver.as_deref() == Some("kmem");
        let other = if on == "0" { "1" } else { "0" };
        let changes: &[Result] = if kmem { &[Err(EBUSY)] } else { &[Ok(())] };
        write(&name, raw, "memmap_on_memory", other, changes);
        if !kmem {
            write(&name, raw, "memmap_on_memory", &on, changes);
        }
        if driver.is_none() {
            let result = bindings::bind("device_dax", &name);
            let expected = match (busy, size.as_str()) {
                (true, _) => Err(EBUSY),
                (false, "0") => Err(ENXIO),
                (false, _) => Ok(()),
            };
            // Then zeroing what kmem left ends early.
            let goes_down = bindings::is_down() && result == Err(EINTR);
            sched::require(
                result == expected || goes_down && bindings::is_kept_clean(),
                format!("nobody does anything, and binding {name} gives {result:?}"),
            );
            if result.is_ok() {
                touch(machine, &name, &align);
                let result = bindings::unbind("device_dax", &name);
                sched::require(result.is_ok(), format!("unbinding {name} gives {result:?}"));
            }
        }
        if driver.as_deref() == Some("device_dax") {
            touch(machine, &name, &align);
        }
        if busy && !is_static && name != "dax0.0" {
            let result = machine.write_region("delete", &name);
            sched::require(
                result == Err(EBUSY),
                format!("{name} is in use, and deleting it gives {result:?}"),
            );
        }
    }
}

/// Touches the first page of a device that device_dax has.
fn touch(machine: &Machine, name: &str, align: &str) {
    let order = match align == GRANULE.to_string() {
        true => ORDER,
        false => 0,
    };
    let file = bindings::OpenFile::open(name);
    let touched = file.and_then(|file| file.mmap(0, GRANULE as usize)?.touch(0, order));
    // While a file of fsdev is open, the node leads to the files of fsdev.
    let files = machine.files.lock().expect("no task panics");
    let of_fsdev = touched == Err(ENODEV) && !files.is_empty();
    sched::require(
        touched.is_ok() || of_fsdev,
        format!("{name} is bound, and touching it gives {touched:?}"),
    );
}
