// SPDX-License-Identifier: GPL-2.0
//! userfaultfd. The kernel lets it watch writes to any memory, as long as nobody has to wait for
//! it. Its other modes need memory of a file system that supports them, or anonymous memory.

use super::{device, failed};
use crate::errno::Errno;
use crate::family;
use crate::groups::mmap::AROUND_WINDOW;
use crate::kernel;
use crate::ktap::{check, deviates, skip, Failure, Outcome, Test};
use crate::mmap::Map;
use crate::region::Region;
use crate::test;
use crate::trap::{self, Signal};
use crate::uffd::{self, Uffd, ASYNC, MINOR, MISSING, WP};
use crate::units::{PAGE, UNIT};
use nix::unistd::alarm;

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(only_writes_can_be_watched_and_only_without_waiting),
    test!(written_pages_are_known_and_no_others),
    test!(page_that_is_watched_before_it_is_mapped_is_an_error)
        .not_on_c("a load takes for ever, a store ends in a warning, and writes are missed"),
    test!(watched_area_has_no_neighbours_mapped),
    test!(watched_area_of_an_unbound_device_gives_sigbus),
];

/// A userfaultfd that lets nobody wait. Skips the test on a CPU that cannot protect pages for it:
/// most of RISC-V lack the bit in a page table.
fn asynchronous() -> Result<Uffd, Failure> {
    match Uffd::new(ASYNC) {
        Err(Errno::EINVAL) if cfg!(target_arch = "riscv64") => {
            skip("userfaultfd of this machine has no write protection")
        }
        opened => opened.map_err(failed("userfaultfd")),
    }
}

fn only_writes_can_be_watched_and_only_without_waiting(region: &Region) -> Outcome {
    drop(asynchronous()?);
    for align in [PAGE, UNIT] {
        let device = device(region, align)?;
        let map = Map::whole(&device)?;
        for touched in [false, true] {
            for (features, mode) in [
                (0, MISSING),
                (0, WP),
                (0, MINOR),
                (ASYNC, MISSING),
                (ASYNC, MINOR),
                (ASYNC, WP | MISSING),
                (ASYNC, WP),
            ] {
                let uffd = Uffd::new(features).map_err(failed("userfaultfd"))?;
                // To protect huge pages that are not mapped the kernel takes a page table of small
                // ones, and there is no way back; of those that are mapped it then misses writes.
                // The C driver lets it.
                let allowed = (features, mode) == (ASYNC, WP) && deviates(align == PAGE, true);
                let expected = if allowed { Ok(()) } else { Err(Errno::EINVAL) };
                check(
                    format!("{align:#x}, touched: {touched}, {features:#x}, {mode:#x}"),
                    uffd.register(&map, mode),
                    expected,
                )?;
                if allowed {
                    check("unregister", uffd.unregister(&map), Ok(()))?;
                }
            }
            check("store", map.store(UNIT, 1), Ok(()))?;
        }
        drop(map);
        region.destroy(&device)?;
    }
    Ok(())
}

fn written_pages_are_known_and_no_others(region: &Region) -> Outcome {
    let device = device(region, PAGE)?;
    let map = Map::whole(&device)?;
    let pages = map.len() / PAGE;
    // Each is mapped: by a load or by a store.
    for page in 0..pages {
        if page % 3 == 0 {
            check("store", map.store(page * PAGE, page), Ok(()))?;
        } else {
            check("load", map.load(page * PAGE).is_ok(), true)?;
        }
    }
    let uffd = asynchronous()?;
    check("register", uffd.register(&map, WP), Ok(()))?;
    let all: Vec<u64> = (0..pages).collect();
    check("before the first step", uffd::written(&map, true), Ok(all))?;
    // The first page of the second page table, and of the second range.
    let (table, border) = (UNIT / PAGE, device.ranges()?[1].page_offset);
    let steps: [&[u64]; 4] = [
        &[],
        &[0, 1, table, pages - 1],
        &[1, 2, 3],
        &[border - 1, border],
    ];
    for (step, pages) in (1..).zip(steps) {
        for &page in pages {
            check("store", map.store(page * PAGE + 8, step), Ok(()))?;
        }
        check("load", map.load(7 * PAGE).is_ok(), true)?;
        let written = uffd::written(&map, true);
        check(format!("step {step}"), written, Ok(pages.to_vec()))?;
    }
    check("unregister", uffd.unregister(&map), Ok(()))?;
    for page in [0, 5, border] {
        check("store", map.store(page * PAGE, 9), Ok(()))?;
        check("load", map.load(page * PAGE), Ok(9))?;
    }
    Ok(())
}

