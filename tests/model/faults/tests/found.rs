// SPDX-License-Identifier: GPL-2.0

//! The model finds each fault that is put into the driver, and finds nothing in the same scenarios
//! without a fault. docs/model.md has a row for each fault.

use std::collections::BTreeSet;

use dax_model_faults::scenario::{Scenario, State};
use dax_model_faults::search;
use kernel::explore::{Strategy, Wrong};
use kernel::fault;
use kernel::sched::Failure;

/// More than any task has of steps that may fail.
const STEPS: usize = 40;

/// Tries a scenario, and then each failing step of its first task if that is asked for.
fn search(scenario: &Scenario, failing: bool) -> Option<(String, Wrong)> {
    // A device that drains has a task of its own.
    let operations = scenario.operations.len();
    let preemptions = match scenario.state {
        State::Pinned | State::Draining => 1,
        _ if operations > 2 => 1,
        _ => 2,
    };
    let strategy = Strategy::Exhaustive { preemptions };
    let mut scenarios = vec![scenario.clone()];
    if failing {
        scenarios.extend((0..STEPS).map(|nth| {
            let task = scenario.tasks()[0].clone();
            let failure = Some(Failure { task, nth });
            Scenario {
                failure,
                ..scenario.clone()
            }
        }));
    }
    let mut tried = scenarios
        .into_iter()
        .map(|s| (s.name(), s.explore(&strategy).wrong));
    tried.find_map(|(name, wrong)| Some((name, wrong?)))
}

/// The fault is found, by what it does, and is not there without.
fn found(fault: &'static str, state: State, operations: &[&str], failing: bool, what: &str) {
    assert!(!what.is_empty(), "{fault}: any finding would do");
    let scenario = Scenario::new(state, operations);
    fault::set("");
    if let Some((name, wrong)) = search(&scenario, failing) {
        panic!(
            "{name} without a fault: {}\n{}",
            wrong.what,
            wrong.trace.join("\n")
        );
    }
    fault::set(fault);
    let Some((name, wrong)) = search(&scenario, failing) else {
        panic!("{fault}: not found");
    };
    println!("{fault}: {name}: {}", wrong.what);
    assert!(
        wrong.what.contains(what),
        "{fault}: found something else: {}\n{}",
        wrong.what,
        wrong.trace.join("\n")
    );
    fault::set("");
}

/// A fault, as docs/model.md has it.
#[derive(PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Row {
    fault: String,
    found_in: String,
}

impl Row {
    fn new(fault: &str, state: State, operations: &[&str], failing: bool) -> Self {
        let failing = if failing { "; failing" } else { "" };
        Self {
            fault: fault.to_owned(),
            found_in: format!("{state:?}: {}{failing}", operations.join(", ")),
        }
    }
}

macro_rules! faults {
    ($($test:ident $fault:literal: $state:ident $ops:expr, $failing:expr => $what:literal;)*) => {
        $(
            #[test]
            fn $test() {
                found($fault, State::$state, &$ops, $failing, $what);
            }
        )*

        /// The faults that have a test.
        fn tested() -> Vec<Row> {
            vec![$(Row::new($fault, State::$state, &$ops, $failing)),*]
        }
    };
}

const FAILING: bool = true;
const PLAIN: bool = false;

