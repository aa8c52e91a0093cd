// SPDX-License-Identifier: GPL-2.0

//! Tasks, the places where one gives way to another, and the data that the model keeps for one
//! execution.
//!
//! `shuttle` gives each task a stack and switches between them. All tasks of an execution run on
//! one thread of the host, one at a time, so this data needs no locks. A task gives way only in
//! [`wait_until`]; the model calls it before each access that another task can see. The scheduler
//! does not get a task whose condition is false, so a schedule never wakes a task in vain.

use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Display;

use fastrand::Rng;

use crate::lockdep::Held;

/// Number of a task within its execution.
pub type TaskId = usize;

/// The event that a task waits for.
#[derive(Clone, Copy)]
struct Wait {
    /// Both are valid while the task is in [`wait_until`], which removes them on its
    /// way out.
    what: *const dyn Fn() -> String,
    cond: *const dyn Fn() -> bool,
}

/// One task.
pub(crate) struct Task {
    pub(crate) name: String,
    pub(crate) held: Vec<Held>,
    wait: Option<Wait>,
    done: bool,
    killed: bool,
    /// The task does delayed work.
    timer: bool,
    /// For how long it has slept under the lock that it took last.
    slept: u32,
    /// Number of fallible steps that it took so far.
    fallible: usize,
}

/// One of the steps that may fail does so.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The task.
    pub task: String,
    /// Which of the steps of this task, from 0.
    pub nth: usize,
}

/// All that lasts for one execution.
#[derive(Default)]
struct World {
    violation: Option<String>,
    tasks: BTreeMap<TaskId, Task>,
    running: TaskId,
    exploring: bool,
    failure: Option<Failure>,
    failure_hit: bool,
    chance: Option<(Rng, u64)>,
    trace: Option<Vec<String>>,
    /// Number of steps that all tasks made.
    steps: u64,
    /// Number of times that time passed while everybody waited, and how often in a row.
    time: u64,
    idle: u32,
    /// Few enough to be searched.
    parts: Vec<(TypeId, Box<dyn Any>)>,
}

thread_local! {
    static WORLD: RefCell<World> = RefCell::new(World::default());
}

fn with<R>(f: impl FnOnce(&mut World) -> R) -> R {
    WORLD.with(|world| f(&mut world.borrow_mut()))
}

/// Forgets the last execution. What it left is leaked if it went wrong: destructors
/// would find nothing as they expect it.
pub(crate) fn forget() {
    let old = with(std::mem::take);
    if old.violation.is_some() {
        std::mem::forget(old);
    }
}

/// Starts an execution: everything of the one before is forgotten.
pub fn begin(trace: bool) {
    forget();
    let me = shuttle::current::get_current_task().map_or(0, usize::from);
    with(|world| {
        world.trace = trace.then(Vec::new);
        world.tasks.insert(me, Task::new("main"));
        world.running = me;
    });
}

impl Task {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            held: Vec::new(),
            wait: None,
            done: false,
            killed: false,
            timer: false,
            slept: 0,
            fallible: 0,
        }
    }
}

/// The task that runs.
pub fn current() -> TaskId {
    with(|world| world.running)
}

/// The name of the task that runs.
pub fn name() -> String {
    let me = current();
    with(|world| {
        world
            .tasks
            .get(&me)
            .map_or(String::new(), |t| t.name.clone())
    })
}

/// State of a part of the model, fresh in each execution. Not reentrant.
pub fn part<S: Default + 'static, R>(f: impl FnOnce(&mut S) -> R) -> R {
    let key = TypeId::of::<S>();
    let found = with(|world| {
        let at = world.parts.iter().position(|(other, _)| *other == key)?;
        Some(world.parts.swap_remove(at).1)
    });
    let mut state = found.unwrap_or_else(|| Box::<S>::default());
    let result = f(state.downcast_mut::<S>().expect("the key is the type"));
    with(|world| {
        let nested = world.parts.iter().any(|(other, _)| *other == key);
        assert!(!nested, "a part of the model is used within itself");
        world.parts.push((key, state));
    });
    result
}

/// Whether the execution has failed: tasks are being unwound, and nothing of the
/// model means anything any more.
pub fn inert() -> bool {
    with(|world| world.violation.is_some())
}

/// The driver did what it must not do.
pub fn violation(what: impl Display) -> ! {
    let what = what.to_string();
    let me = name();
    if !inert() {
        trace(|| format!("VIOLATION: {what}"));
        with(|world| world.violation = Some(format!("{what} (in task {me})")));
    }
    stop();
}

