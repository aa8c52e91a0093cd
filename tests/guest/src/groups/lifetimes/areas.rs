// SPDX-License-Identifier: GPL-2.0
//! The addresses of areas, and what happens when areas move or grow (M4, M5, M7).

use crate::device::Device;
use crate::errno::Errno;
use crate::kernel::{self, Impl};
use crate::ktap::{check, deviates, Failure, Outcome, Test};
use crate::mmap::{self, Map};
use crate::pin::failed;
use crate::region::Region;
use crate::test;
use crate::trap::Signal;
use crate::units::{PAGE, UNIT};
use std::ffi::CString;
use std::fs::File;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(m4_area_of_huge_pages_does_not_grow),
    test!(m4_area_of_small_pages_grows),
    test!(m4_area_shrinks_and_moves),
    test!(m4_area_moved_between_pages_shows_no_other_data),
    test!(m5_hint_that_does_not_fit_is_a_wish),
    test!(m5_hint_that_fits_is_taken),
    test!(m5_hint_that_is_taken_is_a_wish).not_on_c("chooses an address that may not fit"),
    test!(m7_statx_says_dax_once_the_node_was_opened),
];

/// A device of eight units in two ranges, and its open file.
fn opened(region: &Region, align: u64) -> Result<(Device, File), Failure> {
    let device = region.create_bound(align, &[region.units(20, 4), region.units(4, 4)])?;
    let file = mmap::open(&device.node()).map_err(failed("open"))?;
    Ok((device, file))
}

/// Maps the first `len` bytes of the file, and stores a word that follows from the offset in every
/// page.
fn filled(file: &File, align: u64, len: u64) -> Result<Map, Failure> {
    let map = Map::shared(file, len, 0).map_err(failed("mmap"))?;
    for at in (0..len).step_by(align as usize) {
        check("store", map.store(at, at + 1), Ok(()))?;
    }
    Ok(map)
}

/// Checks the words that [`filled`] stored.
fn check_filled(map: &Map, align: u64, len: u64) -> Outcome {
    for at in (0..len).step_by(align as usize) {
        check(format!("load at {at:#x}"), map.load(at), Ok(at + 1))?;
    }
    Ok(())
}

/// An area that would grow by a part of a page, or into guards, does not grow, as with hugetlbfs.
fn m4_area_of_huge_pages_does_not_grow(region: &Region) -> Outcome {
    let (_, file) = opened(region, UNIT)?;
    for len in [4 * UNIT + PAGE, 5 * UNIT - PAGE, 5 * UNIT, 8 * UNIT] {
        let mut map = filled(&file, UNIT, 4 * UNIT)?;
        let grown = map.resize(len);
        check(
            format!("mremap to {len:#x}"),
            grown,
            deviates(Err(Errno::EFAULT), Ok(())),
        )?;
        // The pages that were in no page table must still come.
        check(
            "madvise",
            map.advise_part(0, 4 * UNIT, libc::MADV_DONTNEED),
            Ok(()),
        )?;
        if kernel::driver() == Impl::C && len % UNIT != 0 {
            check("load", map.load(0), Err(Signal::BUS))?;
        } else {
            check_filled(&map, UNIT, 4 * UNIT)?;
        }
    }
    // To ask for the same pages once more is to grow.
    let map = filled(&file, UNIT, 4 * UNIT)?;
    let twin = map.duplicate();
    let answer = twin.as_ref().map(|twin| twin.load(UNIT));
    let expected = deviates(Err(&Errno::EFAULT), Ok(Ok(UNIT + 1)));
    check("duplicate", answer, expected)?;
    check_filled(&map, UNIT, 4 * UNIT)?;
    // So is to move the pages, and keep the area where they were.
    let moved = map.move_and_keep();
    let answer = moved.as_ref().map(|moved| moved.load(UNIT));
    let expected = deviates(Err(&Errno::EINVAL), Ok(Ok(UNIT + 1)));
    check("MREMAP_DONTUNMAP", answer, expected)?;
    check_filled(&map, UNIT, 4 * UNIT)
}

fn m4_area_of_small_pages_grows(region: &Region) -> Outcome {
    let (_, file) = opened(region, PAGE)?;
    let mut map = filled(&file, PAGE, 4 * UNIT)?;
    let twin = map.duplicate().map_err(failed("mremap"))?;
    check_filled(&twin, PAGE, 4 * UNIT)?;
    for len in [4 * UNIT + PAGE, 5 * UNIT - PAGE, 8 * UNIT] {
        check(format!("mremap to {len:#x}"), map.resize(len), Ok(()))?;
        check_filled(&map, PAGE, 4 * UNIT)?;
        check("store", map.store(len - 8, len), Ok(()))?;
        check("load", map.load(len - 8), Ok(len))?;
    }
    Ok(())
}

fn m4_area_shrinks_and_moves(region: &Region) -> Outcome {
    for align in [PAGE, UNIT] {
        let (device, file) = opened(region, align)?;
        let mut map = filled(&file, align, 8 * UNIT)?;
        check("by a whole page", map.resize(6 * UNIT), Ok(()))?;
        let part = map.resize(6 * UNIT - PAGE);
        let expected = if align == PAGE {
            Ok(())
        } else {
            Err(Errno::EINVAL)
        };
        check("by a small page", part, expected)?;
        let room = Map::room(16 * UNIT).map_err(failed("mmap"))?;
        let fitting = room.first_multiple(UNIT);
        check("move", map.move_into(room, fitting), Ok(()))?;
        check_filled(&map, align, map.len() / UNIT * UNIT)?;
        device.unbind()?;
        check("load after unbind", map.load(0), Err(Signal::BUS))?;
        drop(map);
        region.destroy(&device)?;
    }
    Ok(())
}

