// SPDX-License-Identifier: GPL-2.0
//! What the Rust driver must reach, and whether it does.

use serde::Serialize;

use super::figures::{Driver, Figures};

/// What a figure is compared with.
#[derive(Clone, Copy)]
enum Against {
    /// The C driver's figure of the same.
    C,
    /// The same, as far as its guests agree on it.
    CGuests,
    /// The driver's own figure of this operation with so many ranges.
    Own(&'static str, u64),
    /// Nothing: the limit is in the figure's unit.
    Nothing,
}

/// Which side of the limit is good.
#[derive(Clone, Copy, PartialEq)]
enum Sense {
    AtMost,
    AtLeast,
}

struct Goal {
    what: &'static str,
    operation: &'static str,
    /// 0 for what is not measured by ranges.
    ranges: u64,
    sense: Sense,
    limit: f64,
    against: Against,
    drivers: &'static [Driver],
}

const RUST: &[Driver] = &[Driver::Rust];
const PLAIN: &[Driver] = &[Driver::RustPlain];
/// With fault-around and without.
const BOTH: &[Driver] = &[Driver::RustPlain, Driver::Rust];
/// Many ranges: the number that goals are about.
const MANY: u64 = 4096;

const fn at_most(
    what: &'static str,
    operation: &'static str,
    ranges: u64,
    limit: f64,
    against: Against,
) -> Goal {
    Goal {
        what,
        operation,
        ranges,
        sense: Sense::AtMost,
        limit,
        against,
        drivers: RUST,
    }
}

/// A goal for faults, with fault-around and without.
const fn fault(
    what: &'static str,
    operation: &'static str,
    ranges: u64,
    limit: f64,
    against: Against,
) -> Goal {
    Goal {
        drivers: BOTH,
        ..at_most(what, operation, ranges, limit, against)
    }
}

const fn at_least(
    what: &'static str,
    operation: &'static str,
    limit: f64,
    against: Against,
) -> Goal {
    Goal {
        sense: Sense::AtLeast,
        ..at_most(what, operation, 0, limit, against)
    }
}

const GOALS: [Goal; 23] = [
    fault("fault, 2 MiB, 1 range", "fault-2m-last", 1, 1.0, Against::C),
    fault(
        "fault, 2 MiB, 4096 ranges, average",
        "fault-2m",
        MANY,
        1.10,
        Against::Own("fault-2m-last", 1),
    ),
    fault(
        "fault, 2 MiB, last of 4096 ranges",
        "fault-2m-last",
        MANY,
        1.10,
        Against::Own("fault-2m-last", 1),
    ),
    fault("fault, 4 KiB", "fault-4k", 0, 1.0, Against::C),
    fault("fault, 1 GiB", "fault-1g", 0, 1.0, Against::C),
    at_most(
        "first touch, per page of 2 MiB",
        "touch-2m",
        0,
        0.35,
        Against::C,
    ),
    at_most(
        "first touch, per page of 4 KiB",
        "touch-4k",
        0,
        0.35,
        Against::C,
    ),
    at_most(
        "resize that fills 4095 holes, per range",
        "resize-fill",
        MANY,
        1.15,
        Against::Own("resize-fill", 16),
    ),
    at_most(
        "resize that fills 4095 holes, per range",
        "resize-fill",
        MANY,
        0.30,
        Against::C,
    ),
    at_most(
        "shrink of 4096 ranges to 0, per range",
        "shrink",
        MANY,
        1.15,
        Against::Own("shrink", 16),
    ),
    at_most(
        "shrink of 4096 ranges to 0, per range",
        "shrink",
        MANY,
        0.50,
        Against::C,
    ),
    at_most(
        "4096 `mapping` writes, per range",
        "mapping-write",
        MANY,
        1.15,
        Against::Own("mapping-write", 16),
    ),
    at_most(
        "4096 `mapping` writes, per range",
        "mapping-write",
        MANY,
        0.70,
        Against::C,
    ),
    at_most(
        "read of `size`, 4096 ranges",
        "size-read",
        MANY,
        1.01,
        Against::Own("size-read", 1),
    ),
    at_most(
        "read of `available_size`, 4096 ranges",
        "available-read",
        MANY,
        1.01,
        Against::Own("available-read", 1),
    ),
    at_most("bind of 4096 ranges", "bind", MANY, 0.95, Against::C),
    at_most(
        "unbind of 4096 ranges, the emulator's ns",
        "unbind-turns",
        MANY,
        0.025,
        Against::C,
    ),
    at_most(
        "unbind of 4096 ranges, real ns",
        "unbind",
        MANY,
        0.025,
        Against::C,
    ),
    at_most(
        "bytes per range beyond its `mappingN`",
        "memory-own",
        0,
        128.0,
        Against::Nothing,
    ),
    at_most(
        "create and delete of an empty device",
        "create-delete",
        0,
        1.0,
        Against::C,
    ),
    at_least(
        "resizes of two regions at once, against one",
        "two-regions",
        1.5,
        Against::Nothing,
    ),
    Goal {
        drivers: PLAIN,
        ..at_least(
            "faults of two threads, against one",
            "two-threads",
            1.0,
            Against::CGuests,
        )
    },
    at_least(
        "faults of two threads, against one",
        "two-threads",
        1.0,
        Against::CGuests,
    ),
];

/// What became of a goal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    Met,
    /// No difference that the guests of the other driver do not show among themselves.
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
    /// What the figure is compared with.
    pub reference: Option<f64>,
    /// What the limit is for.
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
    /// Whether a figure is among what the guests of the C driver said.
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
    use super::super::figures::tests::text;
    use super::super::operations::named;
    use super::*;

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
        let threads = |figures: &Figures| judge(figures).pop().unwrap().verdict;
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
        // Of what can be counted exactly nothing is level.
        let exact = row(&figures, "shrink", "≤ 0.5 of C");
        assert_eq!(exact.0, Verdict::Missed);
    }
}
