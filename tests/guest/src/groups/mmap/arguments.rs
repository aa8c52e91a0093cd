// SPDX-License-Identifier: GPL-2.0
//! The arguments that `mmap` and its relatives accept.

use super::{bound, map, open};
use crate::errno::Errno;
use crate::ktap::{check, deviates, Outcome, Rows, Test};
use crate::mmap::{self, Map, RW};
use crate::region::Region;
use crate::test;
use crate::trap::Signal;
use crate::units::{PAGE, UNIT};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(mmap_private_gives_einval),
    test!(mmap_of_unaligned_length_gives_einval),
    test!(mmap_of_unaligned_offset_gives_einval),
    test!(mmap_of_unaligned_offset_at_aligned_address_gives_einval),
    test!(mmap_at_unaligned_address_gives_einval),
    test!(mmap_at_aligned_address_is_there),
    test!(mmap_sync_shared_validate_works),
    test!(mmap_read_only_file_reads),
    test!(mmap_read_only_file_for_writing_gives_eacces),
    test!(store_to_read_only_mapping_gives_sigsegv),
    test!(mmap_address_is_aligned_to_two_mib),
    test!(mmap_beyond_end_works_and_access_gives_sigbus),
    test!(mmap_of_unbound_device_cannot_be_opened),
    test!(munmap_at_unaligned_address_gives_einval),
    test!(munmap_at_aligned_address_splits),
    test!(mprotect_at_unaligned_address_gives_einval),
    test!(mprotect_at_aligned_address_splits),
    test!(four_kib_device_splits_at_any_page),
    test!(smaps_page_size_is_the_alignment),
    test!(read_and_write_calls_give_einval),
    test!(seek_does_nothing_but_tell_the_end),
];

/// Maps with these arguments and expects an error.
fn refused(file: &File, len: u64, offset: u64, flags: i32, errno: Errno) -> Outcome {
    let result = Map::with(file, len, offset, RW, flags).map(|m| m.addr());
    check(
        format!("mmap of {len:#x} bytes at {offset:#x}, flags {flags:#x}"),
        result,
        Err(errno),
    )
}

fn mmap_private_gives_einval(region: &Region) -> Outcome {
    let file = open(&bound(region)?)?;
    refused(&file, UNIT, 0, libc::MAP_PRIVATE, Errno::EINVAL)?;
    let read_only = Map::with(&file, UNIT, 0, libc::PROT_READ, libc::MAP_PRIVATE);
    check("read-only", read_only.map(|m| m.addr()), Err(Errno::EINVAL))
}

fn mmap_of_unaligned_length_gives_einval(region: &Region) -> Outcome {
    let file = open(&bound(region)?)?;
    let mut rows = Rows::default();
    for len in [PAGE, UNIT / 2, UNIT - PAGE, UNIT + PAGE, 3 * UNIT / 2] {
        rows.add(len, refused(&file, len, 0, libc::MAP_SHARED, Errno::EINVAL));
    }
    rows.finish()
}

fn mmap_of_unaligned_offset_gives_einval(region: &Region) -> Outcome {
    let file = open(&bound(region)?)?;
    let mut rows = Rows::default();
    for offset in [PAGE, UNIT / 2, UNIT - PAGE, UNIT + PAGE] {
        let outcome = refused(&file, UNIT, offset, libc::MAP_SHARED, Errno::EINVAL);
        rows.add(offset, outcome);
    }
    rows.finish()
}

/// Free address space, aligned to a unit.
fn free_space(len: u64) -> Result<usize, Errno> {
    let scout = Map::anonymous(len + UNIT)?;
    Ok(scout.addr().next_multiple_of(UNIT as usize))
}

fn mmap_of_unaligned_offset_at_aligned_address_gives_einval(region: &Region) -> Outcome {
    let file = open(&bound(region)?)?;
    let mut rows = Rows::default();
    for offset in [PAGE, UNIT / 2, UNIT + PAGE] {
        let result = free_space(UNIT)
            .and_then(|addr| Map::at(&file, addr, UNIT, offset))
            .map(drop);
        // The C driver maps, and a page fault then gets other pages than the offset says.
        let expected = deviates(Err(Errno::EINVAL), Ok(()));
        rows.add(offset, check("mmap", result, expected));
    }
    rows.finish()
}

