// SPDX-License-Identifier: GPL-2.0
//! The files and mappings of a thread, and the memory that it finds behind them.
//!
//! A file belongs to the binding during which it was opened, and ranges do not change during a
//! binding. So a thread that opens the file first, and reads the ranges then, knows what is behind
//! each offset for as long as accesses succeed. If the binding had ended before it read the ranges,
//! accesses would end in SIGBUS.

use super::stamps::{self, Owner};
use crate::device::Device;
use crate::errno::Errno;
use crate::mmap::{self, Map};
use crate::pipe::Pipe;
use crate::region::Region;
use crate::sysfs;
use crate::trap::Signal;
use crate::units::{Range, PAGE, UNIT};
use fastrand::Rng;
use nix::sys::signal::{kill, SIGKILL};
use nix::sys::wait::{waitpid, WaitStatus};
use nix::unistd::{fork, ForkResult};
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::thread;
use std::time::Duration;

/// Mappings that a thread has at most.
const KEPT: usize = 5;
/// Number of accesses of one operation.
const ACCESSES: u64 = 40;

/// The reason for which an operation failed.
#[derive(Debug)]
pub enum Trouble {
    /// The kernel refused a call.
    Refused(Errno),
    /// The access broke a rule.
    Violation(String),
}

impl From<Errno> for Trouble {
    fn from(errno: Errno) -> Trouble {
        Trouble::Refused(errno)
    }
}

impl From<sysfs::Error> for Trouble {
    fn from(error: sysfs::Error) -> Trouble {
        Trouble::Refused(error.errno)
    }
}

/// A mapping, and what must be behind it.
struct Kept {
    map: Map,
    /// Kept open as long as the mapping, or closed at once.
    _file: Option<File>,
    ranges: Vec<Range>,
    owner: Owner,
    /// The offset in the device at which the mapping begins.
    offset: u64,
}

impl Kept {
    /// A place in the mapping that has a stamp, and its physical address, if it is inside the device.
    fn place(&self, random: &mut Rng) -> (u64, Option<u64>) {
        let page = random.u64(..self.map.len() / PAGE) * PAGE;
        let at = stamps::place(page, random.u64(..2));
        (at, stamps::address(&self.ranges, self.offset + at))
    }

    /// Reads one word and perhaps writes its stamp. Returns whether there is memory.
    fn access(&self, random: &mut Rng) -> Result<bool, Trouble> {
        let (at, address) = self.place(random);
        let word = match self.map.load(at) {
            Ok(word) => word,
            Err(Signal::BUS | Signal::SEGV) => return Ok(false),
            Err(signal) => return Err(Trouble::Violation(format!("load: {signal:?}"))),
        };
        let Some(address) = address else {
            let what = format!("memory behind the device's end, {:?}", self.ranges);
            return Err(Trouble::Violation(what));
        };
        if !stamps::fits(word, address, self.owner) {
            return Err(Trouble::Violation(format!(
                "{word:#x} at {address:#x}, where {:#x} belongs; {:?}",
                stamps::stamp(address, self.owner),
                self.ranges
            )));
        }
        if random.bool() {
            // The mapping may be read-only by now, or gone.
            let _ = self.map.store(at, stamps::stamp(address, self.owner));
        }
        Ok(true)
    }
}

/// The files and mappings of one thread.
pub struct Files<'a> {
    region: &'a Region,
    kept: Vec<Kept>,
}

