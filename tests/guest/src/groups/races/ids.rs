// SPDX-License-Identifier: GPL-2.0
//! A driver that goes takes all its ids along, also those that it gets meanwhile.

use super::SLOW;
use crate::cpu::{self, Hog};
use crate::device::Driver;
use crate::errno::Errno;
use crate::family;
use crate::kernel::modprobe;
use crate::ktap::{check, note, Failure, Outcome, Test};
use crate::pin;
use crate::region::Region;
use crate::test;
use crate::units::UNIT;
use nix::kmod::{delete_module, DeleteModuleFlags};
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(all_ids_of_a_driver_go_with_it),
    test!(id_told_to_a_driver_that_goes_goes_with_it)
        .not_on_c("may leave an id in a freed list")
        .slow(),
];

/// Number of times that the driver goes. Its list is to be emptied when nobody can add to it any
/// more, and the moment in which the one may come before the other is short.
const ROUNDS: u64 = 25;
/// The CPU of tasks that write ids.
const FAST: usize = 0;

/// Removes the driver's module, on a CPU that it loses again and again.
fn remove(module: &str) -> Result<(), Errno> {
    cpu::yield_to_all_on(SLOW)?;
    let name = std::ffi::CString::new(module).map_err(|_| Errno::EINVAL)?;
    Ok(delete_module(&name, DeleteModuleFlags::O_NONBLOCK)?)
}

/// Tells the driver of a device again and again, until the driver is gone. Returns the number of
/// times.
fn tell(new_id: &Path, name: &str) -> Result<u64, Errno> {
    cpu::stay_on(FAST)?;
    // Opened once: what counts is what happens between two writes.
    let file = OpenOptions::new().write(true).open(new_id)?;
    let mut count = 0;
    while file.write_at(name.as_bytes(), 0).is_ok() {
        count += 1;
    }
    Ok(count)
}

/// The driver is usually loaded again at its former address, so it would own an id that was left
/// behind.
fn all_ids_of_a_driver_go_with_it(region: &Region) -> Outcome {
    family::require_modules()?;
    let driver = Driver::FsdevDax;
    let devices = [region.create()?, region.create()?, region.create()?];
    modprobe(&[driver.name()])?;
    for device in &devices {
        crate::sysfs::write(&driver.attr("new_id"), device.name())?;
    }
    modprobe(&["-r", driver.name()])?;
    modprobe(&[driver.name()])?;
    for device in &devices {
        device.set_size(UNIT)?;
        let bound = driver.try_write("bind", device.name()).map(drop);
        check(format!("bind of {device:?}"), bound, Err(Errno::ENODEV))?;
    }
    devices
        .iter()
        .try_for_each(|device| region.destroy(device))?;
    Ok(())
}

fn id_told_to_a_driver_that_goes_goes_with_it(region: &Region) -> Outcome {
    family::require_modules()?;
    family::require_drivers_to_come_back()?;
    let driver = Driver::FsdevDax;
    // Without size no driver takes it, so that telling takes no time.
    let device = region.create()?;
    let (name, new_id) = (device.name(), driver.attr("new_id"));
    let mut told = 0;
    for round in 0..ROUNDS {
        modprobe(&[driver.name()])?;
        let hog = Hog::in_turns(SLOW)?;
        let (removed, counts) = thread::scope(|scope| {
            let tellers = [(); 2].map(|()| scope.spawn(|| tell(&new_id, name)));
            let remover = scope.spawn(|| remove(driver.name()));
            (remover.join(), tellers.map(|teller| teller.join()))
        });
        hog.end()?;
        let panicked = |_| Failure::Fail("a thread panicked".into());
        check("removal", removed.map_err(panicked)?, Ok(()))?;
        for count in counts {
            told += match count.map_err(panicked)? {
                // The driver was gone before the file was opened.
                Err(Errno::ENOENT | Errno::ENODEV) => 0,
                count => count.map_err(pin::failed("tell"))?,
            };
        }
        // The driver binds devices whose ids it was told, and it was told none since it was loaded.
        modprobe(&[driver.name()])?;
        device.set_size(UNIT)?;
        let bound = driver.try_write("bind", name).map(drop);
        check(format!("bind in round {round}"), bound, Err(Errno::ENODEV))?;
        device.set_size(0)?;
    }
    note(format!("told {told} times"));
    check("the driver was told", told > 0, true)
}
