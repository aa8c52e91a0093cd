// SPDX-License-Identifier: GPL-2.0

//! Chooses the schedules to try: all with few preemptions, or random ones.

use std::cell::RefCell;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::rc::Rc;
use std::sync::Arc;

use fastrand::Rng;
use shuttle::scheduler::{Schedule, Scheduler, Task, TaskId};
use shuttle::{Config, FailurePersistence, MaxSteps, Runner};

use crate::sched;

/// How schedules are chosen.
#[derive(Clone, Debug)]
pub enum Strategy {
    /// All schedules in which a task that could go on has to give way at most so
    /// many times. That it gives way because it waits or ends is not counted.
    Exhaustive {
        /// The bound.
        preemptions: usize,
    },
    /// One schedule for each seed from the first on.
    Random {
        /// The first seed.
        seed: u64,
        /// Number of them.
        count: u64,
    },
    /// One schedule again.
    Replay(Vec<usize>),
}

/// A place where more than one task could go on.
#[derive(Clone, Debug)]
struct Branch {
    choices: Vec<TaskId>,
    taken: usize,
}

/// The choices of a schedule, shared with the runner.
#[derive(Default, Debug)]
struct State {
    path: Vec<Branch>,
    /// Branches of the path that this execution has passed.
    depth: usize,
    /// Which of the tasks that could go on did so, wherever there was more than one.
    taken: Vec<usize>,
    preemptions: usize,
    executions: u64,
    random: Rng,
    stickiness: u64,
}

struct Explorer {
    strategy: Strategy,
    state: Rc<RefCell<State>>,
}

/// More steps than any execution needs. One that goes wrong takes the rest of them.
const MAX_STEPS: usize = 20_000;

/// Keeps shuttle from printing what is known already.
fn be_quiet() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if sched::what_went_wrong().is_none() {
                hook(info);
            }
        }));
    });
}

impl State {
    /// Goes on with the next path. Is there one?
    fn next_path(&mut self) -> bool {
        while let Some(last) = self.path.last_mut() {
            if last.taken + 1 < last.choices.len() {
                last.taken += 1;
                return true;
            }
            self.path.pop();
        }
        false
    }

    /// Takes the choice that the path has here, or the first.
    fn choose(&mut self, choices: &[TaskId]) -> TaskId {
        if choices.len() == 1 {
            return choices[0];
        }
        let depth = self.depth;
        self.depth += 1;
        if let Some(branch) = self.path.get(depth) {
            assert_eq!(branch.choices, choices, "an execution does not repeat");
            return branch.choices[branch.taken];
        }
        let first = choices[0];
        self.path.push(Branch {
            choices: choices.to_vec(),
            taken: 0,
        });
        first
    }
}

/// The tasks that could go on.
fn enabled(runnable: &[&Task]) -> Vec<TaskId> {
    let all = runnable.iter().map(|task| task.id());
    all.filter(|task| sched::is_enabled((*task).into()))
        .collect()
}

impl Scheduler for Explorer {
    fn new_execution(&mut self) -> Option<Schedule> {
        let state = &mut *self.state.borrow_mut();
        let go_on = match &self.strategy {
            Strategy::Exhaustive { .. } => state.executions == 0 || state.next_path(),
            Strategy::Replay(_) => state.executions == 0,
            Strategy::Random { seed, count } => {
                state.random = Rng::with_seed(seed.wrapping_add(state.executions));
                // A preemption at every second, fourth, ... place.
                state.stickiness = state.random.u64(1..=5);
                state.executions < *count
            }
        };
        state.executions += 1;
        state.depth = 0;
        state.taken.clear();
        state.preemptions = 0;
        go_on.then(|| Schedule::new(0))
    }

