// SPDX-License-Identifier: GPL-2.0
//! With `DAX_OBSERVE=1`, every write to sysfs and every program that a test runs leaves a line with
//! its result, so that the host can compare a group's tests on two kernels.

use super::observe::Observer;
use dax_protocol::compare::{Observed, Operation, OBSERVED};
use std::sync::{Mutex, OnceLock, PoisonError};

/// The observer of a process. A forked child gets one of its own: the first look of each process
/// is at the whole state.
static OBSERVER: Mutex<Option<(u32, Observer)>> = Mutex::new(None);

/// Whether transcripts were asked for.
fn wanted() -> bool {
    static WANTED: OnceLock<bool> = OnceLock::new();
    *WANTED.get_or_init(|| std::env::var("DAX_OBSERVE").is_ok_and(|value| value == "1"))
}

/// Calls `act`. With `DAX_OBSERVE=1` it also writes a line with the operation (`op`), its result
/// (`answer`), and the changes of the state.
pub fn around<T>(
    op: impl Fn() -> Operation,
    act: impl FnOnce() -> T,
    answer: fn(&T) -> String,
) -> T {
    if !wanted() {
        return act();
    }
    // Two threads that act at once cannot be told apart in what they change.
    let mut slot = OBSERVER.lock().unwrap_or_else(PoisonError::into_inner);
    let pid = std::process::id();
    if slot.as_ref().is_none_or(|(owner, _)| *owner != pid) {
        match Observer::new() {
            Ok(observer) => {
                println!("{OBSERVED}{}", Observed::Base(observer.state().clone()));
                *slot = Some((pid, observer));
            }
            Err(error) => println!("{OBSERVED}{}", Observed::Error(error.to_string())),
        }
    }
    let outcome = act();
    if let Some((_, observer)) = slot.as_mut() {
        let line = match observer.look() {
            Ok(look) => Observed::Step(look.step(op(), answer(&outcome))),
            Err(error) => Observed::Error(format!("after {}: {error}", op())),
        };
        println!("{OBSERVED}{line}");
    }
    outcome
}
