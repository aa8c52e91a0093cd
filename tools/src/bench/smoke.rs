// SPDX-License-Identifier: GPL-2.0
//! The benchmark in `make test`: runs every operation once on both drivers, to see that it works.
//! The costs do not matter.

use std::path::Path;

use anyhow::Result;

use super::figures::{Driver, Figures};
use super::guests::{Guests, Mode, Task};
use super::operations::{Kind, Operation, OPERATIONS};
use crate::cargo::Cargo;
use crate::report::TestResult;
use crate::spec::Spec;

/// The numbers of ranges: 1, and the number that some goals compare with.
const RANGES: [u64; 2] = [1, 16];
/// The operation that is not measured with one range, since there is no hole then.
const NOT_WITH_ONE: &str = "resize-fill";

/// A result for each driver.
pub fn results(repo: &Path, cargo: &Cargo, spec: &Spec) -> Result<Vec<TestResult>> {
    let guests = Guests::new(repo, cargo, spec)?;
    let drivers = [Driver::C, Driver::Rust];
    Ok(drivers.map(|driver| result(&guests, driver)).into())
}

fn result(guests: &Guests<'_>, driver: Driver) -> TestResult {
    let name = format!("bench: every operation gives a figure, {}", driver.name());
    let task = Task {
        driver,
        mode: Mode::Smoke,
        ranges: &RANGES,
        only: Vec::new(),
    };
    let mut figures = Figures::default();
    let ran = guests.run(&task, &format!("guest: bench, {}", driver.name()));
    match ran.and_then(|text| figures.add(driver, &text)) {
        Ok(_) => match missing(&figures, driver) {
            missing if missing.is_empty() => TestResult::passed(name),
            missing => TestResult::failed(name, &missing.join("\n")),
        },
        Err(error) => TestResult::failed(name, &format!("{error:#}")),
    }
}

/// The figures that are missing or are not numbers.
fn missing(figures: &Figures, driver: Driver) -> Vec<String> {
    let mut missing = Vec::new();
    // Operations in turns make sense only with the emulator's clock. Their code is that of
    // `unbind`.
    let here = |o: &&Operation| o.kind != Kind::Turns && !(o.rust_only && driver == Driver::C);
    for operation in OPERATIONS.iter().filter(here) {
        let ranges: &[u64] = if operation.by_ranges { &RANGES } else { &[0] };
        for &ranges in ranges {
            if operation.name == NOT_WITH_ONE && ranges == 1 {
                continue;
            }
            match figures.get(operation.name, driver, ranges) {
                Some(f) if f.value.is_finite() && f.least <= f.value && f.value <= f.most => {}
                found => missing.push(format!("{}, {ranges} ranges: {found:?}", operation.name)),
            }
        }
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::super::figures::tests::text;
    use super::*;

    #[test]
    fn an_operation_that_was_not_run_is_missed() {
        let mut all = String::new();
        let mut lines = 0;
        for operation in OPERATIONS.iter().filter(|o| o.name != "bind") {
            for ranges in RANGES {
                all += &text(operation.name, ranges, 1.0);
                lines += 1;
            }
        }
        let mut figures = Figures::default();
        let text = all + &format!("{{\"done\":{lines}}}\n");
        figures.add(Driver::C, &text).unwrap();
        let found = missing(&figures, Driver::C);
        assert_eq!(found, ["bind, 1 ranges: None", "bind, 16 ranges: None"]);
    }
}