fn mmap_at_unaligned_address_gives_einval(region: &Region) -> Outcome {
    let file = open(&bound(region)?)?;
    let result = free_space(2 * UNIT)
        .and_then(|addr| Map::at(&file, addr + PAGE as usize, UNIT, 0))
        .map(|m| m.addr());
    check("mmap", result, Err(Errno::EINVAL))
}

fn mmap_at_aligned_address_is_there(region: &Region) -> Outcome {
    let file = open(&bound(region)?)?;
    let addr = free_space(UNIT);
    let result = addr
        .and_then(|addr| Map::at(&file, addr, UNIT, UNIT))
        .map(|m| (m.addr(), m.load(0).is_ok()));
    check("mmap", result, addr.map(|addr| (addr, true)))
}

fn mmap_sync_shared_validate_works(region: &Region) -> Outcome {
    let file = open(&bound(region)?)?;
    let flags = libc::MAP_SHARED_VALIDATE | libc::MAP_SYNC;
    let stored = Map::with(&file, UNIT, 0, RW, flags).map(|m| (m.store(0, 7), m.load(0)));
    check("store and load", stored, Ok((Ok(()), Ok(7))))
}

fn mmap_read_only_file_reads(region: &Region) -> Outcome {
    let device = bound(region)?;
    map(&open(&device)?, UNIT, 0)?
        .store(8, 42)
        .or_else(|signal| check("store", Err(signal), Ok(())))?;
    let loaded = mmap::open_read_only(&device.node())
        .and_then(|f| Map::with(&f, UNIT, 0, libc::PROT_READ, libc::MAP_SHARED))
        .map(|m| m.load(8));
    check("load", loaded, Ok(Ok(42)))
}

fn mmap_read_only_file_for_writing_gives_eacces(region: &Region) -> Outcome {
    let device = bound(region)?;
    let mapped = mmap::open_read_only(&device.node())
        .and_then(|f| Map::shared(&f, UNIT, 0))
        .map(|m| m.addr());
    check("mmap", mapped, Err(Errno::EACCES))
}

fn store_to_read_only_mapping_gives_sigsegv(region: &Region) -> Outcome {
    let file = open(&bound(region)?)?;
    let stores = Map::with(&file, UNIT, 0, libc::PROT_READ, libc::MAP_SHARED)
        .map(|m| (m.store(0, 1), m.load(0).is_ok(), m.store(0, 1)));
    let segv = Err(Signal::SEGV);
    check("store, load, store", stores, Ok((segv, true, segv)))
}

fn mmap_address_is_aligned_to_two_mib(region: &Region) -> Outcome {
    let device = region.create_bound(UNIT, &[region.units(2, 16)])?;
    let file = open(&device)?;
    let mut kept = Vec::new();
    // Several mappings at once, so that the address cannot be aligned by chance.
    for (len, offset) in [(1, 0), (1, 1), (3, 2), (16, 0), (5, 11), (1, 15)] {
        let map = map(&file, len * UNIT, offset * UNIT)?;
        let what = format!("address {:#x} of {len} units at {offset}", map.addr());
        check(what, map.addr() as u64 % UNIT, 0)?;
        kept.push((map, Map::anonymous(PAGE)));
    }
    Ok(())
}

fn mmap_beyond_end_works_and_access_gives_sigbus(region: &Region) -> Outcome {
    let file = open(&bound(region)?)?;
    let all = map(&file, 8 * UNIT, 0)?;
    check("last page inside", all.load(4 * UNIT - PAGE).is_ok(), true)?;
    check("first byte outside", all.load(4 * UNIT), Err(Signal::BUS))?;
    check(
        "store outside",
        all.store(8 * UNIT - 8, 1),
        Err(Signal::BUS),
    )?;
    let outside = map(&file, UNIT, 1024 * UNIT)?;
    check("far outside", outside.load(0), Err(Signal::BUS))
}

fn mmap_of_unbound_device_cannot_be_opened(region: &Region) -> Outcome {
    let device = region.create_sized(UNIT)?;
    let opened = mmap::open(&device.node()).map(drop);
    check("open", opened, Err(Errno::ENXIO))
}

fn munmap_at_unaligned_address_gives_einval(region: &Region) -> Outcome {
    let file = open(&bound(region)?)?;
    let map = map(&file, 2 * UNIT, 0)?;
    check("store", map.store(0, 5), Ok(()))?;
    for (offset, len) in [(0, PAGE), (UNIT + PAGE, UNIT - PAGE), (PAGE, UNIT)] {
        let what = format!("munmap of {len:#x} bytes at {offset:#x}");
        check(what, map.unmap(offset, len), Err(Errno::EINVAL))?;
    }
    check("load", map.load(0), Ok(5))
}

