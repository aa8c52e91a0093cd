// SPDX-License-Identifier: GPL-2.0
//! The goals of the Rust driver, and whether it reaches them.

mod list;

use serde::Serialize;

use super::figures::{Driver, Figures};
use list::{Against, Goal, Sense, GOALS};

const NS_PER_MS: f64 = 1e6;

/// Whether a goal was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    Met,
    /// The figure is among those of the C driver's guests.
    Level,
    Missed,
    NotMeasured,
}

/// A goal, measured.
#[derive(Debug, Serialize)]
pub struct Row {
    pub what: &'static str,
    pub driver: Driver,
    /// `≤ 0.30 of C`.
    pub goal: String,
    pub figure: Option<f64>,
    /// The reference that the figure is compared with.
    pub reference: Option<f64>,
    /// The reason for the limit.
    pub reached: Option<f64>,
    pub verdict: Verdict,
}

/// All goals, in order.
pub fn judge(figures: &Figures) -> Vec<Row> {
    let rows = GOALS.iter();
    rows.flat_map(|goal| goal.drivers.iter().map(|driver| goal.row(*driver, figures)))
        .collect()
}

impl Goal {
    /// Whether a figure is among those of the C driver's guests.
    fn is_level(&self, figure: Option<f64>, figures: &Figures) -> bool {
        let other = figures.get(self.operation, Driver::C, self.ranges);
        matches!(self.against, Against::CGuests)
            && figure
                .zip(other)
                .is_some_and(|(figure, other)| figure >= self.limit * other.low())
    }

    fn row(&self, driver: Driver, figures: &Figures) -> Row {
        let value =
            |operation, driver, ranges| figures.get(operation, driver, ranges).map(|f| f.value);
        let figure = value(self.operation, driver, self.ranges);
        let reference = match self.against {
            Against::C | Against::CGuests => value(self.operation, Driver::C, self.ranges),
            Against::CAnd(ms) => {
                let c = value(self.operation, Driver::C, self.ranges);
                c.map(|ns| ns + f64::from(ms) * NS_PER_MS)
            }
            Against::Own(operation, ranges) => value(operation, driver, ranges),
            Against::Nothing => Some(1.0),
        };
        let reached = figure.zip(reference).map(|(figure, other)| figure / other);
        let verdict = match (reached, self.sense) {
            (None, _) => Verdict::NotMeasured,
            (Some(reached), Sense::AtMost) if reached <= self.limit => Verdict::Met,
            (Some(reached), Sense::AtLeast) if reached >= self.limit => Verdict::Met,
            (Some(_), Sense::AtLeast) if self.is_level(figure, figures) => Verdict::Level,
            (Some(_), _) => Verdict::Missed,
        };
        let sign = match self.sense {
            Sense::AtMost => '≤',
            Sense::AtLeast => '≥',
        };
        let limit = self.limit;
        let goal = match self.against {
            Against::C | Against::CGuests => format!("{sign} {limit} of C"),
            Against::CAnd(ms) => format!("{sign} {limit} of C + {ms} ms"),
            Against::Own(_, 1) => format!("{sign} {limit} of its own with 1 range"),
            Against::Own(_, ranges) => format!("{sign} {limit} of its own with {ranges} ranges"),
            Against::Nothing => format!("{sign} {limit}"),
        };
        Row {
            what: self.what,
            driver,
            goal,
            figure,
            reference: reference.filter(|_| !matches!(self.against, Against::Nothing)),
            reached,
            verdict,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::figures::tests::text;
    use crate::bench::operations::{named, Kind};

    fn row(figures: &Figures, operation: &str, goal: &str) -> (Verdict, Option<f64>) {
        let goals = GOALS.iter().filter(|g| g.operation == operation);
        let mut rows = goals.map(|g| g.row(g.drivers[0], figures));
        let row = rows.find(|row| row.goal == goal).unwrap();
        (row.verdict, row.reached)
    }

    #[test]
    fn every_goal_is_about_something_that_is_measured() {
        for goal in &GOALS {
            let operation = named(goal.operation).unwrap();
            assert_eq!(operation.by_ranges, goal.ranges != 0, "{}", goal.what);
            if let Against::Own(other, _) = goal.against {
                assert!(named(other).unwrap().by_ranges);
            }
            if goal.drivers.contains(&Driver::RustAround) {
                let kinds = [Kind::Around, Kind::PairAround];
                assert!(kinds.contains(&operation.kind), "{}", goal.what);
            }
        }
    }

    #[test]
    fn limits_are_limits() {
        let mut figures = Figures::default();
        let c = text("shrink", 4096, 1000.0) + &text("two-threads", 1, 1.5) + "{\"done\":2}\n";
        figures.add(Driver::C, &c).unwrap();
        let rust = text("shrink", 4096, 500.0)
            + &text("shrink", 16, 400.0)
            + &text("two-threads", 1, 1.4)
            + &text("memory-own", 9, 129.0)
            + "{\"done\":4}\n";
        figures.add(Driver::Rust, &rust).unwrap();
        assert_eq!(
            row(&figures, "shrink", "≤ 0.5 of C"),
            (Verdict::Met, Some(0.5))
        );
        let own = "≤ 1.15 of its own with 16 ranges";
        assert_eq!(row(&figures, "shrink", own), (Verdict::Missed, Some(1.25)));
        assert_eq!(row(&figures, "memory-own", "≤ 128").0, Verdict::Missed);
        assert_eq!(row(&figures, "bind", "≤ 0.95 of C").0, Verdict::NotMeasured);
        let threads = |figures: &Figures| row(figures, "two-threads", "≥ 1 of C").0;
        assert_eq!(threads(&figures), Verdict::Missed);
        for value in [1.3, 1.4, 1.6, 1.7] {
            let c = text("two-threads", 1, value) + "{\"done\":1}\n";
            figures.add(Driver::C, &c).unwrap();
        }
        assert_eq!(threads(&figures), Verdict::Level);
        let c = text("shrink", 4096, 499.0) + "{\"done\":1}\n";
        for _ in 0..2 {
            figures.add(Driver::C, &c).unwrap();
        }
        // Counts are exact, so they are never level.
        let exact = row(&figures, "shrink", "≤ 0.5 of C");
        assert_eq!(exact.0, Verdict::Missed);
    }

    #[test]
    fn a_page_that_is_held_may_cost_some_milliseconds() {
        let goal = "≤ 1 of C + 50 ms";
        for (rust, verdict) in [(51e6, Verdict::Met), (52e6, Verdict::Missed)] {
            let mut figures = Figures::default();
            for (driver, ns) in [(Driver::C, 1e6), (Driver::Rust, rust)] {
                let text = text("unbind-pinned", 1, ns) + "{\"done\":1}\n";
                figures.add(driver, &text).unwrap();
            }
            assert_eq!(row(&figures, "unbind-pinned", goal).0, verdict);
        }
    }

    #[test]
    fn each_setting_has_its_own_goal() {
        let mut figures = Figures::default();
        let touched = [
            (Driver::C, 1000.0),
            (Driver::Rust, 1000.0),
            (Driver::RustAround, 351.0),
        ];
        for (driver, each) in touched {
            let text = text("touch-4k", 1, each) + "{\"done\":1}\n";
            figures.add(driver, &text).unwrap();
        }
        assert_eq!(
            row(&figures, "touch-4k", "≤ 1 of C"),
            (Verdict::Met, Some(1.0))
        );
        let with = row(&figures, "touch-4k", "≤ 0.35 of C");
        assert_eq!(with, (Verdict::Missed, Some(0.351)));
    }
}
