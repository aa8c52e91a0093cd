// SPDX-License-Identifier: GPL-2.0
//! Spans of physical memory, and sizes as people write them.

pub use dax_map::{counted, holes, human, merged, total, Span};
use nix::unistd::{sysconf, SysconfVar};

/// One mebibyte.
pub const MIB: u64 = 1 << 20;

/// The page size of the running kernel, in bytes: page offsets count such pages.
pub fn page() -> u64 {
    let size = sysconf(SysconfVar::PAGE_SIZE).ok().flatten();
    size.and_then(|size| size.try_into().ok()).unwrap_or(4096)
}

/// A size as people and daxctl write it: `4096`, `0x1000`, `2M`, `1G`, `1GiB`.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let bad = || format!("{text:?} is not a size: write 2097152, 0x200000, 2M or 1G");
    if let Some(digits) = text.strip_prefix("0x") {
        return u64::from_str_radix(digits, 16).map_err(|_| bad());
    }
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let shift = match text.strip_prefix(digits).unwrap_or_default() {
        "" | "B" => 0,
        "k" | "K" | "KiB" => 10,
        "m" | "M" | "MiB" => 20,
        "g" | "G" | "GiB" => 30,
        "t" | "T" | "TiB" => 40,
        _ => return Err(bad()),
    };
    let number: u64 = digits.parse().map_err(|_| bad())?;
    number.checked_mul(1 << shift).ok_or_else(bad)
}

/// A range as people write it: `0x100000000-0x13fffffff`, the last byte inside as in sysfs and
/// `/proc/iomem`, or start and length: `4G+1G`.
pub fn parse_range(text: &str) -> Result<Span, String> {
    let bad = || format!("{text:?} is not a range: write START-LAST or START+LENGTH");
    let span = if let Some((start, length)) = text.split_once('+') {
        Span::checked_at(parse_size(start)?, parse_size(length)?)
    } else {
        let (start, end) = text.split_once('-').ok_or_else(bad)?;
        let (start, end) = (parse_size(start)?, parse_size(end)?);
        (start <= end).then_some(Span { start, end })
    };
    span.ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(start: u64, end: u64) -> Span {
        Span { start, end }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("0x1000", 4096),
            ("4k", 4096),
            ("2M", 2 << 20),
            ("1GiB", 1 << 30),
            ("3T", 3 << 40),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "M", "1.5G", "-1", "2X", "0x", "99999999T", "1 G"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
        assert_eq!(human(1216 << 20), "1216 MiB");
        assert_eq!(human(2 << 30), "2 GiB");
        assert_eq!(human(0), "0 B");
    }

    #[test]
    fn ranges() {
        let wanted = Ok(span(4 << 30, (5 << 30) - 1));
        assert_eq!(parse_range("4G+1G"), wanted);
        assert_eq!(parse_range("0x100000000-0x13fffffff"), wanted);
        for text in ["4G", "2-1", "4G+0", "0xffffffffffffffff+2"] {
            assert!(parse_range(text).is_err(), "{text}");
        }
    }

    #[test]
    fn holes_are_what_is_left() {
        let all = span(10, 99);
        assert_eq!(holes(all, &[]), [all]);
        assert_eq!(holes(all, &[all]), []);
        assert_eq!(
            holes(all, &[span(50, 59), span(10, 19), span(60, 69)]),
            [span(20, 49), span(70, 99)]
        );
        assert_eq!(holes(all, &[span(0, 9), span(95, 120)]), [span(10, 94)]);
    }

    #[test]
    fn alignment_rounds_inwards() {
        assert_eq!(span(5, 34).aligned(10), Some(span(10, 29)));
        assert_eq!(span(11, 19).aligned(10), None);
        assert_eq!(span(11, 28).aligned(10), None);
        assert!(span(10, 19).is_aligned(10) && !span(10, 18).is_aligned(10));
        assert_eq!(span(0, u64::MAX).aligned(2), None);
    }
}
