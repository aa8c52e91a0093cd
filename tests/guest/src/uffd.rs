// SPDX-License-Identifier: GPL-2.0
//! userfaultfd(2), and the scan of page tables that belongs to it.

use crate::errno::Errno;
use crate::mmap::Map;
use crate::units::PAGE;
use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Reports accesses to pages that are not there.
pub const MISSING: u64 = 1 << 0;
/// Reports writes to pages that are protected.
pub const WP: u64 = 1 << 1;
/// Reports accesses to pages that are not mapped.
pub const MINOR: u64 = 1 << 2;

/// The only feature that is asked for: writes end the protection of a page, and nobody waits.
pub const ASYNC: u64 = 1 << 15;

/// `UFFD_API`.
const API: u64 = 0xaa;
/// `UFFDIO_API`, `UFFDIO_REGISTER` and `UFFDIO_UNREGISTER`.
const IOCTL_API: u64 = ioctl(3, 0xaa, 0x3f, size_of::<[u64; 3]>());
const IOCTL_REGISTER: u64 = ioctl(3, 0xaa, 0, size_of::<[u64; 4]>());
const IOCTL_UNREGISTER: u64 = ioctl(2, 0xaa, 1, size_of::<[u64; 2]>());
/// `PAGEMAP_SCAN`.
const IOCTL_SCAN: u64 = ioctl(3, b'f' as u64, 16, size_of::<Scan>());

/// `_IOC()`.
const fn ioctl(direction: u64, kind: u64, number: u64, size: usize) -> u64 {
    (direction << 30) | ((size as u64) << 16) | (kind << 8) | number
}

/// Calls an ioctl that takes one argument.
fn call<T>(fd: &impl AsRawFd, request: u64, argument: &mut T) -> Result<i32, Errno> {
    // SAFETY: The requests of this file read and write an argument of the size that is in them,
    // and memory of this process only as that says.
    Errno::result(unsafe { libc::ioctl(fd.as_raw_fd(), request, argument) })
}

/// Watches mappings of this process until it is dropped.
pub struct Uffd(OwnedFd);

impl Uffd {
    /// Opens a userfaultfd with these features.
    pub fn new(features: u64) -> Result<Uffd, Errno> {
        let flags = libc::O_CLOEXEC | libc::O_NONBLOCK;
        // SAFETY: Numbers only.
        let fd = Errno::result(unsafe { libc::syscall(libc::SYS_userfaultfd, flags) })?;
        // SAFETY: The kernel just opened it, and nobody else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd as i32) };
        call(&fd, IOCTL_API, &mut [API, features, 0])?;
        Ok(Uffd(fd))
    }

    /// Begins to watch all of a mapping.
    pub fn register(&self, map: &Map, mode: u64) -> Result<(), Errno> {
        let mut argument = [map.addr() as u64, map.len(), mode, 0];
        call(&self.0, IOCTL_REGISTER, &mut argument).map(drop)
    }

    /// Ends the watch of a mapping.
    pub fn unregister(&self, map: &Map) -> Result<(), Errno> {
        let mut argument = [map.addr() as u64, map.len()];
        call(&self.0, IOCTL_UNREGISTER, &mut argument).map(drop)
    }
}

/// `struct pm_scan_arg`.
#[repr(C)]
#[derive(Default)]
struct Scan {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    regions: u64,
    room: u64,
    most: u64,
    inverted: u64,
    all_of: u64,
    any_of: u64,
    wanted: u64,
}

/// The small pages of a mapping that were written since they were protected, by number. With
/// `protect`, they are from here on.
pub fn written(map: &Map, protect: bool) -> Result<Vec<u64>, Errno> {
    const PROTECT: u64 = 1 << 0;
    const WATCHED_ONLY: u64 = 1 << 1;
    const WRITTEN: u64 = 1 << 1;
    let file = File::open("/proc/self/pagemap")?;
    let mut regions = vec![[0u64; 3]; (map.len() / PAGE) as usize];
    let start = map.addr() as u64;
    let mut scan = Scan {
        size: size_of::<Scan>() as u64,
        flags: WATCHED_ONLY | if protect { PROTECT } else { 0 },
        start,
        end: start + map.len(),
        regions: regions.as_mut_ptr() as u64,
        room: regions.len() as u64,
        all_of: WRITTEN,
        wanted: WRITTEN,
        ..Scan::default()
    };
    let count = call(&file, IOCTL_SCAN, &mut scan)?;
    let page = |addr: u64| (addr - start) / PAGE;
    Ok(regions[..count as usize]
        .iter()
        .flat_map(|&[first, end, _]| page(first)..page(end))
        .collect())
}
