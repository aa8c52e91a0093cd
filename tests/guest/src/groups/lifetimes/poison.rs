// SPDX-License-Identifier: GPL-2.0
//! The kernel tells only those processes of poison that have the page (M8).

use crate::child::{Child, End};
use crate::device::Device;
use crate::errno::Errno;
use crate::ktap::{check, needs_memory_failure, Failure, Outcome, Test};
use crate::mmap::{self, Map};
use crate::pin::failed;
use crate::pipe::Pipe;
use crate::region::Region;
use crate::test;
use crate::units::{PAGE, UNIT};
use std::time::Duration;

/// The tests of this file.
pub const TESTS: &[Test] = &[test!(
    m8_poison_is_told_to_nobody_who_did_not_touch_the_page
)];

/// An address at which windows around a page would begin, whatever the number of pages that a fault
/// could map.
const ADDRESS: usize = 0x6000_0000_0000;
/// The page that is poisoned, and how many there are.
const POISONED: u64 = 5;
const PAGES: u64 = 16;
/// Time that the kernel may take to tell a process.
const SOON: Duration = Duration::from_secs(20);

/// Asks to be told of poison at once, in the way that ends a process.
fn ask_for_early_kill() -> Result<(), Errno> {
    // SAFETY: Sets a flag of this process; there are no pointers in it.
    let rc = unsafe {
        libc::prctl(
            libc::PR_MCE_KILL,
            libc::PR_MCE_KILL_SET,
            libc::PR_MCE_KILL_EARLY,
            0,
            0,
        )
    };
    Errno::result(rc)?;
    // SAFETY: The default action has no handler that could do anything.
    unsafe { libc::signal(libc::SIGBUS, libc::SIG_DFL) };
    Ok(())
}

/// A process that touches one page of a device and then waits for `over`.
fn toucher(device: &Device, page: u64, over: &Pipe) -> Result<Child, Failure> {
    let align = device.align()?;
    let ready = Pipe::new().map_err(failed("pipe"))?;
    let mut child = Child::spawn(|| {
        let touched = || -> Result<Map, Errno> {
            ask_for_early_kill()?;
            let file = mmap::open(&device.node())?;
            let map = Map::at(&file, ADDRESS, PAGES * align, 0)?;
            map.store(page * align, 1).map_err(|_| Errno::EFAULT)?;
            ready.write_word(1)?;
            Ok(map)
        };
        let Ok(_map) = touched() else {
            return 1;
        };
        while over.read_word().is_err() {
            std::thread::sleep(Duration::from_millis(5));
        }
        0
    })
    .map_err(failed("fork"))?;
    while ready.read_word().is_err() {
        check("a process that touches a page", child.poll(), None)?;
        std::thread::yield_now();
    }
    Ok(child)
}

/// Lets a process poison a page that it has itself.
pub(super) fn poison(device: &Device, page: u64) -> Outcome {
    let align = device.align()?;
    let child = Child::spawn(|| {
        // The process is told itself, and lives on: this program handles the signal.
        let poisoned = || -> Result<(), Errno> {
            let file = mmap::open(&device.node())?;
            let map = Map::shared(&file, align, page * align)?;
            map.store(0, 1).map_err(|_| Errno::EFAULT)?;
            map.advise(libc::MADV_HWPOISON)
        };
        poisoned().map_or_else(|errno| errno.0, |()| 0)
    });
    let end = child.map_err(failed("fork"))?.wait(SOON);
    check("madvise(MADV_HWPOISON)", end, End::Exit(0))
}

fn m8_poison_is_told_to_nobody_who_did_not_touch_the_page(region: &Region) -> Outcome {
    needs_memory_failure()?;
    for align in [PAGE, UNIT] {
        let device = region.create_bound(align, &[region.units(4, 40)])?;
        let over = Pipe::new().map_err(failed("pipe"))?;
        let mut neighbours = Vec::new();
        for page in [0, POISONED - 1, POISONED + 1] {
            neighbours.push((page, toucher(&device, page, &over)?));
        }
        let mut owner = toucher(&device, POISONED, &over)?;
        poison(&device, POISONED)?;
        let told = Some(End::Signal(libc::SIGBUS));
        check("who has the page", owner.wait_for(SOON), told)?;
        for _ in &neighbours {
            check("word", over.write_word(1), Ok(8))?;
        }
        for (page, neighbour) in neighbours {
            let what = format!("who has page {page}, of {align:#x} bytes");
            check(what, neighbour.wait(SOON), End::Exit(0))?;
        }
        region.destroy(&device)?;
    }
    Ok(())
}
