// SPDX-License-Identifier: GPL-2.0
//! The figures of a run.

use dax_protocol::bench::{Line, Measurement};
use std::io::Write;

/// Lines, printed at once or in the end.
pub struct Record {
    at_once: bool,
    lines: Vec<String>,
    figures: u64,
}

/// An operation on a device of some ranges.
#[derive(Clone, Copy)]
pub struct Subject {
    /// The name of the operation.
    pub operation: &'static str,
    /// Number of ranges.
    pub ranges: u64,
    /// The unit of the figure.
    pub unit: &'static str,
}

impl Record {
    /// A record without figures. `at_once` says whether it prints each line at once.
    pub fn new(at_once: bool) -> Record {
        Record {
            at_once,
            lines: Vec::new(),
            figures: 0,
        }
    }

    /// Number of figures.
    pub fn figures(&self) -> u64 {
        self.figures
    }

    /// Adds a line.
    pub fn line(&mut self, line: &Line) {
        self.lines.push(line.to_string());
        if self.at_once {
            self.flush();
        }
    }

    /// Prints what has not been printed.
    pub fn flush(&mut self) {
        for line in self.lines.drain(..) {
            println!("{line}");
        }
        // If nobody listens there is nobody to tell.
        let _ = std::io::stdout().flush();
    }

    /// Adds the figure of something that was done `count` times in one go, and cost `total`.
    pub fn total(&mut self, subject: Subject, total: u64, count: u64) {
        let each = total as f64 / count as f64;
        self.figure(subject, each, count, (each, each));
    }

    /// Adds the figure of repetitions of one operation: the median of their costs.
    pub fn median(&mut self, subject: Subject, mut samples: Vec<f64>) {
        samples.sort_by(f64::total_cmp);
        if let (Some(least), Some(most)) = (samples.first(), samples.last()) {
            let value = samples[samples.len() / 2];
            self.figure(subject, value, samples.len() as u64, (*least, *most));
        }
    }

    /// Adds the figure of similar operations with different costs: the average of the costs.
    pub fn average(&mut self, subject: Subject, samples: &[u64]) {
        let sum: u64 = samples.iter().sum();
        let least = samples.iter().min().copied().unwrap_or_default();
        let most = samples.iter().max().copied().unwrap_or_default();
        let value = sum as f64 / samples.len() as f64;
        let spread = (least as f64, most as f64);
        self.figure(subject, value, samples.len() as u64, spread);
    }

    /// Adds a figure.
    fn figure(&mut self, subject: Subject, value: f64, count: u64, spread: (f64, f64)) {
        self.figures += 1;
        self.line(&Line::Figure(Measurement {
            operation: subject.operation.to_owned(),
            ranges: subject.ranges,
            unit: subject.unit.to_owned(),
            value,
            count,
            least: spread.0,
            most: spread.1,
        }));
    }
}
