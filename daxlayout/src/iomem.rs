// SPDX-License-Identifier: GPL-2.0
//! `/proc/iomem`: the reserved addresses, and who reserved them.

use crate::error::Result;
use crate::span::Span;
use crate::sysfs::{self, Sysfs};

/// The lines of `/proc/iomem`: addresses and owner. Without root all addresses are 0.
#[derive(Default)]
pub struct Iomem(Vec<(Span, String)>);

impl Iomem {
    pub fn read(sysfs: &Sysfs) -> Result<Self> {
        let text = match &sysfs.iomem {
            Some(path) => sysfs::read_if_there(path)?.unwrap_or_default(),
            None => String::new(),
        };
        Ok(Self(text.lines().filter_map(line).collect()))
    }

    /// Whether a line has that owner.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(_, owner)| owner == name)
    }

    /// All lines' addresses that are `size` bytes.
    pub fn spans_of_size(&self, size: u64) -> Vec<Span> {
        let spans = self.0.iter().map(|(span, _)| *span);
        spans.filter(|span| span.len() == size).collect()
    }
}

/// Reads a line such as `  100000000-10fffffff : dax0.1`.
fn line(text: &str) -> Option<(Span, String)> {
    let (span, owner) = text.trim().split_once(" : ")?;
    let (start, end) = span.split_once('-')?;
    let start = u64::from_str_radix(start, 16).ok()?;
    let end = u64::from_str_radix(end, 16).ok()?;
    Some((Span { start, end }, owner.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line() {
        let (span, owner) = line("  100000000-10fffffff : dax0.1").unwrap();
        assert_eq!(span.to_string(), "0x100000000-0x10fffffff");
        assert_eq!(owner, "dax0.1");
        assert!(line("nonsense").is_none());
    }
}