impl<'a> Files<'a> {
    /// No files and no mappings.
    pub fn new(region: &'a Region) -> Files<'a> {
        Files {
            region,
            kept: Vec::new(),
        }
    }

    /// Opens a device, maps it, and looks into it.
    pub fn open(&mut self, device: &Device, random: &mut Rng) -> Result<(), Trouble> {
        let owner = Owner::of(self.region, device)?;
        let file = mmap::open(&device.node())?;
        let ranges = device.ranges()?;
        // The node may have been that of another device of that name, whose numbers now belong
        // to yet another.
        let rdev = file.metadata().map_err(Errno::from)?.rdev();
        if device.dev()? != format!("{}:{}", libc::major(rdev), libc::minor(rdev)) {
            return Err(Errno::ENXIO.into());
        }
        if Owner::of(self.region, device)? != owner {
            return Err(Errno::ENXIO.into());
        }
        let size: u64 = ranges.iter().map(|range| range.span.len()).sum();
        let units = size / UNIT;
        if units == 0 {
            return Ok(());
        }
        let all = random.bool();
        let first = if all { 0 } else { random.u64(..units) };
        let count = if all {
            units
        } else {
            random.u64(1..=units - first)
        };
        let map = Map::shared(&file, count * UNIT, first * UNIT)?;
        let kept = Kept {
            map,
            _file: random.bool().then_some(file),
            ranges,
            owner,
            offset: first * UNIT,
        };
        for _ in 0..ACCESSES {
            if !kept.access(random)? {
                break;
            }
        }
        if self.kept.len() >= KEPT {
            self.kept.swap_remove(random.usize(..KEPT));
        }
        self.kept.push(kept);
        Ok(())
    }

    /// Uses one of the mappings again.
    pub fn touch(&mut self, random: &mut Rng) -> Result<(), Trouble> {
        if let Some(kept) = random.choice(&self.kept) {
            for _ in 0..ACCESSES {
                kept.access(random)?;
            }
        }
        Ok(())
    }

    /// Takes a part out of a mapping, or changes what may be done with it.
    pub fn split(&mut self, random: &mut Rng) -> Result<(), Trouble> {
        if let Some(kept) = random.choice(&self.kept) {
            let units = kept.map.len() / UNIT;
            let first = random.u64(..units);
            let (at, len) = (first * UNIT, random.u64(1..=units - first) * UNIT);
            match random.u64(..4) {
                0 => kept.map.blank(at, len)?,
                1 => kept.map.protect(at, len, libc::PROT_READ)?,
                2 => kept.map.protect(at, len, mmap::RW)?,
                _ => kept.map.advise(libc::MADV_DONTNEED)?,
            }
        }
        Ok(())
    }

    /// Lets a child use the mappings, which is killed sometimes.
    pub fn fork(&mut self, random: &mut Rng) -> Result<(), Trouble> {
        // SAFETY: Other threads may hold locks, so the child allocates nothing: it reads through
        // `trap` and leaves through `_exit`.
        let ForkResult::Parent { child } = unsafe { fork() }.map_err(Errno::from)? else {
            let good = self.kept.iter().all(|kept| {
                let (at, address) = kept.place(random);
                match (kept.map.load(at), address) {
                    (Ok(word), Some(address)) => stamps::fits(word, address, kept.owner),
                    (Ok(_), None) => false,
                    (Err(_), _) => true,
                }
            });
            // SAFETY: Ends the child at once.
            unsafe { libc::_exit(if good { 0 } else { 1 }) };
        };
        if random.u64(..3) == 0 {
            // The child was not waited for: the number names no other process.
            let _ = kill(child, SIGKILL);
        }
        loop {
            match waitpid(child, None).map_err(Errno::from) {
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
                Ok(WaitStatus::Exited(_, 0) | WaitStatus::Signaled(..)) => return Ok(()),
                Ok(_) => {
                    let what = "a child read a word that does not belong".into();
                    return Err(Trouble::Violation(what));
                }
            }
        }
    }

    /// Lets a pipe hold a page for a moment; the device must not be unbound meanwhile.
    pub fn pin(&mut self, random: &mut Rng) -> Result<(), Trouble> {
        let Some(kept) = random.choice(&self.kept) else {
            return Ok(());
        };
        let (at, address) = kept.place(random);
        let Some(address) = address else {
            return Ok(());
        };
        let pipe = Pipe::new()?;
        pipe.splice_from(&kept.map, at, 8)?;
        thread::sleep(Duration::from_millis(random.u64(..30)));
        let word = pipe.read_word()?;
        if stamps::fits(word, address, kept.owner) {
            Ok(())
        } else {
            let region = self.region.span();
            Err(Trouble::Violation(format!(
                "{word:#x} through a pipe, from {address:#x} of {region:?}"
            )))
        }
    }
}
