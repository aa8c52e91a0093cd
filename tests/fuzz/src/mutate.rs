// SPDX-License-Identifier: GPL-2.0
//! Makes texts from texts.

/// The longest text; sysfs hands on a page, but nothing that long is read to its end.
const LONGEST: usize = 64;
/// What the grammar is made of, and what is at its limits.
const WORDS: [&[u8]; 18] = [
    b"dax",
    b"dax0.0",
    b"0x",
    b"0X",
    b"-",
    b"+",
    b".",
    b"\n",
    b"\0",
    b"0",
    b"18446744073709551615",
    b"18446744073709551616",
    b"2147483647",
    b"-2147483648",
    b"4294967295",
    b"0xffffffffffffffff",
    b"0x10000000000000000",
    b"01777777777777777777777",
];

/// splitmix64.
pub struct Random(pub u64);

impl Random {
    /// A number below `limit`, which is not 0.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % limit as u64) as usize
    }
}

/// A text that is like one of the corpus, but for one to four changes.
pub fn mutate(corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut text = match corpus.len() {
        0 => Vec::new(),
        len => corpus[random.below(len)].clone(),
    };
    for _ in 0..=random.below(4) {
        let at = random.below(text.len() + 1);
        let end = (at + random.below(4)).min(text.len());
        match random.below(7) {
            0 => text.insert(at, random.below(256) as u8),
            1 => drop(text.drain(at..end)),
            2 => drop(text.splice(at..end, WORDS[random.below(WORDS.len())].iter().copied())),
            3 => drop(text.splice(at..at, WORDS[random.below(WORDS.len())].iter().copied())),
            4 => {
                if let Some(byte) = text.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
            5 => text.insert(at, b"0123456789abcdefABCDEF"[random.below(22)]),
            _ => {
                text.truncate(at);
                if let Some(other) = corpus.get(random.below(corpus.len().max(1))) {
                    text.extend_from_slice(&other[random.below(other.len() + 1)..]);
                }
            }
        }
    }
    text.truncate(LONGEST);
    text
}