/// Ends the execution. The task goes no further, and is not unwound either, since
/// there may be functions of C's calling convention on its stack: it takes steps until
/// shuttle's bound on them is reached, which leaves the stacks of all tasks as they are.
fn stop() -> ! {
    loop {
        shuttle::thread::yield_now();
    }
}

/// Unless `ok`, the driver did what it must not do.
pub fn require(ok: bool, what: impl Display) {
    if !ok && !inert() {
        violation(what);
    }
}

/// The finding of this execution, if there is one.
pub fn what_went_wrong() -> Option<String> {
    with(|world| world.violation.clone())
}

/// Adds a line to the trace, if there is one.
pub fn trace(line: impl FnOnce() -> String) {
    if with(|world| world.trace.is_some()) {
        let line = format!("{:>14}: {}", name(), line());
        with(|world| world.trace.as_mut().map(|trace| trace.push(line)));
    }
}

/// The trace of the execution.
pub fn take_trace() -> Vec<String> {
    with(|world| world.trace.take().unwrap_or_default())
}

/// Waits until `cond` holds. Other tasks may run first in any case.
///
/// When it returns, `cond` holds and nobody runs until the next call, so what the
/// caller does then is one atomic step.
pub fn wait_until(what: impl Fn() -> String, cond: &dyn Fn() -> bool) {
    struct Done(TaskId);
    impl Drop for Done {
        fn drop(&mut self) {
            with(|world| world.tasks.get_mut(&self.0).map(|task| task.wait.take()));
        }
    }
    if inert() {
        stop();
    }
    let me = current();
    let describe: &dyn Fn() -> String = &what;
    // SAFETY: The entry is removed before this function returns or unwinds, so both
    // closures outlive it.
    let wait = unsafe {
        Wait {
            what: std::mem::transmute::<&dyn Fn() -> String, &'static dyn Fn() -> String>(describe),
            cond: std::mem::transmute::<&dyn Fn() -> bool, &'static dyn Fn() -> bool>(cond),
        }
    };
    with(|world| {
        let task = world.tasks.get_mut(&me).expect("every task is known");
        task.wait = Some(wait);
    });
    let done = Done(me);
    shuttle::thread::yield_now();
    drop(done);
    if inert() {
        stop();
    }
    with(|world| {
        world.running = me;
        world.steps += 1;
        if !world.tasks.get(&me).is_some_and(|task| task.timer) {
            world.idle = 0;
        }
    });
    trace(what);
    assert!(cond(), "a task went on whose condition does not hold");
}

/// Others may run here, before the caller does `what`.
pub fn point(what: impl Fn() -> String) {
    wait_until(what, &|| true);
}

/// Sleeps for a while: another task makes a step first, or time passes.
pub fn yield_to_others(what: &str) {
    let now = || with(|world| (world.steps, world.time));
    let before = now();
    wait_until(|| what.to_owned(), &|| now() != before);
}

/// The task that runs sleeps for so long. How long it has slept since [`wake_up`].
pub(crate) fn slept(ms: u32) -> u32 {
    let me = current();
    with(|world| {
        let task = world.tasks.get_mut(&me).expect("every task is known");
        task.slept += ms;
        task.slept
    })
}

/// From now on it counts anew how long the task sleeps.
pub(crate) fn wake_up() {
    let me = current();
    with(|world| world.tasks.get_mut(&me).expect("every task is known").slept = 0);
}

/// Number of times that time passed while everybody waited: what is done at some later time is due
/// when this has grown.
pub fn time() -> u64 {
    with(|world| world.time)
}

/// Number of times in a row that time passes without anybody but timers doing anything. Then nobody
/// ever will.
const PATIENCE: u32 = 3;
/// Number of times that it passes at all. More is needed only by somebody who waits in a loop.
const LONG: u64 = 100;

/// Everybody waits: time passes, unless that did not help before.
pub(crate) fn let_time_pass() -> bool {
    with(|world| {
        world.time += 1;
        world.idle += 1;
        world.idle <= PATIENCE && world.time <= LONG
    })
}

/// The task was woken by time: what it does now is no progress yet.
pub(crate) fn woken_by_time() {
    let me = current();
    with(|world| {
        if let Some(task) = world.tasks.get_mut(&me) {
            task.timer = true;
        }
    });
}

/// Whether the task may go on.
pub(crate) fn is_enabled(task: TaskId) -> bool {
    let cond = with(|world| {
        world
            .tasks
            .get(&task)
            .and_then(|task| task.wait)
            .map(|wait| wait.cond)
    });
    // SAFETY: A condition that is registered is valid, see `wait_until`.
    cond.is_none_or(|cond| unsafe { &*cond }())
}