fn munmap_at_aligned_address_splits(region: &Region) -> Outcome {
    let file = open(&bound(region)?)?;
    let map = map(&file, 3 * UNIT, 0)?;
    for unit in 0..3 {
        check("store", map.store(unit * UNIT, unit + 10), Ok(()))?;
    }
    check("munmap of the middle", map.unmap(UNIT, UNIT), Ok(()))?;
    check("before", map.load(0), Ok(10))?;
    check("middle", map.load(UNIT), Err(Signal::SEGV))?;
    check("behind", map.load(2 * UNIT), Ok(12))
}

fn mprotect_at_unaligned_address_gives_einval(region: &Region) -> Outcome {
    let file = open(&bound(region)?)?;
    let map = map(&file, 2 * UNIT, 0)?;
    let result = map.protect(0, PAGE, libc::PROT_READ);
    check("mprotect of a page", result, Err(Errno::EINVAL))?;
    check("store", map.store(0, 1), Ok(()))
}

fn mprotect_at_aligned_address_splits(region: &Region) -> Outcome {
    let file = open(&bound(region)?)?;
    let map = map(&file, 2 * UNIT, 0)?;
    check("mprotect", map.protect(0, UNIT, libc::PROT_READ), Ok(()))?;
    check("store to the protected", map.store(0, 1), Err(Signal::SEGV))?;
    check("store to the other", map.store(UNIT, 1), Ok(()))
}

fn four_kib_device_splits_at_any_page(region: &Region) -> Outcome {
    let device = region.create_bound(PAGE, &[region.units(1, 1)])?;
    let map = map(&open(&device)?, 16 * PAGE, 0)?;
    check("store", map.store(2 * PAGE, 3), Ok(()))?;
    check("munmap", map.unmap(PAGE, PAGE), Ok(()))?;
    check(
        "mprotect",
        map.protect(2 * PAGE, PAGE, libc::PROT_READ),
        Ok(()),
    )?;
    check("unmapped", map.load(PAGE), Err(Signal::SEGV))?;
    check("protected", map.load(2 * PAGE), Ok(3))?;
    check(
        "store to the protected",
        map.store(2 * PAGE, 1),
        Err(Signal::SEGV),
    )?;
    check("store behind", map.store(3 * PAGE, 1), Ok(()))
}

fn smaps_page_size_is_the_alignment(region: &Region) -> Outcome {
    for align in [PAGE, UNIT] {
        let device = region.create_bound(align, &[region.units(0, 2)])?;
        let map = Map::whole(&device)?;
        for field in ["KernelPageSize", "MMUPageSize"] {
            check(
                format!("{field} at {align}"),
                map.smaps_kib(field)?,
                align / 1024,
            )?;
        }
        drop(map);
        region.destroy(&device)?;
    }
    Ok(())
}

fn read_and_write_calls_give_einval(region: &Region) -> Outcome {
    let mut file = open(&bound(region)?)?;
    let read = file.read(&mut [0; 16]).map_err(Errno::from);
    check("read", read, Err(Errno::EINVAL))?;
    let written = file.write(&[0; 16]).map_err(Errno::from);
    check("write", written, Err(Errno::EINVAL))
}

fn seek_does_nothing_but_tell_the_end(region: &Region) -> Outcome {
    let device = bound(region)?;
    let size = device.size()?;
    let mut file = open(&device)?;
    for (target, expected) in [
        (SeekFrom::Start(UNIT), 0),
        (SeekFrom::End(0), deviates(size, 0)),
        (SeekFrom::End(-(PAGE as i64)), deviates(size - PAGE, 0)),
        (SeekFrom::Current(-5), 0),
        (SeekFrom::Start(0), 0),
    ] {
        let position = file.seek(target).map_err(Errno::from);
        check(format!("{target:?}"), position, Ok(expected))?;
    }
    let before = file.seek(SeekFrom::End(-(size as i64) - 1));
    let expected = deviates(Err(Errno::EINVAL), Ok(0));
    check("before the start", before.map_err(Errno::from), expected)?;
    device.unbind()?;
    let end = file.seek(SeekFrom::End(0)).map_err(Errno::from);
    check("after unbind", end, deviates(Err(Errno::ENXIO), Ok(0)))
}