/// Lets an access that takes for ever fail.
extern "C" fn on_alarm(signal: i32, _info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: The handler is installed with SA_SIGINFO, so the kernel passes what it asks for.
    unsafe { trap::resume(signal, context) };
}

/// An access that may take two seconds.
fn soon<T>(access: impl FnOnce() -> Result<T, Signal>) -> Result<(), Signal> {
    alarm::set(2);
    let answer = access().map(drop);
    alarm::cancel();
    answer
}

/// Pages are protected that are not mapped: because nobody touched them yet, or because they were
/// given back. The memory manager has no function that would map them, so an access is an error, and
/// does not take for ever.
fn page_that_is_watched_before_it_is_mapped_is_an_error(region: &Region) -> Outcome {
    trap::handle(nix::sys::signal::SIGALRM, on_alarm).map_err(failed("sigaction"))?;
    for align in [PAGE, UNIT] {
        let device = device(region, align)?;
        let map = Map::whole(&device)?;
        let uffd = asynchronous()?;
        if uffd.register(&map, WP) == Err(Errno::EINVAL) {
            continue;
        }
        check("protect", uffd::written(&map, true).is_ok(), true)?;
        let [loaded, stored] = [1, 3].map(|page| page * align);
        check("load", soon(|| map.load(loaded)), Err(Signal::BUS))?;
        check("store", soon(|| map.store(stored, 1)), Err(Signal::BUS))?;
        // Giving a page back does not make the memory manager forget.
        check("madvise", map.advise(libc::MADV_DONTNEED), Ok(()))?;
        check("load again", soon(|| map.load(loaded)), Err(Signal::BUS))?;
        check("unregister", uffd.unregister(&map), Ok(()))?;
        check("load unwatched", soon(|| map.load(loaded)), Ok(()))?;
        check("store unwatched", soon(|| map.store(stored, 2)), Ok(()))?;
        drop(map);
        region.destroy(&device)?;
    }
    Ok(())
}

fn watched_area_has_no_neighbours_mapped(_: &Region) -> Outcome {
    family::require_modules()?;
    let outcome = touch_watched();
    // The next test loads the module as it is loaded by default.
    family::unload_bus()?;
    outcome
}

/// With fault-around turned on, a touch of an area that is watched maps one page. (The C driver
/// has no such thing, and does not mind the parameter.)
fn touch_watched() -> Outcome {
    family::unload_bus()?;
    let parameter = format!("fault_around_bytes={}", AROUND_WINDOW * PAGE);
    kernel::run("modprobe", &["device_dax", &parameter])?;
    let region = Region::fresh()?;
    let device = device(&region, PAGE)?;
    let map = Map::whole(&device)?;
    let uffd = asynchronous()?;
    check("register", uffd.register(&map, WP), Ok(()))?;
    check("load", map.load(20 * PAGE).is_ok(), true)?;
    check("store", map.store(40 * PAGE, 1), Ok(()))?;
    check("mapped", map.present(PAGE)?, vec![20, 40])?;
    check("unregister", uffd.unregister(&map), Ok(()))?;
    check("load", map.load(100 * PAGE).is_ok(), true)?;
    let around = map.present(PAGE)?.len() - 2;
    check("mapped around", around as u64, deviates(AROUND_WINDOW, 1))
}

fn watched_area_of_an_unbound_device_gives_sigbus(region: &Region) -> Outcome {
    let device = device(region, PAGE)?;
    let map = Map::whole(&device)?;
    for page in 0..4 {
        check("store", map.store(page * PAGE, 1), Ok(()))?;
    }
    let uffd = asynchronous()?;
    check("register", uffd.register(&map, WP), Ok(()))?;
    check("protect", uffd::written(&map, false).is_ok(), true)?;
    device.unbind()?;
    check("load", map.load(0), Err(Signal::BUS))?;
    check("store", map.store(PAGE, 1), Err(Signal::BUS))?;
    check("unregister", uffd.unregister(&map), Ok(()))?;
    check("store", map.store(PAGE, 1), Err(Signal::BUS))
}
