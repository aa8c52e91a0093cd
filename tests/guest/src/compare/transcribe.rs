// SPDX-License-Identifier: GPL-2.0
//! With `DAX_OBSERVE=1`, every write to sysfs and every program that a test runs leaves a line with
//! its result, so that the host can compare a group's tests on two kernels.

use super::observe::Observer;
use serde_json::{json, Value};
use std::sync::{Mutex, OnceLock, PoisonError};

/// How such a line begins.
const MARK: &str = "#observe";

/// The observer of a process. A forked child gets one of its own: the first look of each process
/// is at the whole state.
static OBSERVER: Mutex<Option<(u32, Observer)>> = Mutex::new(None);

/// Whether transcripts were asked for.
fn wanted() -> bool {
    static WANTED: OnceLock<bool> = OnceLock::new();
    *WANTED.get_or_init(|| std::env::var("DAX_OBSERVE").is_ok_and(|value| value == "1"))
}

/// Does `act`, and writes down what `op` says it is, what `answer` says of its outcome, and what
/// changed. Without `DAX_OBSERVE=1` it only does `act`.
pub fn around<T>(op: impl Fn() -> Value, act: impl FnOnce() -> T, answer: fn(&T) -> String) -> T {
    if !wanted() {
        return act();
    }
    // Two threads that act at once cannot be told apart in what they change.
    let mut slot = OBSERVER.lock().unwrap_or_else(PoisonError::into_inner);
    let pid = std::process::id();
    if slot.as_ref().is_none_or(|(owner, _)| *owner != pid) {
        match Observer::new() {
            Ok(observer) => {
                println!("{MARK} {}", json!({"base": observer.state()}));
                *slot = Some((pid, observer));
            }
            Err(error) => println!("{MARK} {}", json!({"error": error.to_string()})),
        }
    }
    let outcome = act();
    let mut line = json!({"op": op(), "result": answer(&outcome)});
    match slot.as_mut().map(|(_, observer)| observer.look()) {
        Some(Ok(look)) => look.add_to(&mut line),
        Some(Err(error)) => line["error"] = json!(error.to_string()),
        None => {}
    }
    println!("{MARK} {line}");
    outcome
}
