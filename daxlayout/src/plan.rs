// SPDX-License-Identifier: GPL-2.0
//! Decides which ranges a device gets. It knows holes and numbers only, and reads no files.

use thiserror::Error;

use crate::span::{human, total, Span};

/// The place of a device's memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Anywhere, in as few ranges as possible.
    Contiguous,
    /// At addresses of this part of the cache, in as few ranges as possible.
    CachePart(CachePart),
    /// In two equal ranges, whose starts are `distance` bytes apart.
    Pair { distance: u64 },
    /// Exactly these ranges, in this order.
    Exact(Vec<Span>),
}

/// A part of a direct-mapped cache of `period` bytes, `width` bytes from `offset` on: the addresses
/// whose remainder by `period` is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CachePart {
    pub period: u64,
    pub offset: u64,
    pub width: u64,
}

/// The size and place of a device to be planned.
#[derive(Clone, Debug)]
pub struct Request {
    /// In bytes; if none, the device gets all free memory of its place.
    pub size: Option<u64>,
    /// In bytes, not 0. Start and length of each range are multiples of it.
    pub granule: u64,
    pub placement: Placement,
}

/// The reason for which there is no plan.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    #[error("a size of {size} bytes is not a positive multiple of {}", human(*.multiple))]
    Size { size: u64, multiple: u64 },
    #[error("{} wanted, {} free where the device may be", human(*.wanted), human(*.free))]
    NoRoom { wanted: u64, free: u64 },
    #[error("a distance of {distance:#x} is not a positive multiple of {}", human(*.granule))]
    Distance { distance: u64, granule: u64 },
    #[error(
        "no two free ranges of {} at a distance of {}; the largest pair has {} each",
        human(*.wanted), human(*.distance), human(*.largest)
    )]
    NoPair {
        wanted: u64,
        distance: u64,
        largest: u64,
    },
    #[error("range {span}: start and length are not multiples of {}", human(*.granule))]
    Unaligned { span: Span, granule: u64 },
    #[error("range {span}: not free")]
    Taken { span: Span },
    #[error("range {span}: overlaps range {other}")]
    Twice { span: Span, other: Span },
    #[error("the ranges have {} in total, but the size is {}", human(*.have), human(*.wanted))]
    Sum { have: u64, wanted: u64 },
    #[error("{width:#x} bytes at offset {offset:#x} are not inside {period:#x} bytes")]
    BadPart {
        period: u64,
        offset: u64,
        width: u64,
    },
    #[error("parts of the cache of {width:#x} bytes are smaller than the smallest range, which is {}", human(*.granule))]
    Narrow { width: u64, granule: u64 },
    #[error("there is no colour {colour} of {colours}: colours count from 0")]
    BadColour { colour: u64, colours: u64 },
}

impl CachePart {
    /// `width` bytes from `offset` on, of a cache of `period` bytes.
    pub fn new(period: u64, offset: u64, width: u64) -> Result<Self, Refusal> {
        let inside = offset.checked_add(width).is_some_and(|end| end <= period);
        if width == 0 || !inside {
            return Err(Refusal::BadPart {
                period,
                offset,
                width,
            });
        }
        Ok(Self {
            period,
            offset,
            width,
        })
    }

    /// One of `colours` equal parts of a cache of `period` bytes.
    pub fn colour(colour: u64, colours: u64, period: u64) -> Result<Self, Refusal> {
        if colour >= colours {
            return Err(Refusal::BadColour { colour, colours });
        }
        let width = period / colours;
        Self::new(period, width * colour, width)
    }

    /// The pieces of a span whose addresses are in this part of the cache, in address order.
    pub fn pieces(self, span: Span) -> Vec<Span> {
        let mut pieces = Vec::new();
        let mut next = Some(span.start - span.start % self.period);
        while let Some(period) = next.filter(|&start| start <= span.end) {
            let start = period.checked_add(self.offset);
            let piece = start.and_then(|start| Span::checked_at(start, self.width));
            pieces.extend(piece.and_then(|piece| piece.common(span)));
            next = period.checked_add(self.period);
        }
        pieces
    }
}

/// The ranges that the device gets, all inside `holes`, which are disjoint.
pub fn plan(holes: &[Span], request: &Request) -> Result<Vec<Span>, Refusal> {
    let granule = request.granule;
    if let Some(size) = request
        .size
        .filter(|size| *size == 0 || size % granule != 0)
    {
        let multiple = granule;
        return Err(Refusal::Size { size, multiple });
    }
    match &request.placement {
        Placement::Contiguous => fewest(aligned(holes, granule), request.size),
        Placement::CachePart(CachePart { width, .. }) if *width < granule => {
            let width = *width;
            Err(Refusal::Narrow { width, granule })
        }
        Placement::CachePart(part) => {
            let pieces = holes.iter().flat_map(|&hole| part.pieces(hole));
            // Pieces that touch each other are one piece.
            let pieces = crate::span::merged(pieces.collect());
            fewest(aligned(&pieces, granule), request.size)
        }
        Placement::Pair { distance } => pair(holes, *distance, request.size, granule),
        Placement::Exact(spans) => exact(holes, spans, request.size, granule),
    }
}

