// SPDX-License-Identifier: GPL-2.0
//! The figures that guests measured.

use anyhow::{bail, Context, Result};
use dax_protocol::bench::{Line, Measurement};
use serde::{Deserialize, Serialize};

use super::operations::{named, Operation};

/// The driver of a guest, and its settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Driver {
    C,
    /// With its default settings.
    Rust,
    /// With fault-around.
    RustAround,
}

impl Driver {
    pub fn name(self) -> &'static str {
        match self {
            Self::C => "C",
            Self::Rust => "Rust",
            Self::RustAround => "Rust, fault_around_bytes=65536",
        }
    }
}

/// The cost of an operation on so many ranges, for a driver.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    #[serde(skip)]
    pub operation: &'static Operation,
    #[serde(rename = "operation")]
    pub name: &'static str,
    pub driver: Driver,
    pub ranges: u64,
    pub unit: String,
    /// The median of the guests' values.
    pub value: f64,
    /// Number of repetitions that one guest measured.
    pub count: u64,
    pub least: f64,
    pub most: f64,
    /// The value of each guest.
    pub guests: Vec<f64>,
}

/// All figures of a run.
#[derive(Debug, Default, Serialize)]
pub struct Figures {
    pub all: Vec<Figure>,
}

impl Figure {
    /// The second least of the guests' values. If two drivers are equal and each has eleven guests,
    /// the median of one is below this value of the other in 3 runs of 100.
    pub fn low(&self) -> f64 {
        let mut sorted = self.guests.clone();
        sorted.sort_by(f64::total_cmp);
        let low = sorted.get(1).or(sorted.first());
        low.copied().unwrap_or(self.value)
    }
}

impl Figures {
    /// Adds what a guest printed, and returns its kernel's release. Output without the last line is
    /// an error.
    pub fn add(&mut self, driver: Driver, text: &str) -> Result<String> {
        let mut release = String::new();
        let mut lines = 0;
        let mut done = None;
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let line = serde_json::from_str(line).with_context(|| {
                format!("dax-guest bench printed a line that is no figure: {line}")
            })?;
            match line {
                Line::Figure(measurement) => {
                    lines += 1;
                    self.figure(driver, measurement)?;
                }
                Line::Run { kernel, .. } => release = kernel,
                Line::Caches(_) => {}
                Line::Done(figures) => done = Some(figures),
            }
        }
        if done != Some(lines) || lines == 0 {
            bail!("dax-guest bench ended early, after {lines} figures:\n{text}");
        }
        Ok(release)
    }

    fn figure(&mut self, driver: Driver, line: Measurement) -> Result<()> {
        let Some(operation) = named(&line.operation) else {
            bail!("{}: tools/src/bench has no such operation", line.operation);
        };
        let same = |f: &&mut Figure| {
            f.name == operation.name && f.ranges == line.ranges && f.driver == driver
        };
        if let Some(figure) = self.all.iter_mut().find(same) {
            figure.guests.push(line.value);
            figure.value = median(&figure.guests);
            figure.least = figure.least.min(line.least);
            figure.most = figure.most.max(line.most);
            return Ok(());
        }
        self.all.push(Figure {
            operation,
            name: operation.name,
            driver,
            ranges: line.ranges,
            unit: line.unit,
            value: line.value,
            count: line.count,
            least: line.least,
            most: line.most,
            guests: vec![line.value],
        });
        Ok(())
    }

    /// A driver's figure. An operation that is not measured by ranges has only one.
    pub fn get(&self, operation: &str, driver: Driver, ranges: u64) -> Option<&Figure> {
        self.all.iter().find(|f| {
            let any = !f.operation.by_ranges;
            f.name == operation && f.driver == driver && (any || f.ranges == ranges)
        })
    }

    /// The numbers of ranges, in ascending order.
    pub fn ranges(&self) -> Vec<u64> {
        let by_ranges = self.all.iter().filter(|f| f.operation.by_ranges);
        let mut ranges: Vec<u64> = by_ranges.map(|f| f.ranges).collect();
        ranges.sort_unstable();
        ranges.dedup();
        ranges
    }
}

/// The middle one; of an even number the lower of the two.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len().saturating_sub(1) / 2;
    sorted.get(middle).copied().unwrap_or_default()
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn text(operation: &str, ranges: u64, value: f64) -> String {
        let figure = Line::Figure(Measurement {
            operation: operation.to_owned(),
            ranges,
            unit: "instructions".to_owned(),
            value,
            count: 3,
            least: value,
            most: value,
        });
        format!("{figure}\n")
    }

    #[test]
    fn guests_of_a_driver_come_to_their_median() {
        let mut figures = Figures::default();
        for value in [5.0, 1.0, 3.0] {
            let text = text("bind", 16, value) + "{\"done\":1}\n";
            figures.add(Driver::C, &text).unwrap();
        }
        let figure = figures.get("bind", Driver::C, 16).unwrap();
        assert_eq!((figure.value, figure.least, figure.most), (3.0, 1.0, 5.0));
        assert_eq!(figure.low(), 3.0);
        assert!(figures.get("bind", Driver::Rust, 16).is_none());
        assert!(figures.get("bind", Driver::C, 1).is_none());
    }

    #[test]
    fn a_guest_that_ended_early_does_not_count() {
        let mut figures = Figures::default();
        let one = text("bind", 16, 1.0);
        assert!(figures.add(Driver::C, &one).is_err());
        assert!(figures.add(Driver::C, "{\"done\":0}\n").is_err());
        assert!(figures.add(Driver::C, &(one + "{\"done\":2}\n")).is_err());
        assert!(figures.add(Driver::C, "oops\n").is_err());
        let unknown = text("fly", 1, 1.0) + "{\"done\":1}\n";
        assert!(figures.add(Driver::C, &unknown).is_err());
    }
}
