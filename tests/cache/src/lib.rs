// SPDX-License-Identifier: GPL-2.0
//! A model of memory in which each address has one place: memory behind a direct-mapped cache, and
//! flat memory mode. It is fed with the page frames of tenants, and says which places two tenants
//! share, and what each loses to the other.
//!
//! The unit is the page. A place holds one page at a time.

use std::ops::AddAssign;

use fastrand::Rng;

/// The rule that gives a page frame its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// A direct-mapped cache of so many pages, empty at first: a frame's place is its remainder.
    Cached {
        /// Pages of the cache.
        places: u64,
    },
    /// Flat memory mode. So many pages of near memory begin at `base`, and as many of far memory
    /// follow. The page that is used swaps with the one that is so many pages away, if that one is
    /// near. At first each page is where its address says.
    Flat {
        /// The first frame of near memory.
        base: u64,
        /// Pages of near memory, which are also the distance of a pair.
        places: u64,
    },
}

impl Memory {
    /// The number of places.
    pub fn places(self) -> u64 {
        match self {
            Memory::Cached { places } | Memory::Flat { places, .. } => places,
        }
    }

    /// The place of a frame.
    pub fn place(self, frame: u64) -> u64 {
        match self {
            Memory::Cached { places } => frame % places,
            Memory::Flat { base, places } => {
                assert!(frame >= base, "frame {frame:#x} is below near memory");
                (frame - base) % places
            }
        }
    }

    /// The frame that is in a place before anybody uses it.
    fn at_first(self, place: u64) -> Option<u64> {
        match self {
            Memory::Cached { .. } => None,
            Memory::Flat { base, .. } => Some(base + place),
        }
    }

    /// For each place, whether one of the frames has it.
    fn used(self, frames: &[u64]) -> Vec<bool> {
        let mut used = vec![false; self.places() as usize];
        for &frame in frames {
            used[self.place(frame) as usize] = true;
        }
        used
    }

    /// The number of places that both sets of frames use.
    pub fn shared(self, one: &[u64], other: &[u64]) -> u64 {
        let (one, other) = (self.used(one), self.used(other));
        one.iter().zip(other).filter(|&(&a, b)| a && b).count() as u64
    }
}

/// Counts of a tenant's accesses, and of its pages, by how they ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Accesses to a page that was in its place.
    pub hits: u64,
    /// Accesses to a page that had to be brought there.
    pub misses: u64,
    /// Pages that others pushed out.
    pub lost_to_others: u64,
    /// Pages that the tenant pushed out itself.
    pub lost_to_itself: u64,
}

impl Tally {
    /// The accesses.
    pub fn accesses(self) -> u64 {
        self.hits + self.misses
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.hits += other.hits;
        self.misses += other.misses;
        self.lost_to_others += other.lost_to_others;
        self.lost_to_itself += other.lost_to_itself;
    }
}

/// A page in a place.
#[derive(Clone, Copy)]
struct Resident {
    frame: u64,
    /// The tenant that it belongs to, by number.
    owner: Option<usize>,
}

/// Memory that tenants use.
pub struct Machine {
    memory: Memory,
    resident: Vec<Option<Resident>>,
    tallies: Vec<Tally>,
}

impl Machine {
    /// Memory before anybody used it, and whose frames are whose.
    pub fn new(memory: Memory, tenants: &[&[u64]]) -> Machine {
        let places = 0..memory.places();
        let first = |place| {
            let (frame, owner) = (memory.at_first(place)?, None);
            Some(Resident { frame, owner })
        };
        let mut resident: Vec<Option<Resident>> = places.map(first).collect();
        for (owner, &frames) in tenants.iter().enumerate() {
            for &frame in frames {
                match &mut resident[memory.place(frame) as usize] {
                    Some(page) if page.frame == frame => page.owner = Some(owner),
                    _ => {}
                }
            }
        }
        Machine {
            memory,
            resident,
            tallies: vec![Tally::default(); tenants.len()],
        }
    }

    /// A tenant reads or writes a page.
    pub fn access(&mut self, tenant: usize, frame: u64) {
        let place = &mut self.resident[self.memory.place(frame) as usize];
        if place.is_some_and(|page| page.frame == frame) {
            self.tallies[tenant].hits += 1;
            return;
        }
        self.tallies[tenant].misses += 1;
        match place.and_then(|page| page.owner) {
            Some(owner) if owner == tenant => self.tallies[owner].lost_to_itself += 1,
            Some(owner) => self.tallies[owner].lost_to_others += 1,
            None => {}
        }
        let owner = Some(tenant);
        *place = Some(Resident { frame, owner });
    }

    /// Takes the counts since the last call, by tenant.
    pub fn take(&mut self) -> Vec<Tally> {
        let empty = vec![Tally::default(); self.tallies.len()];
        std::mem::replace(&mut self.tallies, empty)
    }
}

/// Tenants that use their memory in turns, each time a page at random.
#[derive(Clone, Copy, Debug)]
pub struct Turns {
    /// Accesses of each tenant before anything is counted.
    pub warm_up: u64,
    /// Accesses of each tenant that are counted.
    pub counted: u64,
    /// Fixes which pages they use. A tenant's pages do not depend on who else there is.
    pub seed: u64,
}

impl Turns {
    /// Lets the tenants use their frames; the tally of each.
    pub fn play(self, memory: Memory, tenants: &[&[u64]]) -> Vec<Tally> {
        let mut machine = Machine::new(memory, tenants);
        let mut random: Vec<Rng> = (0..tenants.len() as u64)
            .map(|tenant| Rng::with_seed(Rng::with_seed(self.seed).u64(..) ^ tenant))
            .collect();
        for access in 0..self.warm_up + self.counted {
            if access == self.warm_up {
                machine.take();
            }
            for (tenant, &frames) in tenants.iter().enumerate() {
                if let Some(&frame) = random[tenant].choice(frames) {
                    machine.access(tenant, frame);
                }
            }
        }
        machine.take()
    }
}

#[cfg(test)]
mod tests;
