// SPDX-License-Identifier: GPL-2.0

//! A scenario: a machine in some state, and the operations that users do with it at once.

use std::cell::Cell;
use std::sync::Arc;

use fastrand::Rng;
use kernel::bindings;
use kernel::explore::{explore, Strategy, Tried};
use kernel::sched::{self, Failure};
use kernel::workqueue;

use crate::invariants;
use crate::laws;
use crate::machine::{must, Kind, Machine, BASE, GRANULE, GRANULES};
use crate::operations::{operation, successes, Operation};

/// How the machine is when the operations begin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// The device is there and has no size.
    Empty,
    /// The device has two granules.
    Sized,
    /// The device has two ranges.
    Holes,
    /// The device is bound to device_dax, and a file of it is open.
    Bound,
    /// Bound, with pages of 4 KiB; a fault maps neighbours.
    Around,
    /// Bound, and a page is mapped.
    Mapped,
    /// Mapped, and a page is pinned.
    Pinned,
    /// The device was unbound since then.
    Draining,
    /// The device is bound to kmem.
    Kmem,
    /// The device is bound to fsdev_dax.
    Fsdev,
    /// The device was bound to kmem, and its memory stayed online when kmem was unbound.
    Online,
    /// The region zeroes memory, to all of which others wrote before. The device has two granules.
    Zeroing,
    /// The same, and kmem had the device's memory.
    Lent,
    /// The device is all of a static region, is bound, and a file of it is open.
    Static,
}

/// All states.
pub const STATES: [State; 14] = [
    State::Empty,
    State::Sized,
    State::Holes,
    State::Bound,
    State::Around,
    State::Mapped,
    State::Pinned,
    State::Draining,
    State::Kmem,
    State::Fsdev,
    State::Online,
    State::Zeroing,
    State::Lent,
    State::Static,
];

/// `fault_around_bytes` in the state Around.
const AROUND: u64 = 4 << 12;

impl State {
    fn kind(self) -> Kind {
        match self {
            Self::Static => Kind::Static,
            _ => Kind::Dynamic,
        }
    }

    fn prepare(self, machine: &Machine) {
        let device = machine.device();
        if self == Self::Static {
            // The driver took it at once.
            return must((operation("open").run)(machine));
        }
        if self.zeroes() {
            bindings::written_by_others(BASE, BASE + GRANULES * GRANULE - 1);
        }
        must(machine.write_region("create", "1"));
        let dev = bindings::find_device(device);
        let Some(dev) = dev else {
            sched::violation("the device was not created");
        };
        let write = |name: &str, text: &str| bindings::write_attribute(dev.raw(), name, text);
        let size = |granules: u64| must(write("size", &(granules * GRANULE).to_string()));
        if self == Self::Around {
            must(write("align", "4096"));
        }
        if self == Self::Holes {
            // Somebody is in the way, and gone again.
            size(1);
            must(machine.write_region("create", "1"));
            let other = bindings::find_device("dax0.2");
            let Some(other) = other else {
                sched::violation("the other device was not created");
            };
            must(bindings::write_attribute(
                other.raw(),
                "size",
                &GRANULE.to_string(),
            ));
            size(2);
            must(bindings::write_attribute(other.raw(), "size", "0"));
            drop(other);
            must(machine.write_region("delete", "dax0.2"));
        } else if self != Self::Empty {
            size(2);
        }
        if matches!(
            self,
            Self::Bound | Self::Around | Self::Mapped | Self::Pinned | Self::Draining
        ) {
            must(bindings::bind("device_dax", device));
            must((operation("open").run)(machine));
        }
        if self == Self::Mapped {
            must((operation("map").run)(machine));
        }
        if matches!(self, Self::Pinned | Self::Draining) {
            must((operation("pin").run)(machine));
        }
        if self == Self::Draining {
            must(bindings::unbind("device_dax", device));
        }
        if self == Self::Fsdev {
            must(bindings::write_driver_attribute(
                "fsdev_dax",
                "new_id",
                device,
            ));
            must((operation("open").run)(machine));
        }
        if matches!(self, Self::Kmem | Self::Online | Self::Lent) {
            must(bindings::write_driver_attribute("kmem", "new_id", device));
        }
        if self == Self::Online {
            bindings::keep_memory_online(true);
            must(bindings::unbind("kmem", device));
        }
        if self == Self::Lent {
            must(bindings::unbind("kmem", device));
        }
    }

    /// Whether the region zeroes memory.
    pub fn zeroes(self) -> bool {
        matches!(self, Self::Zeroing | Self::Lent)
    }

    fn has_pins(self) -> bool {
        matches!(self, Self::Pinned | Self::Draining)
    }
}

/// The task that lets go of pins when only those are left who wait for that.
const LET_GO: &str = "let go";

/// A scenario.
#[derive(Clone)]
pub struct Scenario {
    /// How it begins.
    pub state: State,
    /// The operations, each in a task of its own.
    pub operations: Vec<&'static Operation>,
    /// Which step fails.
    pub failure: Option<Failure>,
    /// One step in so many fails, at random; 0 for none.
    pub one_in: u64,
    /// Number of times that work is done although nothing happened.
    pub impatience: u32,
}