fn m4_area_moved_between_pages_shows_no_other_data(region: &Region) -> Outcome {
    let (device, file) = opened(region, UNIT)?;
    let mut map = filled(&file, UNIT, 4 * UNIT)?;
    let room = Map::room(16 * UNIT).map_err(failed("mmap"))?;
    let between = room.first_multiple(UNIT) + 5 * PAGE;
    check("move", map.move_into(room, between), Ok(()))?;
    for at in (0..4 * UNIT).step_by(UNIT as usize) {
        // Page tables may have been moved as they were; then the data is where it was.
        let word = map.load(at);
        let right = [Ok(at + 1), Err(Signal::BUS)].contains(&word);
        check(format!("load at {at:#x}: {word:?}"), right, true)?;
    }
    drop(map);
    check_filled(&filled(&file, UNIT, UNIT)?, UNIT, UNIT)?;
    Ok(device.unbind()?)
}

/// Address space for `len` bytes at a multiple of `align`, which is free again.
fn free(len: u64, align: u64) -> Result<u64, Failure> {
    let room = Map::room(len + align).map_err(failed("mmap"))?;
    Ok(room.addr() as u64 + room.first_multiple(align))
}

fn m5_hint_that_does_not_fit_is_a_wish(region: &Region) -> Outcome {
    let (_, file) = opened(region, UNIT)?;
    for offset in [0, UNIT, 3 * UNIT] {
        for beside in [PAGE, UNIT / 2, UNIT - PAGE] {
            let hint = free(8 * UNIT, UNIT)? + beside;
            let mapped = Map::hinted(&file, hint as usize, 4 * UNIT, offset);
            let what = format!("{beside:#x} beside a multiple, from {offset:#x}");
            let answer = mapped.as_ref().map(|map| map.addr() as u64 % UNIT);
            let expected = deviates(Ok(0), Err(&Errno::EINVAL));
            check(&what, answer, expected)?;
            if let Ok(map) = mapped {
                check("store", map.store(3 * UNIT, 7), Ok(()))?;
            }
        }
    }
    Ok(())
}

fn m5_hint_that_fits_is_taken(region: &Region) -> Outcome {
    for align in [PAGE, UNIT] {
        let (device, file) = opened(region, align)?;
        for offset in [0, align, 3 * UNIT] {
            let hint = free(8 * UNIT, UNIT)? + 3 * align;
            let map = Map::hinted(&file, hint as usize, 2 * UNIT, offset);
            let map = map.map_err(failed("mmap"))?;
            check("address", map.addr() as u64, hint)?;
            check("store", map.store(UNIT, 7), Ok(()))?;
        }
        drop(file);
        region.destroy(&device)?;
    }
    Ok(())
}

fn m5_hint_that_is_taken_is_a_wish(region: &Region) -> Outcome {
    for align in [PAGE, UNIT] {
        let (device, file) = opened(region, align)?;
        let there = Map::room(16 * UNIT).map_err(failed("mmap"))?;
        for beside in [0, PAGE] {
            let hint = there.addr() as u64 + there.first_multiple(UNIT) + beside;
            let map = Map::hinted(&file, hint as usize, 4 * UNIT, 0);
            let map = map.map_err(failed("mmap"))?;
            check("address is a multiple", map.addr() as u64 % align, 0)?;
            let (start, end) = (there.addr() as u64, there.addr() as u64 + there.len());
            let elsewhere = !(start..end).contains(&(map.addr() as u64));
            check("elsewhere", elsewhere, true)?;
            check("store", map.store(3 * UNIT, 7), Ok(()))?;
        }
        drop(file);
        region.destroy(&device)?;
    }
    Ok(())
}

/// Whether `statx(2)` of a device's node says that it is DAX.
fn says_dax(device: &Device) -> Result<bool, Failure> {
    let path = CString::new(device.node().as_os_str().as_bytes()).expect("no NUL in a path");
    // SAFETY: All zeroes is a valid statx.
    let mut found: libc::statx = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: `path` is NUL-terminated and `found` a valid place, both across the call.
    let rc = unsafe {
        libc::statx(
            libc::AT_FDCWD,
            path.as_ptr(),
            0,
            libc::STATX_BASIC_STATS,
            &mut found,
        )
    };
    Errno::result(rc).map_err(failed("statx"))?;
    Ok(found.stx_attributes & libc::STATX_ATTR_DAX as u64 != 0)
}

fn m7_statx_says_dax_once_the_node_was_opened(region: &Region) -> Outcome {
    for align in [PAGE, UNIT] {
        let device = region.create_bound(align, &[region.units(4, 4)])?;
        check("before", says_dax(&device)?, false)?;
        let file = mmap::open(&device.node()).map_err(failed("open"))?;
        check("while it is open", says_dax(&device)?, true)?;
        drop(file);
        check("afterwards", says_dax(&device)?, true)?;
        device.unbind()?;
        check("while unbound", says_dax(&device)?, true)?;
        region.destroy(&device)?;
    }
    Ok(())
}
