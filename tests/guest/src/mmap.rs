// SPDX-License-Identifier: GPL-2.0
//! Maps a dax device and looks at the result.

use crate::device::Device;
use crate::errno::Errno;
use crate::kernel;
use crate::pagemap::{self, Entry};
use crate::sysfs::{self, Error};
use crate::trap::{self, Signal};
use crate::units::PAGE;
use std::fs::{self, File, OpenOptions};
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, RawFd};
use std::path::Path;
use std::ptr;
use std::thread;
use std::time::{Duration, Instant};

/// The file with the kernel's report about the mappings of this process.
const SMAPS: &str = "/proc/self/smaps";
/// Protection of a mapping that can be read and written.
pub const RW: i32 = libc::PROT_READ | libc::PROT_WRITE;

/// Opens a node for reading and writing.
pub fn try_open(path: &Path) -> Result<File, Errno> {
    Ok(OpenOptions::new().read(true).write(true).open(path)?)
}

/// Opens a node for reading and writing. On a kernel that releases objects late, it repeats a
/// refused open until the former binding's cdev is gone.
pub fn open(path: &Path) -> Result<File, Errno> {
    let deadline = Instant::now() + Duration::from_secs(6);
    loop {
        match try_open(path) {
            Err(Errno::ENXIO) if kernel::releases_late() && Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(50));
            }
            opened => return opened,
        }
    }
}

/// Opens a node for reading only.
pub fn open_read_only(path: &Path) -> Result<File, Errno> {
    Ok(File::open(path)?)
}

/// A mapping of memory into this process; unmapped when dropped.
#[derive(Debug)]
pub struct Map {
    addr: usize,
    len: usize,
}

impl Map {
    /// Maps `len` bytes of a file, shared, for reading and writing.
    pub fn shared(file: &File, len: u64, offset: u64) -> Result<Map, Errno> {
        Map::with(file, len, offset, RW, libc::MAP_SHARED)
    }

    /// Maps a whole device, shared, for reading and writing.
    pub fn whole(device: &Device) -> sysfs::Result<Map> {
        let failed = |what: &str, errno| Error::new(format!("{what} {}", device.name()), errno);
        let size = device.size()?;
        let file = open(&device.node()).map_err(|e| failed("open", e))?;
        Map::shared(&file, size, 0).map_err(|e| failed("mmap", e))
    }

    /// Maps with any protection and flags, at an address of the kernel's choice.
    pub fn with(file: &File, len: u64, offset: u64, prot: i32, flags: i32) -> Result<Map, Errno> {
        Map::raw(0, len, prot, flags, file.as_raw_fd(), offset)
    }

    /// Maps shared memory without a file at an address of the kernel's choice.
    pub fn anonymous(len: u64) -> Result<Map, Errno> {
        Map::raw(0, len, RW, libc::MAP_SHARED | libc::MAP_ANONYMOUS, -1, 0)
    }

    /// Maps shared at an address that no other mapping occupies.
    pub fn at(file: &File, addr: usize, len: u64, offset: u64) -> Result<Map, Errno> {
        let flags = libc::MAP_SHARED | libc::MAP_FIXED_NOREPLACE;
        Map::raw(addr, len, RW, flags, file.as_raw_fd(), offset)
    }

    /// Maps shared where the kernel likes, preferably at an address.
    pub fn hinted(file: &File, hint: usize, len: u64, offset: u64) -> Result<Map, Errno> {
        Map::raw(hint, len, RW, libc::MAP_SHARED, file.as_raw_fd(), offset)
    }

