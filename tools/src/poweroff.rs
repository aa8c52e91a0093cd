// SPDX-License-Identifier: GPL-2.0
//! Machines that go down while a page of a device is held (L4): each way in each state, in a guest
//! of its own. A guest has passed when QEMU is gone, the kernel said on the way out what it was
//! asked for, and it complained of nothing, such as a task that hangs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

use crate::cache;
use crate::guest::{End, Load, Outcome};
use crate::interactive::tail;
use crate::progress::human;
use crate::report::TestResult;
use crate::settings::Machine;
use crate::spec::Impl;
use crate::testrun::Tests;

/// Ways to go down, as `dax-guest` names them, and the lines that the kernel's log must then end
/// with.
const WAYS: [(&str, &[&str]); 3] = [
    ("poweroff", &["reboot: Power down"]),
    ("reboot", &["reboot: Restarting system"]),
    (
        "kexec",
        &["dax-guest: the next kernel runs", "reboot: Power down"],
    ),
];

/// The state of the device when the machine goes down, and what `dax-guest` says of the process
/// that brings the state about. `bound`: to device_dax. `unbound`: the device drains. `waiting`: the
/// unbind of its region waits for the page. `killed`: the process that waited was killed.
const STATES: [(&str, &str); 4] = [
    ("bound", "bound"),
    ("unbound", "unbound: Some(Exit(0))"),
    ("waiting", "waiting: None"),
    ("killed", "killed: Some(Signal(9))"),
];

/// Time that QEMU may run. A machine that is still up then never goes down.
const LIMIT: Duration = Duration::from_secs(150);

/// One result for each way in each state.
pub fn results(tests: &Tests<'_>, name: &str, program: &Path) -> Result<Vec<TestResult>> {
    let mut results = Vec::new();
    for (way, said) in WAYS {
        for state in STATES {
            let (named, _) = state;
            let label = format!("{name}: {way}, {named}");
            // In the other states the C driver frees the struct page of a page in use.
            results.push(if tests.spec.imp == Impl::C && named != "bound" {
                TestResult::skipped(label, "C driver: frees the page under its holder")
            } else {
                one(tests, label, way, state, said, program)?
            });
        }
    }
    Ok(results)
}

fn one(
    tests: &Tests<'_>,
    label: String,
    way: &str,
    (state, brought_about): (&str, &str),
    said: &[&str],
    program: &Path,
) -> Result<TestResult> {
    let mut files = vec![PathBuf::from(program)];
    if way == "kexec" {
        let (_, kernel) = tests.kernel()?;
        files.push(kernel.image());
    }
    let load = Load {
        command: format!("/dax-guest down {way} {state}"),
        files,
        ..Load::default()
    };
    let machine = Machine {
        timeout: tests.slow(LIMIT),
        ..Machine::default()
    };
    let (outcome, output) = tests.boot(&label, &machine, &load)?;
    let log = String::from_utf8_lossy(&cache::read(&outcome.log)?).into_owned();
    Ok(match wrong(&outcome, &output, brought_about, &log, said) {
        None => TestResult::passed(label),
        Some(why) => TestResult::failed(
            label,
            &format!(
                "{why}\n{output}\n{}\nthe whole kernel log: {}",
                tail(&outcome.log),
                outcome.log.display()
            ),
        ),
    })
}

/// The fault in the way in which a guest went down, if there is one.
fn wrong(
    outcome: &Outcome,
    output: &str,
    brought_about: &str,
    log: &str,
    said: &[&str],
) -> Option<String> {
    if let Some(splat) = &outcome.splat {
        return Some(format!("the kernel complained:\n{splat}"));
    }
    match outcome.end {
        End::Died => {}
        End::Timeout => return Some(format!("still there after {}", human(outcome.took))),
        End::Exit(status) | End::StillUp(status) => {
            return Some(format!("not gone down: exit status {status}"))
        }
    }
    if !output.contains("going down: ") {
        return Some(format!("gone before it was told to\n{}", outcome.qemu));
    }
    if !output.contains(brought_about) {
        return Some(format!("the program did not say {brought_about:?}"));
    }
    let missing = said.iter().find(|line| !log.contains(**line))?;
    Some(format!("the kernel did not say {missing:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(end: End, splat: Option<&str>) -> Outcome {
        Outcome {
            end,
            log: PathBuf::new(),
            splat: splat.map(str::to_owned),
            qemu: String::new(),
            took: Duration::from_secs(9),
        }
    }

    #[test]
    fn what_is_right_and_what_is_wrong() {
        let (told, said) = ("# waiting: None\ngoing down: kexec, waiting\n", WAYS[2].1);
        let (_, waits) = STATES[2];
        let log = "[ 9.0] a\ndax-guest: the next kernel runs\n[ 1.0] reboot: Power down\n";
        let died = outcome(End::Died, None);
        assert_eq!(wrong(&died, told, waits, log, said), None);
        for (outcome, output, log) in [
            (outcome(End::Died, Some("INFO: task a")), told, log),
            (outcome(End::Timeout, None), told, log),
            (outcome(End::Exit(1), None), told, log),
            (outcome(End::Died, None), "# waiting: None\n", log),
            (
                outcome(End::Died, None),
                "going down: kexec, waiting\n",
                log,
            ),
            (
                outcome(End::Died, None),
                told,
                "[ 9.0] reboot: Power down\n",
            ),
            (outcome(End::Died, None), told, ""),
        ] {
            assert!(
                wrong(&outcome, output, waits, log, said).is_some(),
                "{output} {log}"
            );
        }
    }
}
