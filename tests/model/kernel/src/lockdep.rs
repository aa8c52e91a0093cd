// SPDX-License-Identifier: GPL-2.0

//! The order of locks, over all executions of a thread: a lock that is taken
//! within another is never anywhere taken around it.
//!
//! What orders like a lock counts as one: device locks, active references of
//! sysfs files and those who wait for them.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::sched;

/// A lock that a task holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its kind: locks of one kind order alike.
    pub class: String,
    /// Which of its kind.
    pub instance: usize,
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.class)
    }
}

thread_local! {
    /// Which kinds were taken within which.
    static WITHIN: RefCell<BTreeMap<String, BTreeSet<String>>> =
        const { RefCell::new(BTreeMap::new()) };
}

/// The task is about to wait for a lock of that kind. To be called whether it has
/// to wait or not, so that an order is seen that happens not to hang.
pub fn ordered(class: &str) {
    if sched::inert() {
        return;
    }
    let held = sched::with_held(|held| held.clone());
    for outer in held {
        // Two of one kind: the driver core takes a parent before its child, and
        // gives these kinds of their own here.
        if outer.class == class {
            sched::violation(format!("{class} is taken within another {class}"));
        }
        let new = WITHIN.with(|within| {
            let mut within = within.borrow_mut();
            within
                .entry(outer.class.clone())
                .or_default()
                .insert(class.to_owned())
        });
        if new && reaches(class, &outer.class) {
            sched::violation(format!(
                "{class} is taken within {}, and elsewhere it is the other way round",
                outer.class
            ));
        }
    }
}

/// The task has the lock.
pub fn acquired(class: &str, instance: usize) {
    if sched::inert() {
        return;
    }
    let class = class.to_owned();
    sched::with_held(|held| held.push(Held { class, instance }));
}

/// The task gives the lock back.
pub fn released(class: &str, instance: usize) {
    if sched::inert() {
        return;
    }
    let found = sched::with_held(|held| {
        let at = held
            .iter()
            .rposition(|h| h.class == class && h.instance == instance)?;
        Some(held.remove(at))
    });
    sched::require(
        found.is_some(),
        format!("{class} is released by who does not hold it"),
    );
}

/// Whether the task holds a lock whose kind begins like that.
pub fn holds(prefix: &str) -> Option<String> {
    sched::with_held(|held| {
        let found = held.iter().find(|held| held.class.starts_with(prefix))?;
        Some(found.class.clone())
    })
}

/// The order of locks that was seen, for people: outer and inner, sorted.
pub fn seen() -> Vec<(String, String)> {
    WITHIN.with(|within| {
        let within = within.borrow();
        let pairs = within.iter().flat_map(|(outer, inner)| {
            inner
                .iter()
                .map(move |inner| (outer.clone(), inner.clone()))
        });
        pairs.collect()
    })
}

/// Forgets the order that was seen.
pub fn forget() {
    WITHIN.with(|within| within.borrow_mut().clear());
}

fn reaches(from: &str, to: &str) -> bool {
    WITHIN.with(|within| {
        let within = within.borrow();
        let mut todo = vec![from];
        let mut seen = BTreeSet::new();
        while let Some(class) = todo.pop() {
            if class == to {
                return true;
            }
            if seen.insert(class) {
                todo.extend(within.get(class).into_iter().flatten().map(String::as_str));
            }
        }
        false
    })
}
