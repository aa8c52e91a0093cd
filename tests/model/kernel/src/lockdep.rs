// SPDX-License-Identifier: GPL-2.0

//! The order of locks, over all executions of all threads of the host: if a lock is taken within
//! another, that other one is never taken within the first.
//!
//! Three things order like locks and count as such: device locks, active references of sysfs files,
//! and tasks that wait for these.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{fault, sched};

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

/// Which kinds were taken within which.
type Order = BTreeMap<String, BTreeSet<String>>;

/// By the fault that was put in: what one shows says nothing about others.
static ORDERS: Mutex<BTreeMap<&'static str, Order>> = Mutex::new(BTreeMap::new());

fn orders() -> MutexGuard<'static, BTreeMap<&'static str, Order>> {
    ORDERS.lock().unwrap_or_else(PoisonError::into_inner)
}

thread_local! {
    /// The orders that this thread knows to be right: for each lock those that were taken within
    /// it.
    static RIGHT: RefCell<HashMap<(&'static str, String), HashSet<String>>> =
        RefCell::new(HashMap::new());
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
        if !is_right(&outer.class, class) {
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

/// Notes that `inner` is taken within `outer`. Whether it is nowhere the other way round.
fn is_right(outer: &str, inner: &str) -> bool {
    let fault = fault::name();
    let key = (fault, outer.to_owned());
    let known = RIGHT.with_borrow(|right| right.get(&key).is_some_and(|all| all.contains(inner)));
    if known {
        return true;
    }
    let mut orders = orders();
    let order = orders.entry(fault).or_default();
    order
        .entry(outer.to_owned())
        .or_default()
        .insert(inner.to_owned());
    let right = !reaches(order, inner, outer);
    if right {
        RIGHT.with_borrow_mut(|all| all.entry(key).or_default().insert(inner.to_owned()));
    }
    right
}

fn reaches(order: &Order, from: &str, to: &str) -> bool {
    let mut todo = vec![from];
    let mut seen = BTreeSet::new();
    while let Some(class) = todo.pop() {
        if class == to {
            return true;
        }
        if seen.insert(class) {
            todo.extend(order.get(class).into_iter().flatten().map(String::as_str));
        }
    }
    false
}
