// SPDX-License-Identifier: GPL-2.0
//! The figures of another architecture, beside those of x86 that a run of everything wrote.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::document::{number, ratio};
use super::figures::{Driver, Figure, Figures};
use super::{Origin, DOCUMENT, JSON};
use crate::arch::Arch;
use crate::cache;
use crate::table::{self, Table};

/// What performance.json has of x86.
#[derive(Deserialize)]
struct Written {
    figures: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    operation: String,
    driver: Driver,
    ranges: u64,
    value: f64,
}

/// Prints the figures, and writes them into the document if none was left out. Goals are for x86
/// alone.
pub fn report(
    repo: &Path,
    arch: Arch,
    is_complete: bool,
    origin: &Origin,
    figures: &Figures,
) -> Result<ExitCode> {
    let text = cache::read_text(&repo.join(JSON))?;
    let written: Written =
        serde_json::from_str(&text).with_context(|| format!("{JSON} has other fields"))?;
    let section = format!(
        "{}\n\n{}",
        origin.sentence(),
        table(arch, figures, &written).markdown()
    );
    println!("{section}");
    if is_complete {
        table::replace(&repo.join(DOCUMENT), arch.name(), &section)?;
        eprintln!("{DOCUMENT} written");
    } else {
        eprintln!("{DOCUMENT} is not written: only a run of everything writes it");
    }
    Ok(ExitCode::SUCCESS)
}

fn table(arch: Arch, figures: &Figures, written: &Written) -> Table {
    let of_rust = figures.all.iter().filter(|f| f.driver != Driver::C);
    let row = |figure: &Figure| {
        let here = |driver| {
            let found = figures.get(figure.name, driver, figure.ranges);
            found.map(|figure| figure.value)
        };
        let there = |driver| {
            let same = |e: &&Entry| {
                e.operation == figure.name && e.driver == driver && e.ranges == figure.ranges
            };
            written.figures.iter().find(same).map(|entry| entry.value)
        };
        let mut cells = vec![
            figure.operation.title.to_owned(),
            match figure.operation.by_ranges {
                true => figure.ranges.to_string(),
                false => String::new(),
            },
            figure.driver.name().to_owned(),
        ];
        cells.extend(compared(there(Driver::C), there(figure.driver)));
        cells.extend(compared(here(Driver::C), here(figure.driver)));
        cells
    };
    let name = arch.name();
    let mut head = vec!["what".to_owned(), "R".to_owned(), "driver".to_owned()];
    for arch in ["x86", name] {
        head.extend([format!("{arch}: C"), "this".to_owned(), "of C".to_owned()]);
    }
    Table {
        head,
        rows: of_rust.map(row).collect(),
    }
}

/// C's figure, the other driver's, and what part of C's that is.
fn compared(c: Option<f64>, other: Option<f64>) -> [String; 3] {
    let text = |value: Option<f64>| value.map_or("-".to_owned(), number);
    let part = c.zip(other).map(|(c, other)| ratio(other / c));
    [text(c), text(other), part.unwrap_or("-".to_owned())]
}

#[cfg(test)]
mod tests {
    use dax_protocol::bench::Line;

    use super::super::figures::tests::text;
    use super::*;

    #[test]
    fn a_row_has_both_architectures() {
        let mut figures = Figures::default();
        for (driver, value) in [(Driver::C, 1000.0), (Driver::Rust, 500.0)] {
            let lines = format!("{}{}\n", text("bind", 16, value), Line::Done(1));
            figures.add(driver, &lines).unwrap();
        }
        let written = serde_json::from_str(
            "{\"figures\": [{\"operation\": \"bind\", \"driver\": \"rust\", \"ranges\": 16, \
             \"value\": 250, \"unit\": \"instructions\"}]}",
        )
        .unwrap();
        let table = table(Arch::Arm64, &figures, &written);
        let expected = [
            "bind, per range",
            "16",
            "Rust",
            "-",
            "250",
            "-",
            "1,000",
            "500",
            "0.500",
        ];
        assert_eq!(table.rows, [expected]);
        assert_eq!(table.head.len(), expected.len());
    }
}
