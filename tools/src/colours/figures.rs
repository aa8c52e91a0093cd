// SPDX-License-Identifier: GPL-2.0
//! The figures that the model of a cache gives for the page frames of a guest.

use anyhow::{bail, Context, Result};
use dax_cache::{Memory, Tally, Turns};
use dax_protocol::colours::{Cache, Line, Placement, Run, Tenants};
use dax_protocol::Impl;
use serde::Serialize;

pub const PAGE: u64 = 4096;
/// Accesses of each tenant: those that are not counted yet, and those that are.
pub const TURNS: u64 = 1_000_000;
/// The bytes of its memory that a small tenant uses.
pub const SMALL: u64 = 128 << 20;

/// The kind of memory: with a cache in front, or without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    Cached,
    Flat,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Cached => "direct-mapped cache",
            Self::Flat => "flat memory mode",
        }
    }
}

/// A guest, with all that it printed about itself.
#[derive(Debug, Serialize)]
pub struct Guest {
    pub driver: Impl,
    /// The release of its kernel.
    pub kernel: String,
    pub cache: Cache,
    pub region: Run,
    pub tenants: Vec<Tenants>,
}

/// Two tenants on one kind of memory.
#[derive(Debug, Serialize)]
pub struct Case {
    pub driver: Impl,
    pub kind: Kind,
    pub placement: Placement,
    /// Number of ranges of page frames that each has.
    pub ranges: [usize; 2],
    /// Pages of the cache, or of near memory, and those that both tenants use.
    pub places: u64,
    pub shared: u64,
    /// Both use all their memory at random, in turns.
    #[serde(serialize_with = "tallies")]
    pub all: [Tally; 2],
    /// The first uses a small part of its memory: alone, and beside the second, which uses all.
    #[serde(serialize_with = "tallies")]
    pub small: [Tally; 2],
}

/// Writes tallies as JSON.
fn tallies<S: serde::Serializer>(two: &[Tally; 2], to: S) -> Result<S::Ok, S::Error> {
    let object = |t: &Tally| {
        serde_json::json!({
            "hits": t.hits,
            "misses": t.misses,
            "lost_to_others": t.lost_to_others,
            "lost_to_itself": t.lost_to_itself,
        })
    };
    two.each_ref().map(object).serialize(to)
}

/// Hits for 100 accesses.
pub fn percent(tally: &Tally) -> f64 {
    100.0 * tally.hits as f64 / tally.accesses() as f64
}

impl Guest {
    /// Reads what a guest printed. Output without the last line is an error.
    pub fn read(text: &str) -> Result<Self> {
        let mut guest: Option<Self> = None;
        let mut done = None;
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let line = serde_json::from_str(line).with_context(|| {
                format!("dax-guest colours printed a line that is not known: {line}")
            })?;
            match (line, &mut guest) {
                (
                    Line::Machine {
                        driver,
                        kernel,
                        cache,
                        region,
                    },
                    None,
                ) => {
                    guest = Some(Self {
                        driver,
                        kernel,
                        cache,
                        region,
                        tenants: Vec::new(),
                    });
                }
                (Line::Tenants(tenants), Some(guest)) => guest.tenants.push(tenants),
                (Line::Done(number), Some(_)) => done = Some(number),
                (line, _) => bail!("dax-guest colours printed {line} in the wrong place"),
            }
        }
        match guest {
            Some(guest) if done == Some(guest.tenants.len() as u64) => Ok(guest),
            _ => bail!("dax-guest colours ended early:\n{text}"),
        }
    }

    /// The memory that the model is of. The size of the cache is what daxlayout read in the guest;
    /// near memory is the first half of the region, for nothing in the guest tells.
    fn memory(&self, kind: Kind) -> Memory {
        match kind {
            Kind::Cached => Memory::Cached {
                places: self.cache.size / PAGE,
            },
            Kind::Flat => Memory::Flat {
                base: self.region.first,
                places: self.region.count / 2,
            },
        }
    }

    /// The model's figures for these page frames.
    pub fn cases(&self, seed: u64) -> Vec<Case> {
        let mut cases = Vec::new();
        for kind in [Kind::Cached, Kind::Flat] {
            let wanted = |tenants: &&Tenants| match tenants.placement {
                Placement::OneWrite | Placement::InTurns(_) => true,
                Placement::Colours => kind == Kind::Cached,
                Placement::Pairs(_) => kind == Kind::Flat,
            };
            for tenants in self.tenants.iter().filter(wanted) {
                cases.push(self.case(kind, tenants, seed));
            }
        }
        cases
    }

    fn case(&self, kind: Kind, tenants: &Tenants, seed: u64) -> Case {
        let memory = self.memory(kind);
        let turns = Turns {
            warm_up: TURNS,
            counted: TURNS,
            seed,
        };
        let [a, b] = tenants.frames.each_ref().map(|runs| Run::frames(runs));
        let small = &a[..a.len().min((SMALL / PAGE) as usize)];
        let all = turns.play(memory, &[&a, &b]);
        let alone = turns.play(memory, &[small]);
        let beside = turns.play(memory, &[small, &b]);
        Case {
            driver: self.driver,
            kind,
            placement: tenants.placement,
            ranges: tenants.frames.each_ref().map(Vec::len),
            places: memory.places(),
            shared: memory.shared(&a, &b),
            all: [all[0], all[1]],
            small: [alone[0], beside[0]],
        }
    }
}

