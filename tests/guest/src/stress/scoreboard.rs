// SPDX-License-Identifier: GPL-2.0
//! Memory that the processes of a stress run share: the operation that each thread does, and the
//! number of times that each operation was done.

use super::operation::Kind;
use crate::cpu;
use crate::errno::Errno;
use crate::mmap::Map;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// The phase of the run, which says what every process does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// All threads do operations.
    Run,
    /// All threads wait, each between two operations.
    Pause,
    /// All threads end.
    Stop,
}

/// The end of an operation.
#[derive(Clone, Copy)]
pub enum End {
    /// The operation succeeded.
    Done,
    /// The operation failed with an error that is allowed.
    Refused,
    /// The operation failed while an allocation was made to fail.
    Starved,
}

/// Kinds of [`End`].
const ENDS: usize = 3;
/// Words of the memory in front of those of the threads.
const HEAD: usize = 2;
/// Words of a thread: its operation, and the time in milliseconds at which it began.
const WORDS: usize = 2;
/// Stands for the operation of a thread that does none.
const IDLE: u64 = u64::MAX;
/// Stands for the operation of a thread that waits for the end of a pause, or has ended.
const PARKED: u64 = u64::MAX - 1;

/// The shared memory. It lives as long as its first process.
pub struct Scoreboard {
    map: Map,
    threads: usize,
}

/// Milliseconds since some point in time, the same for all processes.
pub fn now() -> u64 {
    cpu::now() / 1_000_000
}

impl Scoreboard {
    /// A scoreboard for so many threads.
    pub fn new(threads: usize) -> Result<Scoreboard, Errno> {
        let words = HEAD + threads * WORDS + Kind::ALL.len() * ENDS;
        let map = Map::anonymous(words as u64 * 8)?;
        let scoreboard = Scoreboard { map, threads };
        (0..threads).for_each(|thread| scoreboard.set_parked(thread));
        Ok(scoreboard)
    }

    /// One word.
    fn word(&self, index: usize) -> &AtomicU64 {
        let addr = self.map.pointer(index as u64 * 8, 8).cast::<AtomicU64>();
        // SAFETY: `pointer` checked that the word is within the mapping, which begins at a page
        // and lives as long as `self`; zeroes are a valid `AtomicU64`, and nobody accesses the
        // words but through here.
        unsafe { &*addr }
    }

    /// The phase of the run.
    pub fn phase(&self) -> Phase {
        match self.word(0).load(SeqCst) {
            0 => Phase::Run,
            1 => Phase::Pause,
            _ => Phase::Stop,
        }
    }

    /// Tells everybody what to do.
    pub fn set_phase(&self, phase: Phase) {
        self.word(0).store(phase as u64, SeqCst);
    }

    /// Notes that a rule was broken.
    pub fn add_violation(&self) {
        self.word(1).fetch_add(1, SeqCst);
    }

    /// Number of times that a rule was broken.
    pub fn violations(&self) -> u64 {
        self.word(1).load(SeqCst)
    }

    /// Notes that a thread begins an operation.
    pub fn begin(&self, thread: usize, kind: Kind) {
        self.word(HEAD + thread * WORDS + 1).store(now(), SeqCst);
        self.word(HEAD + thread * WORDS).store(kind as u64, SeqCst);
    }

    /// Notes that a thread ended an operation.
    pub fn end(&self, thread: usize, kind: Kind, end: End) {
        self.word(HEAD + thread * WORDS).store(IDLE, SeqCst);
        self.count(kind, end).fetch_add(1, SeqCst);
    }

    /// Notes that a thread waits for the end of a pause, or has ended.
    pub fn set_parked(&self, thread: usize) {
        self.word(HEAD + thread * WORDS).store(PARKED, SeqCst);
    }

    /// Notes that a thread goes on after a pause.
    pub fn set_idle(&self, thread: usize) {
        self.word(HEAD + thread * WORDS).store(IDLE, SeqCst);
    }

    /// Whether every thread waits for the end of the pause.
    pub fn all_parked(&self) -> bool {
        (0..self.threads).all(|t| self.word(HEAD + t * WORDS).load(SeqCst) == PARKED)
    }

    /// The operations that threads are in, and for how many milliseconds.
    pub fn under_way(&self) -> Vec<(usize, Kind, u64)> {
        let now = now();
        (0..self.threads)
            .filter_map(|thread| {
                let code = self.word(HEAD + thread * WORDS).load(SeqCst);
                let kind = *Kind::ALL.get(usize::try_from(code).ok()?)?;
                let since = self.word(HEAD + thread * WORDS + 1).load(SeqCst);
                Some((thread, kind, now.saturating_sub(since)))
            })
            .collect()
    }

    /// Number of times that an operation ended like this.
    fn count(&self, kind: Kind, end: End) -> &AtomicU64 {
        let index = kind as usize * ENDS + end as usize;
        self.word(HEAD + self.threads * WORDS + index)
    }

    /// Number of operations that ended well, in an error, without memory.
    pub fn ends(&self, kind: Kind) -> [u64; ENDS] {
        [End::Done, End::Refused, End::Starved].map(|end| self.count(kind, end).load(SeqCst))
    }

    /// The sums of these numbers over all operations.
    pub fn all_ends(&self) -> [u64; ENDS] {
        Kind::ALL.iter().fold([0; ENDS], |sum, kind| {
            let ends = self.ends(*kind);
            std::array::from_fn(|i| sum[i] + ends[i])
        })
    }
}
