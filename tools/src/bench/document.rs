// SPDX-License-Identifier: GPL-2.0
//! Writes the figures as tables in Markdown.

use super::figures::{Driver, Figure, Figures};
use super::goals::{Row, Verdict};
use super::operations::{Operation, OPERATIONS};
use super::Origin;
use crate::table::Table;

/// The text between the markers in the document.
pub fn section(origin: &Origin, rows: &[Row], figures: &Figures) -> String {
    format!(
        "{}\n\n{}\n{}\n{}",
        origin.sentence(),
        goals(rows).markdown(),
        by_ranges(figures).markdown(),
        others(figures).markdown()
    )
}

/// The table of the goals and of what was reached.
pub fn goals(rows: &[Row]) -> Table {
    let row = |row: &Row| {
        let text = |value: Option<f64>| value.map_or("-".to_owned(), number);
        let verdict = match row.verdict {
            Verdict::Met => "met",
            Verdict::Level => "level",
            Verdict::Missed => "**missed**",
            Verdict::NotMeasured => "not measured",
        };
        vec![
            row.what.to_owned(),
            row.driver.name().to_owned(),
            text(row.figure),
            text(row.reference),
            row.reached.map_or("-".to_owned(), ratio),
            row.goal.clone(),
            verdict.to_owned(),
        ]
    };
    Table {
        head: head(&["what", "driver", "figure", "against", "ratio", "goal", ""]),
        rows: rows.iter().map(row).collect(),
    }
}

/// The table of the operations that are measured by number of ranges.
fn by_ranges(figures: &Figures) -> Table {
    let ranges = figures.ranges();
    let mut rows = Vec::new();
    for (operation, driver) in measured(figures, true) {
        let mut row = vec![operation.title.to_owned(), driver.name().to_owned()];
        row.extend(ranges.iter().map(|&ranges| {
            let figure = figures.get(operation.name, driver, ranges);
            figure.map_or("-".to_owned(), with_unit)
        }));
        rows.push(row);
    }
    let numbers: Vec<String> = ranges.iter().map(|n| format!("R = {n}")).collect();
    Table {
        head: [head(&["ranges", "driver"]), numbers].concat(),
        rows,
    }
}

/// The table of the other operations.
fn others(figures: &Figures) -> Table {
    let mut rows = Vec::new();
    for (operation, driver) in measured(figures, false) {
        if let Some(figure) = figures.get(operation.name, driver, 0) {
            rows.push(vec![
                operation.title.to_owned(),
                driver.name().to_owned(),
                with_unit(figure),
                spread(figure),
            ]);
        }
    }
    Table {
        head: head(&["other", "driver", "figure", "least to most"]),
        rows,
    }
}

/// The operations that have figures.
fn measured(figures: &Figures, by_ranges: bool) -> Vec<(&'static Operation, Driver)> {
    let drivers = [Driver::C, Driver::Rust, Driver::RustAround];
    let operations = OPERATIONS.iter().filter(|o| o.by_ranges == by_ranges);
    let all = operations.flat_map(|o| drivers.map(|driver| (o, driver)));
    let any = |(o, driver): &(&Operation, Driver)| {
        figures
            .all
            .iter()
            .any(|f| f.name == o.name && f.driver == *driver)
    };
    all.filter(any).collect()
}

fn head(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// A figure and its unit. Most figures are instructions, for which no unit is written.
fn with_unit(figure: &Figure) -> String {
    match figure.unit.as_str() {
        "ns" if figure.value >= 1e9 => format!("{:.1} s", figure.value / 1e9),
        "ns" => format!("{:.1} ms", figure.value / 1e6),
        "bytes" => format!("{} B", number(figure.value)),
        "times" => format!("{:.2} times", figure.value),
        _ => number(figure.value),
    }
}

fn spread(figure: &Figure) -> String {
    if figure.least == figure.most {
        return "-".to_owned();
    }
    match figure.unit.as_str() {
        "times" => format!("{:.2} to {:.2}", figure.least, figure.most),
        _ => format!("{} to {}", number(figure.least), number(figure.most)),
    }
}

/// `12,345`, `1.53`.
pub fn number(value: f64) -> String {
    if value.abs() < 100.0 && value.fract() != 0.0 {
        return format!("{value:.2}");
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A ratio, rounded so that it mostly stays on its side of a limit.
pub fn ratio(value: f64) -> String {
    if value >= 10.0 {
        number(value)
    } else {
        format!("{value:.3}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(number(1_234_567.4), "1,234,567");
        assert_eq!(number(999.0), "999");
        assert_eq!(number(1.534), "1.53");
        assert_eq!(number(16.0), "16");
        assert_eq!(
            (ratio(0.0171), ratio(129.0)),
            ("0.017".into(), "129".into())
        );
    }
}