/// Whether schedules branch: not before all tasks are there.
pub(crate) fn is_exploring() -> bool {
    with(|world| world.exploring && world.violation.is_none())
}

/// Nobody can go on. Says who waits for what.
pub(crate) fn dead_lock() {
    let waiting: Vec<(String, Option<Wait>, String)> = with(|world| {
        let tasks = world.tasks.values().filter(|task| !task.done);
        let lines = tasks.map(|task| {
            let held: Vec<String> = task.held.iter().map(Held::to_string).collect();
            (task.name.clone(), task.wait, held.join(", "))
        });
        lines.collect()
    });
    let lines = waiting.into_iter().map(|(name, wait, held)| {
        // SAFETY: A description that is registered is valid, see `wait_until`.
        let what = wait.map_or("?".to_owned(), |wait| unsafe { &*wait.what }());
        format!("{name} waits for {what}, holds [{held}]")
    });
    let what = format!("dead lock: {}", lines.collect::<Vec<_>>().join("; "));
    trace(|| format!("VIOLATION: {what}"));
    with(|world| world.violation = Some(what));
}

/// Starts a task.
pub fn spawn(name: &str, f: impl FnOnce() + Send + 'static) {
    let name = name.to_owned();
    let exploring = with(|world| std::mem::replace(&mut world.exploring, false));
    // The new task may be asked about before it ever ran.
    let count = with(|world| world.tasks.len());
    with(|world| world.tasks.insert(count, Task::new(&name)));
    let parent = current();
    shuttle::thread::spawn(move || {
        let me = shuttle::current::get_current_task().map_or(0, usize::from);
        assert_eq!(me, count, "tasks are numbered in their order");
        with(|world| world.running = me);
        f();
        let held = with(|world| {
            let task = world.tasks.get_mut(&me).expect("every task is known");
            task.done = true;
            task.held.len()
        });
        require(held == 0, "a task ended with a lock held");
    });
    with(|world| {
        world.running = parent;
        world.exploring = exploring;
    });
}

/// Lets all tasks run, in all orders that the strategy tries, until `done`.
pub fn explore(done: impl Fn() -> bool) {
    with(|world| {
        world.exploring = true;
        // How it came to this is of no interest.
        world.trace.as_mut().map(Vec::clear);
    });
    wait_until(|| "the end of all tasks".to_owned(), &done);
    with(|world| world.exploring = false);
}

/// Whether the tasks of those names have ended; any name but the caller's own.
pub fn are_done(names: &[&str]) -> bool {
    with(|world| {
        let mut tasks = world.tasks.values();
        !tasks.any(|task| names.contains(&task.name.as_str()) && !task.done)
    })
}

/// Which step fails in this execution.
pub fn fail_at(failure: Option<Failure>) {
    with(|world| world.failure = failure);
}

/// Each step of any task fails with a chance of one in `one_in`.
pub fn fail_at_random(seed: u64, one_in: u64) {
    with(|world| world.chance = (one_in > 0).then(|| (Rng::with_seed(seed), one_in)));
}

/// Whether a step that may fail does so now.
pub fn fails(what: &'static str) -> bool {
    let me = current();
    let hit = with(|world| {
        if !world.exploring {
            return false;
        }
        let Some(task) = world.tasks.get_mut(&me) else {
            return false;
        };
        let nth = task.fallible;
        task.fallible += 1;
        let planned = world
            .failure
            .as_ref()
            .is_some_and(|failure| failure.task == task.name && failure.nth == nth);
        world.failure_hit |= planned;
        let by_chance = match &mut world.chance {
            Some((random, one_in)) => random.u64(..*one_in) == 0,
            None => false,
        };
        planned || by_chance
    });
    if hit {
        trace(|| format!("{what} fails"));
    }
    hit
}

/// Whether the step that was to fail was reached.
pub fn failure_was_hit() -> bool {
    with(|world| world.failure_hit)
}

/// A fatal signal for the tasks whose names begin like that.
pub fn kill(prefix: &str) {
    with(|world| {
        for task in world.tasks.values_mut() {
            task.killed |= task.name.starts_with(prefix);
        }
    });
}

/// Whether the task has a fatal signal.
pub(crate) fn was_killed(task: TaskId) -> bool {
    with(|world| world.tasks.get(&task).is_some_and(|task| task.killed))
}

/// The locks that the current task holds.
pub(crate) fn with_held<R>(f: impl FnOnce(&mut Vec<Held>) -> R) -> R {
    let me = current();
    with(|world| f(&mut world.tasks.get_mut(&me).expect("every task is known").held))
}