thread_local! {
    static FAILURES: Cell<u64> = const { Cell::new(0) };
}

/// In how many executions of this thread the step was reached that was to fail.
pub fn failures() -> u64 {
    FAILURES.get()
}

impl Scenario {
    /// Nothing fails.
    pub fn new(state: State, operations: &[&str]) -> Self {
        Self {
            state,
            operations: operations.iter().map(|name| operation(name)).collect(),
            failure: None,
            one_in: 0,
            impatience: 0,
        }
    }

    /// For people.
    pub fn name(&self) -> String {
        let names: Vec<&str> = self.operations.iter().map(|o| o.name).collect();
        let mut name = format!("{:?}: {}", self.state, names.join(" | "));
        if self.one_in > 0 {
            name += &format!(", one step in {} fails", self.one_in);
        }
        if let Some(failure) = &self.failure {
            name += &format!(", step {} of {} fails", failure.nth, failure.task);
        }
        name
    }

    /// The names of the tasks.
    pub fn tasks(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for operation in &self.operations {
            let mut name = operation.name.to_owned();
            while names.contains(&name) {
                name += "'";
            }
            names.push(name);
        }
        names
    }

    /// Runs it once, from the beginning to the end; `seed` says which steps fail where that
    /// is random. In an execution of shuttle.
    pub fn run(&self, seed: u64, trace: bool) {
        sched::begin(trace);
        if self.state.zeroes() {
            bindings::keep_clean();
        }
        if self.state == State::Around {
            bindings::set_fault_around_bytes(AROUND);
        }
        let machine = Arc::new(Machine::start(self.state.kind()));
        self.state.prepare(&machine);
        invariants::check(&machine);
        let before = bindings::devices_on_bus().len();
        let may_fail = self.failure.is_some() || self.one_in > 0;
        sched::fail_at(self.failure.clone());
        sched::fail_at_random(seed, self.one_in);
        workqueue::set_impatience(self.impatience);
        let names = self.tasks();
        for (name, operation) in names.iter().zip(&self.operations) {
            let (machine, operation) = (machine.clone(), *operation);
            let others = self.operations.clone();
            sched::spawn(name, move || operation.perform(&machine, &others, may_fail));
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        self.let_go(&machine, &names);
        sched::explore(|| sched::are_done(&names) && sched::are_done(&[LET_GO]));
        if sched::failure_was_hit() {
            FAILURES.set(FAILURES.get() + 1);
        }
        sched::fail_at(None);
        sched::fail_at_random(0, 0);
        let rest =
            || workqueue::running() == 0 && (workqueue::pending() == 0 || bindings::pins() > 0);
        sched::wait_until(|| "the end of what drains".to_owned(), &rest);
        invariants::check(&machine);
        self.nothing_came_or_went_by_itself(before);
        laws::check(&machine);
        let Ok(machine) = Arc::try_unwrap(machine) else {
            sched::violation("a task still uses the machine");
        };
        machine.stop();
    }

    /// Every device was created by who says so, and deleted by who says so.
    fn nothing_came_or_went_by_itself(&self, before: usize) {
        if self
            .operations
            .iter()
            .any(|operation| operation.waits_for_pins)
        {
            return;
        }
        let created = successes(&["create"]);
        let deleted = successes(&["delete", "delete next"]);
        let now = bindings::devices_on_bus();
        sched::require(
            now.len() + deleted == before + created,
            format!("of {before} devices, {created} created, {deleted} deleted: {now:?}"),
        );
    }

    /// Lets go of all pins once all other tasks are done, so that a task which waits for that goes
    /// on.
    fn let_go(&self, machine: &Arc<Machine>, names: &[&str]) {
        let pins = self.state.has_pins() || self.operations.iter().any(|o| o.name == "pin");
        // Tasks that are killed, or wait while the machine goes down, give up.
        let ends = self
            .operations
            .iter()
            .any(|o| ["kill", "shutdown"].contains(&o.name));
        if !pins || ends || !self.operations.iter().any(|o| o.waits_for_pins) {
            return;
        }
        let waiting = names
            .iter()
            .zip(&self.operations)
            .filter(|(_, o)| !o.waits_for_pins);
        let others: Vec<String> = waiting.map(|(name, _)| (*name).to_owned()).collect();
        let machine = machine.clone();
        sched::spawn(LET_GO, move || {
            let others: Vec<&str> = others.iter().map(String::as_str).collect();
            sched::wait_until(|| "the others".to_owned(), &|| sched::are_done(&others));
            machine.unpin();
        });
    }

    /// Tries the schedules of `strategy`.
    pub fn explore(&self, strategy: &Strategy) -> Tried {
        let this = self.clone();
        let first = match strategy {
            Strategy::Random { seed, .. } => *seed,
            Strategy::Exhaustive { .. } | Strategy::Replay(_) => 0,
        };
        explore(strategy, move |nth, trace| {
            // Each execution of each seed has steps of its own that fail.
            let seed = Rng::with_seed(first).u64(..);
            this.run(seed.wrapping_add(nth), trace);
        })
    }
}