/// The aligned parts of the spans. Each range of a device is inside one of them.
fn aligned(spans: &[Span], granule: u64) -> Vec<Span> {
    spans
        .iter()
        .filter_map(|span| span.aligned(granule))
        .collect()
}

/// Takes `size` bytes of as few pieces as possible: the largest ones, and for the rest the smallest
/// that has room.
fn fewest(mut pieces: Vec<Span>, size: Option<u64>) -> Result<Vec<Span>, Refusal> {
    let free = total(&pieces);
    let wanted = size.unwrap_or(free);
    if wanted == 0 || wanted > free {
        return Err(Refusal::NoRoom { wanted, free });
    }
    pieces.sort_by_key(|piece| (piece.len(), std::cmp::Reverse(piece.start)));
    let mut rest = wanted;
    let mut taken = Vec::new();
    while rest > 0 {
        let first_with_room = pieces.partition_point(|piece| piece.len() < rest);
        // Among pieces of one size the lowest address comes last.
        let length = pieces.get(first_with_room).map(|piece| piece.len());
        let after = pieces.partition_point(|piece| Some(piece.len()) <= length);
        let last = match length {
            Some(_) => pieces.get(after.saturating_sub(1)).copied(),
            None => pieces.pop(),
        };
        let range = last.and_then(|piece| Span::checked_at(piece.start, piece.len().min(rest)));
        let Some(range) = range else {
            return Err(Refusal::NoRoom { wanted, free });
        };
        rest -= range.len();
        taken.push(range);
    }
    taken.sort_unstable();
    Ok(taken)
}

/// Two equal ranges at a distance, the lower one in the smallest place that has room.
fn pair(
    holes: &[Span],
    distance: u64,
    size: Option<u64>,
    granule: u64,
) -> Result<Vec<Span>, Refusal> {
    if distance == 0 || distance % granule != 0 {
        return Err(Refusal::Distance { distance, granule });
    }
    let mut places: Vec<Span> = holes
        .iter()
        .flat_map(|&low| {
            let upper = holes
                .iter()
                .filter_map(move |&high| lowered(high, distance));
            upper.filter_map(move |high| low.common(high))
        })
        .filter_map(|both| both.aligned(granule))
        .collect();
    places.sort_by_key(|place| (place.len(), place.start));
    let largest = places.last().map_or(0, |place| place.len()).min(distance);
    let wanted = size.map_or(largest, |size| size / 2);
    if size.is_some_and(|size| wanted % granule != 0 || wanted * 2 != size) {
        let size = size.unwrap_or_default();
        let multiple = granule * 2;
        return Err(Refusal::Size { size, multiple });
    }
    let place = places.into_iter().find(|place| place.len() >= wanted);
    let low = place.filter(|_| wanted <= distance);
    let low = low.and_then(|place| Span::checked_at(place.start, wanted));
    let high = low.and_then(|low| Span::checked_at(low.start.checked_add(distance)?, wanted));
    low.zip(high)
        .map(|(low, high)| vec![low, high])
        .ok_or(Refusal::NoPair {
            wanted,
            distance,
            largest,
        })
}

/// The span moved down by `distance` bytes, without the part that would be below 0.
fn lowered(span: Span, distance: u64) -> Option<Span> {
    Some(Span {
        start: span.start.saturating_sub(distance),
        end: span.end.checked_sub(distance)?,
    })
}

/// The wanted ranges, if they are aligned, free and disjoint.
fn exact(
    holes: &[Span],
    spans: &[Span],
    size: Option<u64>,
    granule: u64,
) -> Result<Vec<Span>, Refusal> {
    let mut earlier: Vec<Span> = Vec::new();
    for &span in spans {
        if !span.is_aligned(granule) {
            return Err(Refusal::Unaligned { span, granule });
        }
        if let Some(&other) = earlier.iter().find(|other| other.overlaps(span)) {
            return Err(Refusal::Twice { span, other });
        }
        if !holes.iter().any(|hole| hole.contains(span)) {
            return Err(Refusal::Taken { span });
        }
        earlier.push(span);
    }
    let have = total(spans);
    match size.filter(|&wanted| wanted != have) {
        Some(wanted) => Err(Refusal::Sum { have, wanted }),
        None => Ok(earlier),
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
