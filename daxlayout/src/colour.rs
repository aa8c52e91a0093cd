// SPDX-License-Identifier: GPL-2.0
//! The parts of a direct-mapped cache that memory uses.

use crate::span::{merged, total, Span};

/// The places in a cache of `period` bytes that the spans use, in order.
pub fn places(spans: &[Span], period: u64) -> Vec<Span> {
    let mut places = Vec::new();
    for span in spans {
        let start = span.start % period;
        if span.len() >= period {
            places.extend(Span::checked_at(0, period));
            continue;
        }
        let before_wrap = span.len().min(period - start);
        places.extend(Span::checked_at(start, before_wrap));
        places.extend(Span::checked_at(0, span.len() - before_wrap));
    }
    merged(places)
}

/// The number of bytes of a cache of `period` bytes that both use.
pub fn shared(one: &[Span], other: &[Span], period: u64) -> u64 {
    let other = places(other, period);
    let common = places(one, period)
        .into_iter()
        .flat_map(|place| other.iter().filter_map(move |&o| place.common(o)))
        .collect::<Vec<_>>();
    total(&common)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: u64, len: u64) -> Span {
        Span::at(start, len)
    }

    #[test]
    fn places_wrap_at_the_end_of_the_cache() {
        assert_eq!(places(&[at(130, 10)], 100), [at(30, 10)]);
        assert_eq!(places(&[at(190, 20)], 100), [at(0, 10), at(90, 10)]);
        assert_eq!(places(&[at(250, 100)], 100), [at(0, 100)]);
    }

    #[test]
    fn aliases_share_all_and_colours_nothing() {
        assert_eq!(shared(&[at(0, 50)], &[at(100, 50)], 100), 50);
        assert_eq!(shared(&[at(0, 50)], &[at(150, 50)], 100), 0);
        assert_eq!(shared(&[at(0, 60)], &[at(150, 50), at(340, 5)], 100), 15);
    }
}