faults! {
    l1_region_outlives_its_parent
        "L1": Bound ["region unbind"], PLAIN => "somebody refers to it";
    l2_create_removes_another_device
        "L2": Sized ["create", "delete next", "create"], PLAIN => "create says ENXIO";
    l3_children_before_the_device_is_there
        "L3": Sized ["create", "grow next"], FAILING => "has children";
    l4_unbind_waits_for_a_pin
        "L4": Pinned ["unbind"], PLAIN => "under the lock of a dax device";
    l5_ids_are_left
        "L5": Sized ["own new_id"], PLAIN => "allocations are left";
    l7_create_fails_for_a_device_that_was_deleted
        "L7": Sized ["create", "delete next"], PLAIN => "create says ENXIO";
    l9_region_that_is_not_made_leaves_a_device
        "L9": Empty ["region rebind", "create"], FAILING => "somebody refers to it";
    m6_memory_that_is_online
        "M6": Online ["shrink"], PLAIN => "is in /proc/iomem, and of no device";
    m12_neighbour_has_the_entry_of_another_page
        "M12": Around ["map"], PLAIN => "is mapped with the entry of page 1";
    a_neighbour_is_written_to
        "a neighbour is written to": Around ["map"], PLAIN => "as if somebody wrote to it";
    a_window_is_not_aligned
        "a window is not aligned": Around ["map"], PLAIN => "is mapped in another page table";
    a27_ids_are_forgotten_too_early
        "A27": Sized ["new_id", "kmem unload"], PLAIN => "of a driver that is gone";
    a_failed_probe_stays_noted
        "a failed probe stays noted": Sized ["new_id"], FAILING => "memmap_on_memory";
    rcu_stays_expedited
        "RCU stays expedited": Bound ["unbind"], PLAIN => "RCU is expedited";
    c_is_not_shown_the_ranges
        "C is not shown the ranges": Sized ["shrink"], PLAIN => "dax0.1 has 0 ranges and";
    the_binding_stays
        "the binding stays": Bound ["unbind"], PLAIN => "main waits for the end of a sleep";
    the_cdev_stays
        "the cdev stays": Bound ["unbind"], PLAIN => "cdev_add(): the number is taken";
    life_goes_on
        "life goes on": Bound ["map", "unbind"], PLAIN =>
            "a page is mapped that has no struct page";
    nobody_is_unmapped
        "nobody is unmapped": Mapped ["unbind"], PLAIN => "still mapped";
    unmapped_before_life_ends
        "unmapped before life ends": Bound ["map", "unbind"], PLAIN => "still mapped";
    pins_are_not_looked_at
        "pins are not looked at": Pinned ["unbind"], PLAIN => "still pinned";
    draining_is_not_noted
        "draining is not noted": Pinned ["unbind"], PLAIN => "to size of dax0.1 gives Ok";
    the_end_of_draining_wakes_nobody
        "the end of draining wakes nobody": Draining ["region unbind"], PLAIN => "dead lock";
    nobody_gives_up
        "nobody gives up": Draining ["region unbind", "kill"], PLAIN => "dead lock";
    the_module_may_go_while_a_device_drains
        "the module may go while a device drains": Draining ["close"], PLAIN => "the module can be unloaded";
    what_drains_can_be_changed
        "what drains can be changed": Draining ["read"], PLAIN => "to size of dax0.1 gives Ok";
    what_is_bound_can_be_deleted
        "what is bound can be deleted": Bound ["read"], PLAIN =>
            "dax0.1 is in use, and deleting it gives Ok";
    what_is_not_created_can_be_deleted
        "what is not created can be deleted": Sized ["create", "delete next"], PLAIN =>
            "WARNING: unplaced.is_some()";
    an_id_is_given_back_early
        "an id is given back early": Empty ["delete", "create"], PLAIN => "a second";
    memory_is_freed_before_the_driver_is_unbound
        "memory is freed before the driver is unbound": Bound ["region unbind"], PLAIN =>
            "/driver/region.rs:";
    the_files_of_a_region_go_last
        "the region's files go last": Sized ["create", "region unbind"], PLAIN =>
            "WARNING: unplaced.is_some()";
    a_mapping_keeps_its_old_end
        "a mapping keeps its old end": Sized ["shrink"], PLAIN => "mapping0 shows";
    memory_is_not_given_back_after_a_failure
        "memory is not given back after a failure": Sized ["mapping"], FAILING => "are free";
    writers_look_for_no_driver
        "writers look for no driver": Bound ["read"], PLAIN => "to size of dax0.1 gives Ok";
    the_driver_data_stays
        "the driver data stays": Sized ["region unbind"], PLAIN => "driver data";
    mappings_go_last
        "mappings go last": Sized ["region unbind"], PLAIN => "has children";
    nothing_is_zeroed
        "nothing is zeroed": Zeroing ["read"], PLAIN => "bytes of its last owner";
    what_kmem_had_is_not_zeroed
        "what kmem had is not zeroed": Zeroing ["new_id", "kmem unbind"], PLAIN => "bytes of its last owner";
    what_kmem_had_is_zeroed_in_the_probe
        "what kmem had is zeroed in the probe": Zeroing ["new_id", "kmem unbind"], PLAIN =>
            "memory is zeroed under the lock of a dax device";
    a_bind_trusts_who_else_zeroes
        "a bind trusts who else zeroes": Lent ["mapping", "bind"], PLAIN =>
            "bytes of its last owner";
    a_device_can_be_changed_while_memory_is_zeroed
        "a device can be changed while memory is zeroed": Zeroing ["grow", "shrink"], PLAIN =>
            "WARNING: layout.size() != self.base";
    a_device_stays_as_it_is_after_zeroing
        "a device stays as it is after zeroing": Zeroing ["read"], PLAIN =>
            "to size of dax0.1 gives Err(EBUSY)";
}

#[test]
fn everything_else_passes_with_the_switches_off() {
    fault::set("");
    let found = search::random(1);
    assert!(found.wrong.is_empty());
}

mod changes {
    #![allow(dead_code, reason = "the build script uses the rest")]

    include!("../changes.rs");

    /// The faults that can be put in. A fault may have several changes.
    pub(super) fn faults() -> impl Iterator<Item = &'static str> {
        CHANGES.iter().map(|change| change.fault)
    }
}

/// The rows of the table of docs/model.md.
fn documented() -> Vec<Row> {
    let text = include_str!("../../../../docs/model.md");
    let (_, section) = text
        .split_once("\n## Faults that it finds\n")
        .expect("docs/model.md has the section");
    let section = section.split("\n## ").next().unwrap_or(section);
    let rows = section.lines().filter_map(|line| {
        let cells = line.strip_prefix("| ")?.strip_suffix(" |")?;
        let [fault, _, found_in] = cells.split(" | ").collect::<Vec<_>>()[..] else {
            panic!("not three cells: {line}");
        };
        Some(Row {
            fault: fault.to_owned(),
            found_in: found_in.to_owned(),
        })
    });
    // The first is the head.
    rows.skip(1).collect()
}

#[test]
fn each_fault_that_can_be_put_in_has_a_test() {
    let faults: BTreeSet<String> = changes::faults().map(str::to_owned).collect();
    let tested: BTreeSet<String> = tested().into_iter().map(|row| row.fault).collect();
    let different: Vec<_> = faults.symmetric_difference(&tested).collect();
    assert!(different.is_empty(), "in one of both only: {different:?}");
}

#[test]
fn the_table_has_a_row_for_each_fault() {
    let (documented, tested) = (documented(), tested());
    let count = documented.len();
    let documented: BTreeSet<Row> = documented.into_iter().collect();
    assert_eq!(documented.len(), count, "a row is there twice");
    let tested: BTreeSet<Row> = tested.into_iter().collect();
    let missing: Vec<_> = tested.difference(&documented).collect();
    assert!(missing.is_empty(), "docs/model.md lacks {missing:#?}");
    let more: Vec<_> = documented.difference(&tested).collect();
    assert!(more.is_empty(), "only docs/model.md has {more:#?}");
}