    fn next_task(
        &mut self,
        runnable: &[&Task],
        current: Option<TaskId>,
        _is_yielding: bool,
    ) -> Option<TaskId> {
        if sched::inert() {
            return current;
        }
        let state = &mut *self.state.borrow_mut();
        let mut enabled = enabled(runnable);
        while enabled.is_empty() {
            if !sched::let_time_pass() {
                sched::dead_lock();
                return current;
            }
            enabled = self::enabled(runnable);
        }
        let can_go_on = current.filter(|current| enabled.contains(current));
        if !sched::is_exploring() {
            return can_go_on.or(enabled.first().copied());
        }
        if enabled.len() == 1 {
            return enabled.first().copied();
        }
        if let Some(current) = can_go_on {
            // The one that goes on is the first choice.
            enabled.retain(|task| *task != current);
            enabled.insert(0, current);
        }
        let next = match &self.strategy {
            Strategy::Exhaustive { preemptions } => {
                let choices = match can_go_on {
                    Some(_) if state.preemptions >= *preemptions => &enabled[..1],
                    _ => &enabled[..],
                };
                state.choose(choices)
            }
            Strategy::Replay(path) => {
                let index = path.get(state.taken.len()).copied().unwrap_or(0);
                enabled[index.min(enabled.len() - 1)]
            }
            Strategy::Random { .. } => {
                let sticky = can_go_on.is_some() && state.random.u64(..1 << state.stickiness) != 0;
                match sticky {
                    true => enabled[0],
                    false => enabled[state.random.usize(..enabled.len())],
                }
            }
        };
        let taken = enabled.iter().position(|task| *task == next);
        state.taken.push(taken.expect("it was chosen from these"));
        if can_go_on.is_some_and(|current| current != next) {
            state.preemptions += 1;
        }
        Some(next)
    }

    fn next_u64(&mut self) -> u64 {
        panic!("the model has no random data of shuttle's");
    }
}

/// The number of schedules that were tried, and the finding.
#[derive(Clone, Debug)]
pub struct Tried {
    /// Number of schedules.
    pub schedules: u64,
    /// The first that went wrong.
    pub wrong: Option<Wrong>,
}

/// A schedule that went wrong.
#[derive(Clone, Debug)]
pub struct Wrong {
    /// The finding.
    pub what: String,
    /// The choices that lead there, for [`Strategy::Replay`].
    pub path: Vec<usize>,
    /// The steps until then, with their tasks.
    pub trace: Vec<String>,
}

/// Runs `test` under the schedules of `strategy`, until one goes wrong. `test` is
/// given the number of the execution and says itself what an execution is, from
/// [`sched::begin`] on.
pub fn explore(strategy: &Strategy, test: impl Fn(u64, bool) + Send + Sync + 'static) -> Tried {
    let test = Arc::new(test);
    let (schedules, wrong) = run(strategy.clone(), false, test.clone());
    let wrong = wrong.map(|(what, path)| {
        let nth = schedules - 1;
        let again = test.clone();
        let test = move |_, trace| again(nth, trace);
        let (_, same) = run(Strategy::Replay(path.clone()), true, Arc::new(test));
        let trace = sched::take_trace();
        sched::forget();
        match same {
            Some((same, _)) if same == what => Wrong { what, path, trace },
            other => panic!("{what}: went differently when it was replayed: {other:?}"),
        }
    });
    sched::forget();
    Tried { schedules, wrong }
}

type Test = Arc<dyn Fn(u64, bool) + Send + Sync>;

/// Number of schedules that were run; the fault of the last one, and how to get there.
fn run(strategy: Strategy, trace: bool, test: Test) -> (u64, Option<(String, Vec<usize>)>) {
    sched::forget();
    let state = Rc::new(RefCell::new(State::default()));
    let explorer = Explorer {
        strategy: strategy.clone(),
        state: state.clone(),
    };
    let mut config = Config::new();
    config.failure_persistence = FailurePersistence::None;
    config.stack_size = 0x4_0000;
    config.max_steps = MaxSteps::FailAfter(MAX_STEPS);
    let runner = Runner::new(explorer, config);
    let counter = std::sync::atomic::AtomicU64::new(0);
    let result = catch_unwind(AssertUnwindSafe(move || {
        runner.run(move || {
            be_quiet();
            let nth = counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            test(nth, trace);
        })
    }));
    let state = state.borrow();
    match result {
        Ok(count) => (count as u64, None),
        Err(payload) => {
            let text = payload.downcast_ref::<String>().cloned();
            let text = text.or_else(|| payload.downcast_ref::<&str>().map(|s| (*s).to_owned()));
            let what = sched::what_went_wrong().or(text).unwrap_or_default();
            let path = match strategy {
                Strategy::Replay(path) => path,
                _ => state.taken.clone(),
            };
            (state.executions, Some((what, path)))
        }
    }
}
