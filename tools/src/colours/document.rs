// SPDX-License-Identifier: GPL-2.0
//! Writes the figures as tables in Markdown.

use dax_protocol::Impl;

use super::figures::{percent, Case, Guest, Kind, PAGE, SMALL, TURNS};
use crate::table::Table;

const MIB: u64 = 1 << 20;

/// The text between the markers in the document.
pub fn section(commit: &str, guests: &[Guest], cases: &[Case]) -> String {
    let mut text = String::new();
    for guest in guests {
        text += &origin(commit, guest);
    }
    if let [one, other] = guests {
        let same = one.tenants == other.tenants;
        let verb = if same {
            "gave the same"
        } else {
            "gave different"
        };
        text += &format!("\nBoth drivers {verb} page frames.\n");
    }
    for kind in [Kind::Cached, Kind::Flat] {
        let of_kind = cases.iter().filter(|case| case.kind == kind);
        let cases: Vec<&Case> = of_kind.collect();
        text += &format!("\n## {}\n\n{}", heading(kind), table(&cases).markdown());
    }
    text.trim_end().to_owned()
}

fn heading(kind: Kind) -> &'static str {
    match kind {
        Kind::Cached => "Direct-mapped cache",
        Kind::Flat => "Flat memory mode",
    }
}

/// The source of the figures.
fn origin(commit: &str, guest: &Guest) -> String {
    let cache = &guest.cache;
    format!(
        "- {}: commit {commit}, Linux {}. daxlayout read from `{}`: size {} MiB, line size {} B, \
         indexing {}, write policy {}. The region has {} MiB from {:#x} on.\n",
        driver(guest.driver),
        guest.kernel,
        cache.directory,
        cache.size / MIB,
        cache.line_size,
        cache.indexing,
        cache.write_policy,
        mib(guest.region.count),
        guest.region.first * PAGE,
    )
}

fn driver(imp: Impl) -> &'static str {
    match imp {
        Impl::C => "C",
        Impl::Rust => "Rust",
    }
}

fn mib(pages: u64) -> u64 {
    pages * PAGE / MIB
}

fn table(cases: &[&Case]) -> Table {
    let head = [
        "devices of A and B".to_owned(),
        "driver".to_owned(),
        "ranges".to_owned(),
        "places that both have".to_owned(),
        format!("A lost to B, of {TURNS} accesses"),
        "B lost to A".to_owned(),
        "A's hits".to_owned(),
        format!("A in {} MiB, alone: hits", SMALL / MIB),
        "beside B".to_owned(),
    ];
    let row = |case: &&Case| {
        let [alone, beside] = case.small_hits();
        let [a, b] = case.ranges;
        vec![
            case.title(),
            driver(case.driver).to_owned(),
            format!("{a} and {b}"),
            format!("{} of {} MiB", mib(case.shared), mib(case.places)),
            case.all[0].lost_to_others.to_string(),
            case.all[1].lost_to_others.to_string(),
            format!("{:.1} %", percent(&case.all[0])),
            format!("{alone:.1} %"),
            format!("{beside:.1} %"),
        ]
    };
    Table {
        head: head.to_vec(),
        rows: cases.iter().map(row).collect(),
    }
}
