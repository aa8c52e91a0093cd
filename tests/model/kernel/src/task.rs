// SPDX-License-Identifier: GPL-2.0

//! The kernel crate's view of tasks.

use core::ops::Deref;
use core::ptr::NonNull;

use crate::bindings;
use crate::sched;
use crate::sync::aref::AlwaysRefCounted;
use crate::types::Opaque;

/// `struct task_struct`
#[repr(transparent)]
pub struct Task(Opaque<bindings::task_struct>);

// SAFETY: All tasks of the model are on one thread of the host.
unsafe impl Send for Task {}
// SAFETY: As above.
unsafe impl Sync for Task {}

/// The task that runs.
pub struct CurrentTask(Task);

/// The tasks that were asked for. They live as long as the execution.
#[derive(Default)]
struct Tasks(Vec<(sched::TaskId, Box<CurrentTask>)>);

impl Task {
    /// The pointer.
    pub fn as_ptr(&self) -> *mut bindings::task_struct {
        self.0.get()
    }
}

impl CurrentTask {
    #[doc(hidden)]
    pub fn get() -> &'static Self {
        let me = sched::current();
        sched::part(|tasks: &mut Tasks| {
            if !tasks.0.iter().any(|(id, _)| *id == me) {
                let raw = bindings::task_struct {
                    _opaque: [me as u64, 0],
                };
                tasks.0.push((me, Box::new(Self(Task(Opaque::new(raw))))));
            }
            let (_, task) = tasks
                .0
                .iter()
                .find(|(id, _)| *id == me)
                .expect("it is there");
            // SAFETY: It stays where it is until the execution ends.
            unsafe { &*std::ptr::from_ref(&**task) }
        })
    }
}

impl Deref for CurrentTask {
    type Target = Task;
    fn deref(&self) -> &Task {
        &self.0
    }
}

// SAFETY: A task lives as long as the execution.
unsafe impl AlwaysRefCounted for Task {
    fn inc_ref(&self) {}
    unsafe fn dec_ref(_: NonNull<Self>) {}
}

/// The task that runs.
#[macro_export]
macro_rules! current {
    () => {
        $crate::task::CurrentTask::get()
    };
}