    /// Address space without memory, which nothing else of the process comes into.
    pub fn room(len: u64) -> Result<Map, Errno> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        Map::raw(0, len, libc::PROT_NONE, flags, -1, 0)
    }

    /// The offset in the mapping of the first address that is a multiple of `align`.
    pub fn first_multiple(&self, align: u64) -> u64 {
        let addr = self.addr as u64;
        addr.next_multiple_of(align) - addr
    }

    /// `mmap(2)`.
    fn raw(
        hint: usize,
        len: u64,
        prot: i32,
        flags: i32,
        fd: RawFd,
        offset: u64,
    ) -> Result<Map, Errno> {
        let len = len as usize;
        // SAFETY: Without MAP_FIXED, which no caller passes, the kernel only uses free address
        // space, so no Rust object is affected; the result is owned by the `Map`.
        let addr = unsafe {
            libc::mmap(
                ptr::without_provenance_mut(hint),
                len,
                prot,
                flags,
                fd,
                offset as i64,
            )
        };
        Ok(Map {
            addr: Errno::result(addr)? as usize,
            len,
        })
    }

    /// The address at which the mapping begins.
    pub fn addr(&self) -> usize {
        self.addr
    }

    /// The number of bytes.
    pub fn len(&self) -> u64 {
        self.len as u64
    }

    /// The address of an offset within the mapping.
    fn address(&self, offset: u64) -> usize {
        assert!(
            offset + 8 <= self.len(),
            "{offset:#x} is outside the mapping"
        );
        self.addr + offset as usize
    }

    /// A pointer for system calls. Rust code must not access the memory through it.
    pub fn pointer(&self, offset: u64, len: usize) -> *mut libc::c_void {
        assert!(
            offset + len as u64 <= self.len(),
            "{offset:#x}: outside the mapping"
        );
        ptr::with_exposed_provenance_mut(self.addr + offset as usize)
    }

    /// Fills all of it with zeroes, by `memset()`. The caller has touched each page.
    pub fn fill_with_zeroes(&self) {
        let len = self.len() as usize;
        // SAFETY: The mapping is ours, and no Rust reference into it exists.
        unsafe { libc::memset(self.pointer(0, len), 0, len) };
    }

    /// Reads eight bytes.
    pub fn load(&self, offset: u64) -> Result<u64, Signal> {
        trap::load(self.address(offset))
    }

    /// Writes eight bytes.
    pub fn store(&self, offset: u64, value: u64) -> Result<(), Signal> {
        // SAFETY: The address is within the mapping, into which no Rust reference exists.
        unsafe { trap::store(self.address(offset), value) }
    }

    /// The page frames behind `pages` pages; `None` where no page is mapped.
    pub fn frames(&self, offset: u64, pages: u64) -> sysfs::Result<Vec<Option<u64>>> {
        assert!(
            offset + pages * PAGE <= self.len(),
            "{offset:#x}: outside the mapping"
        );
        let entries = pagemap::entries(self.addr + offset as usize, pages)?;
        Ok(entries.into_iter().map(Entry::frame).collect())
    }

    /// The pages of `align` bytes that are present, by number in the mapping.
    pub fn present(&self, align: u64) -> sysfs::Result<Vec<u64>> {
        let frames = self.frames(0, self.len() / PAGE)?;
        let pages = frames.chunks((align / PAGE) as usize).zip(0..);
        Ok(pages
            .filter(|(frames, _)| frames.iter().any(Option::is_some))
            .map(|(_, page)| page)
            .collect())
    }

    /// `munmap(2)` on a part. What remains is unmapped with the rest when dropped.
    pub fn unmap(&self, offset: u64, len: u64) -> Result<(), Errno> {
        // SAFETY: The part is within the mapping, into which no Rust reference exists; later
        // accesses go through `trap` and end in a signal that is reported.
        Errno::result(unsafe { libc::munmap(self.address(offset) as *mut _, len as usize) })
            .map(drop)
    }

    /// Puts nothing into the place of a part: unmapped as with [`Map::unmap`], yet no other
    /// mapping of the process can come there.
    pub fn blank(&self, offset: u64, len: u64) -> Result<(), Errno> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
        let part = self.pointer(offset, len as usize);
        // SAFETY: The part is within the mapping, into which no Rust reference exists.
        let addr = unsafe { libc::mmap(part, len as usize, libc::PROT_NONE, flags, -1, 0) };
        Errno::result(addr).map(drop)
    }

    /// `mremap(2)` to another length, where it is or where the kernel likes.
    pub fn resize(&mut self, len: u64) -> Result<(), Errno> {
        self.remap(len, libc::MREMAP_MAYMOVE, 0)
    }

    /// `mremap(2)` to an address `offset` bytes into `room`, the rest of which stays reserved.
    pub fn move_into(&mut self, room: Map, offset: u64) -> Result<(), Errno> {
        let to = room.pointer(offset, self.len).addr();
        let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
        self.remap(self.len as u64, flags, to)?;
        // Dropping `room` would unmap the mapping that is there now.
        std::mem::forget(room);
        Ok(())
    }

    /// `mremap(2)` from an old length of 0: the same pages once more, where the kernel likes.
    pub fn duplicate(&self) -> Result<Map, Errno> {
        // Until it is somewhere else it is nothing that could be unmapped.
        let mut twin = ManuallyDrop::new(Map {
            addr: self.addr,
            len: 0,
        });
        twin.remap(self.len as u64, libc::MREMAP_MAYMOVE, 0)?;
        Ok(ManuallyDrop::into_inner(twin))
    }

    /// `mremap(2)` that moves all pages where the kernel likes, and keeps the area where it was.
    pub fn move_and_keep(&self) -> Result<Map, Errno> {
        let mut moved = ManuallyDrop::new(Map {
            addr: self.addr,
            len: self.len,
        });
        let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_DONTUNMAP;
        moved.remap(self.len as u64, flags, 0)?;
        Ok(ManuallyDrop::into_inner(moved))
    }

    /// `mremap(2)`.
    fn remap(&mut self, len: u64, flags: i32, to: usize) -> Result<(), Errno> {
        let to = ptr::without_provenance_mut::<libc::c_void>(to);
        // SAFETY: Of this mapping, into which no Rust reference exists, to address space that is
        // free or was given up for it.
        let addr = unsafe { libc::mremap(self.addr as *mut _, self.len, len as usize, flags, to) };
        self.addr = Errno::result(addr)? as usize;
        self.len = len as usize;
        Ok(())
    }

    /// `mprotect(2)` on a part.
    pub fn protect(&self, offset: u64, len: u64, prot: i32) -> Result<(), Errno> {
        // SAFETY: As for `unmap`.
        Errno::result(unsafe { libc::mprotect(self.address(offset) as *mut _, len as usize, prot) })
            .map(drop)
    }

    /// `madvise(2)` on all of it.
    pub fn advise(&self, advice: i32) -> Result<(), Errno> {
        self.advise_part(0, self.len(), advice)
    }

    /// `madvise(2)` on a part.
    pub fn advise_part(&self, offset: u64, len: u64, advice: i32) -> Result<(), Errno> {
        let part = self.pointer(offset, len as usize);
        // SAFETY: As for `unmap`.
        Errno::result(unsafe { libc::madvise(part, len as usize, advice) }).map(drop)
    }

    /// One value in kB from this mapping's entry in `/proc/self/smaps`.
    pub fn smaps_kib(&self, field: &str) -> sysfs::Result<u64> {
        let value = self.smaps(field)?;
        let kib = value.strip_suffix(" kB").and_then(|kib| kib.parse().ok());
        kib.ok_or_else(|| Error::state(format!("{SMAPS}: {field}: {value}")))
    }

    /// Whether `/proc/self/smaps` has one of its two-letter flags for this mapping.
    pub fn has_flag(&self, flag: &str) -> sysfs::Result<bool> {
        let flags = self.smaps("VmFlags")?;
        Ok(flags.split_whitespace().any(|known| known == flag))
    }

    /// One value from this mapping's entry in `/proc/self/smaps`.
    fn smaps(&self, field: &str) -> sysfs::Result<String> {
        let text = fs::read_to_string(SMAPS).map_err(|e| Error::new(SMAPS, Errno::from(e)))?;
        let head = format!("{:x}-", self.addr);
        let mut entry = text.lines().skip_while(|line| !line.starts_with(&head));
        entry
            .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
            .map(|value| value.trim().to_owned())
            .ok_or_else(|| Error::state(format!("{SMAPS}: no {field} at {:#x}", self.addr)))
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: The mapping is owned by `self` and no reference into it exists.
        unsafe { libc::munmap(self.addr as *mut _, self.len) };
    }
}
