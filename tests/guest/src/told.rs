// SPDX-License-Identifier: GPL-2.0
//! The signals by which the kernel tells a process of poison in its memory: SIGBUS with the
//! address, and the number of bytes around it that are lost.

use crate::errno::Errno;
use crate::mmap::Map;
use crate::sysfs::{self, Error};
use crate::trap;
use crate::units::PAGE;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// One SIGBUS that tells of poison.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Told {
    /// Whether the process touched the memory. If not, it had asked to be told.
    pub required: bool,
    /// The address that failed: `si_addr`.
    pub addr: usize,
    /// The size of the failed memory, as a number of address bits: `si_addr_lsb`.
    pub bits: u32,
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = if self.required { "AR" } else { "AO" };
        write!(f, "{code} {:#x}, {} bits", self.addr, self.bits)
    }
}

/// `si_code` for memory that the process touched, and for memory that it only has mapped.
const REQUIRED: i32 = 4;
const OPTIONAL: i32 = 5;
/// The offset of `si_addr_lsb` in `siginfo_t`.
const LSB: usize = 24;

/// Number of signals that `Notes` has room for.
const ROOM: usize = 16;
/// The words of `Notes`: the number of signals, then two words for each signal.
const WORDS: usize = 1 + 2 * ROOM;

/// Memory in which a process notes what it is told. Its parent sees the notes even if the process
/// dies.
pub struct Notes(Map);

/// The address at which the handler writes notes.
static NOTES: AtomicUsize = AtomicUsize::new(0);

impl Notes {
    /// Empty notes, shared with all children that are forked from here on.
    pub fn new() -> Result<Notes, Errno> {
        Ok(Notes(Map::anonymous(PAGE)?))
    }

    /// Makes this process write what it is told into these notes, and live on.
    pub fn listen(&self) -> Result<(), Errno> {
        NOTES.store(self.0.addr(), Ordering::SeqCst);
        trap::handle(nix::sys::signal::SIGBUS, on_bus)
    }

    /// Returns the notes.
    pub fn told(&self) -> sysfs::Result<Vec<Told>> {
        let word = |index: usize| {
            let word = self.0.load(index as u64 * 8);
            word.map_err(|signal| Error::state(format!("notes: {signal:?}")))
        };
        let count = (word(0)? as usize).min(ROOM);
        (0..count)
            .map(|number| {
                let what = word(2 + 2 * number)?;
                Ok(Told {
                    required: what >> 32 == REQUIRED as u64,
                    addr: word(1 + 2 * number)? as usize,
                    bits: what as u32,
                })
            })
            .collect()
    }
}

/// Notes what the kernel says of poison; any other SIGBUS is a failed access, or fatal.
extern "C" fn on_bus(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: The handler is installed with SA_SIGINFO, so the kernel passes a valid siginfo.
    let (code, addr) = unsafe { ((*info).si_code, (*info).si_addr()) };
    let poison = code == REQUIRED || code == OPTIONAL;
    if poison {
        // SAFETY: As above; the kernel fills this in for these codes.
        let bits = unsafe { info.cast::<u8>().add(LSB).cast::<u16>().read() };
        note(addr as u64, ((code as u64) << 32) | u64::from(bits));
    }
    // SAFETY: The kernel passes what it asks for.
    let resumed = unsafe { trap::resume(signal, context) };
    if !poison && !resumed {
        // SAFETY: Restoring the default action is async-signal-safe.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// Adds a note.
fn note(addr: u64, what: u64) {
    let words = NOTES.load(Ordering::SeqCst) as *const [AtomicU64; WORDS];
    // SAFETY: `listen` stored the address of a page that stays mapped, aligned, and all zeroes to
    // begin with. Readers use atomic loads of the CPU.
    let words = unsafe { &*words };
    let number = words[0].load(Ordering::SeqCst) as usize;
    if number < ROOM {
        words[1 + 2 * number].store(addr, Ordering::SeqCst);
        words[2 + 2 * number].store(what, Ordering::SeqCst);
        words[0].store(number as u64 + 1, Ordering::SeqCst);
    }
}