impl Case {
    /// The way in which the devices were made.
    pub fn title(&self) -> String {
        match self.placement {
            Placement::OneWrite => "one write to `size` each".to_owned(),
            Placement::InTurns(seed) => format!("grown in turns, amounts {seed}"),
            Placement::Colours => "one colour each".to_owned(),
            Placement::Pairs(_) => "one pair each".to_owned(),
        }
    }

    /// That way, in two words.
    pub fn short(&self) -> String {
        match self.placement {
            Placement::OneWrite => "one write".to_owned(),
            Placement::InTurns(seed) => format!("in turns {seed}"),
            Placement::Colours => "colours".to_owned(),
            Placement::Pairs(_) => "pairs".to_owned(),
        }
    }

    /// Whether daxlayout chose the memory.
    fn is_chosen(&self) -> bool {
        matches!(self.placement, Placement::Colours | Placement::Pairs(_))
    }

    /// Pages that one tenant lost to the other, for 100 accesses of both.
    pub fn lost_percent(&self) -> f64 {
        let lost: u64 = self.all.iter().map(|tally| tally.lost_to_others).sum();
        let accesses: u64 = self.all.iter().map(|tally| tally.accesses()).sum();
        100.0 * lost as f64 / accesses as f64
    }

    /// Hits of the small tenant for 100 of its accesses, alone and beside the other.
    pub fn small_hits(&self) -> [f64; 2] {
        self.small.each_ref().map(percent)
    }

    /// Broken expectations: tenants whose memory daxlayout chose do not push each other
    /// out, and others do.
    pub fn trouble(&self) -> Vec<String> {
        let mut trouble = Vec::new();
        let [a, b] = self.all.map(|tally| tally.lost_to_others);
        let chosen = self.is_chosen();
        let wanted = if chosen { "none" } else { "some" };
        if (self.shared == 0) != chosen {
            trouble.push(format!("{} shared places; expected {wanted}", self.shared));
        }
        if (a == 0) != chosen || (b == 0) != chosen {
            trouble.push(format!(
                "{a} and {b} pages lost to the other; expected {wanted}"
            ));
        }
        let [alone, beside] = self.small;
        if chosen && alone != beside {
            trouble.push(format!(
                "alone {alone:?}, beside the other {beside:?}; expected the same"
            ));
        }
        trouble
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The output of a guest whose tenants have these page frames of 64, behind a cache of 16
    /// pages.
    fn guest(placement: Placement, frames: [&[(u64, u64)]; 2]) -> Guest {
        let machine = Line::Machine {
            driver: Impl::C,
            kernel: "7.3".to_owned(),
            cache: Cache {
                size: 16 * PAGE,
                line_size: 64,
                indexing: 0,
                write_policy: 0,
                directory: String::new(),
            },
            region: Run {
                first: 64,
                count: 64,
            },
        };
        let frames = frames.map(|runs| {
            let run = |&(first, count)| Run { first, count };
            runs.iter().map(run).collect()
        });
        let tenants = Line::Tenants(Tenants { placement, frames });
        Guest::read(&format!("{machine}\n{tenants}\n{}\n", Line::Done(1))).unwrap()
    }

    #[test]
    fn halves_of_the_cache_are_apart() {
        let frames: [&[(u64, u64)]; 2] = [&[(64, 8), (80, 8)], &[(72, 8), (88, 8)]];
        let cases = guest(Placement::Colours, frames).cases(1);
        assert_eq!(cases.len(), 1);
        assert_eq!((cases[0].shared, cases[0].places), (0, 16));
        assert_eq!(cases[0].lost_percent(), 0.0);
        assert!(cases[0].trouble().is_empty());
        // The same memory, if nobody chose it: that would be luck.
        let cases = guest(Placement::OneWrite, frames).cases(1);
        assert_eq!(cases.len(), 2);
        assert_eq!(cases[0].trouble().len(), 2);
    }

    #[test]
    fn aliases_are_in_conflict() {
        let frames: [&[(u64, u64)]; 2] = [&[(64, 16)], &[(96, 16)]];
        for placement in [Placement::OneWrite, Placement::Colours] {
            let case = &guest(placement, frames).cases(1)[0];
            assert_eq!(case.shared, 16);
            assert!(case.lost_percent() > 10.0);
            assert_eq!(case.small_hits()[0], 100.0);
            assert!(case.small_hits()[1] < 90.0);
            let expected = if case.is_chosen() { 3 } else { 0 };
            assert_eq!(case.trouble().len(), expected);
        }
    }

    #[test]
    fn pairs_are_apart_and_halves_are_not() {
        let pairs: [&[(u64, u64)]; 2] = [&[(64, 8), (96, 8)], &[(72, 8), (104, 8)]];
        let cases = guest(Placement::Pairs(32 * PAGE), pairs).cases(1);
        assert_eq!((cases.len(), cases[0].kind), (1, Kind::Flat));
        assert!(cases[0].trouble().is_empty());
        let halves: [&[(u64, u64)]; 2] = [&[(64, 32)], &[(96, 32)]];
        let cases = guest(Placement::OneWrite, halves).cases(1);
        assert_eq!(cases[1].shared, 32);
        assert!(cases[1].trouble().is_empty());
    }

    #[test]
    fn a_guest_that_ends_early_is_an_error() {
        assert!(Guest::read("").is_err());
        assert!(Guest::read("nonsense").is_err());
        assert!(Guest::read(&Line::Done(0).to_string()).is_err());
    }
}
