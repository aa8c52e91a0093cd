// SPDX-License-Identifier: GPL-2.0
//! Core dumps, and the memory of a process that is in one.

use crate::child::{Child, End};
use crate::errno::Errno;
use crate::ktap::{check, note, Failure, Outcome};
use crate::sysfs::{self, Error, Result};
use nix::sys::resource::{setrlimit, Resource, RLIM_INFINITY};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The file that says where the kernel puts core dumps.
const PATTERN: &str = "/proc/sys/kernel/core_pattern";
/// The file that chooses the kinds of memory that core dumps have.
const FILTER: &str = "/proc/self/coredump_filter";
/// Time that the kernel may take to write a core dump.
const LIMIT: Duration = Duration::from_secs(100);

/// A piece of memory that the process had mapped.
struct Segment {
    addr: u64,
    len: u64,
    /// The number of its bytes that are in the file, and their offset there.
    stored: u64,
    place: u64,
}

/// A core dump. Its file is removed when it is dropped.
pub struct Core {
    path: PathBuf,
    file: File,
    segments: Vec<Segment>,
}

impl Core {
    /// The dump of a child that prepares itself and then dies. The child has the mappings of this
    /// process. `filter` says which kinds of memory to dump.
    pub fn of_child(
        filter: u32,
        prepare: impl FnOnce() -> Outcome,
    ) -> std::result::Result<Core, Failure> {
        let before = sysfs::read(Path::new(PATTERN))?;
        let path = std::env::temp_dir().join("dax-guest.core");
        let _ = fs::remove_file(&path);
        sysfs::write(Path::new(PATTERN), &path.display().to_string())?;
        let ended = die(filter, prepare);
        sysfs::write(Path::new(PATTERN), &before)?;
        check("process", ended, Ok(End::Signal(libc::SIGABRT)))?;
        Ok(Core::open(path)?)
    }

    /// Reads the table of segments.
    fn open(path: PathBuf) -> Result<Core> {
        let failed = |e| Error::new(format!("open {}", path.display()), Errno::from(e));
        let file = File::open(&path).map_err(failed)?;
        let mut core = Core {
            path,
            file,
            segments: Vec::new(),
        };
        // Elf64_Ehdr and Elf64_Phdr.
        let (table, count) = (core.number(32)?, core.number(56)? & 0xffff);
        for index in 0..count {
            let entry = table + index * 56;
            let [kind, place, addr, stored, len] =
                [0, 8, 16, 32, 40].map(|field| core.number(entry + field));
            if kind? & u64::from(u32::MAX) == u64::from(libc::PT_LOAD) {
                core.segments.push(Segment {
                    addr: addr?,
                    len: len?,
                    stored: stored?,
                    place: place?,
                });
            }
        }
        Ok(core)
    }

    /// Eight bytes of the file.
    fn number(&self, offset: u64) -> Result<u64> {
        let mut bytes = [0; 8];
        let read = self.file.read_exact_at(&mut bytes, offset);
        let failed = |e| Error::new(format!("{} at {offset:#x}", self.path.display()), e);
        read.map_err(|e| failed(Errno::from(e)))?;
        Ok(u64::from_ne_bytes(bytes))
    }

    /// Of the segment that begins at an address: the number of bytes that were mapped, and the
    /// number of bytes in the file.
    pub fn sizes(&self, addr: usize) -> Result<(u64, u64)> {
        let found = self.segments.iter().find(|s| s.addr == addr as u64);
        let missing = || Error::state(format!("no segment at {addr:#x}"));
        found.map(|s| (s.len, s.stored)).ok_or_else(missing)
    }

    /// The word that was at an address.
    pub fn word(&self, addr: usize) -> Result<u64> {
        let addr = addr as u64;
        let holds = |s: &&Segment| s.addr <= addr && addr < s.addr + s.stored;
        let missing = || Error::state(format!("nothing stored at {addr:#x}"));
        let segment = self.segments.iter().find(holds).ok_or_else(missing)?;
        self.number(segment.place + (addr - segment.addr))
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// The end of a child that prepares itself and then dies with a core dump.
fn die(filter: u32, prepare: impl FnOnce() -> Outcome) -> std::result::Result<End, Errno> {
    let child = Child::spawn(|| {
        let limited = setrlimit(Resource::RLIMIT_CORE, RLIM_INFINITY, RLIM_INFINITY).is_ok();
        let filtered = sysfs::write(Path::new(FILTER), &format!("{filter:#x}"));
        match prepare() {
            Ok(()) if limited && filtered.is_ok() => std::process::abort(),
            outcome => {
                note(format!("not prepared: {filtered:?}, {outcome:?}"));
                1
            }
        }
    })?;
    Ok(child.wait(LIMIT))
}
