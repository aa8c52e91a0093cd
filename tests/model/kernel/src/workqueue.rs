// SPDX-License-Identifier: GPL-2.0

//! Delayed work, done by a task of its own.
//!
//! The model has no clock. Delayed work may run at any moment after something happened that it
//! could see, see [`bindings`], or when everybody waits. Without either it runs as often as
//! [`Impatience`] says. So a work item that looks again and again at something that does not change
//! costs no steps.

use std::cell::Cell;

use crate::bindings;
use crate::init::PinInit;
use crate::sched;
use crate::sync::Arc;
use crate::time::Jiffies;

pub use crate::{impl_has_delayed_work, new_delayed_work};

/// A queue.
pub struct Queue(());

static SYSTEM: Queue = Queue(());

/// `system_wq`
pub fn system() -> &'static Queue {
    &SYSTEM
}

/// `system_long_wq`
pub fn system_long() -> &'static Queue {
    &SYSTEM
}

/// `system_unbound_wq`
pub fn system_unbound() -> &'static Queue {
    &SYSTEM
}

/// A work item inside of a `T`; C: `struct delayed_work`.
pub struct DelayedWork<T> {
    pending: Cell<bool>,
    of: std::marker::PhantomData<fn(T)>,
}

// SAFETY: All tasks of the model are on one thread of the host.
unsafe impl<T> Send for DelayedWork<T> {}
// SAFETY: As above.
unsafe impl<T> Sync for DelayedWork<T> {}

impl<T> DelayedWork<T> {
    /// Not queued.
    pub fn new(_name: &'static str) -> impl PinInit<Self> {
        Self {
            pending: Cell::new(false),
            of: std::marker::PhantomData,
        }
    }
}

/// Work to be done later.
pub trait WorkItem {
    /// The pointer that owns the work item meanwhile.
    type Pointer;
    /// Does it.
    fn run(this: Self::Pointer);
}

/// A type that has a work item inside.
pub trait HasDelayedWork<T> {
    /// The work item.
    fn delayed_work(&self) -> &DelayedWork<T>;
}

/// Number of times that work is done although nothing happened since it was done last.
#[derive(Default)]
pub struct Impatience(u32);

/// From now on work is done so many times although nothing happened.
pub fn set_impatience(times: u32) {
    sched::part(|left: &mut Impatience| left.0 = times);
}

/// Number of work items that are being done, or are about to be.
#[derive(Default)]
struct Running(usize);

/// Number of work items that are being done.
pub fn running() -> usize {
    sched::part(|running: &mut Running| running.0)
}

/// Items that wait for their time.
#[derive(Default)]
struct Pending(usize);

/// Number of work items that wait for their time.
pub fn pending() -> usize {
    sched::part(|pending: &mut Pending| pending.0)
}

impl Queue {
    /// Queues an item.
    ///
    /// # Errors
    ///
    /// It is queued already.
    pub fn enqueue_delayed<T>(&self, item: Arc<T>, delay: Jiffies) -> Result<(), Arc<T>>
    where
        T: WorkItem<Pointer = Arc<T>> + HasDelayedWork<T> + Send + Sync + 'static,
    {
        if item.delayed_work().pending.replace(true) {
            return Err(item);
        }
        let seen = bindings::changes_seen();
        let queued = sched::time();
        sched::part(|pending: &mut Pending| pending.0 += 1);
        sched::spawn("work", move || {
            sched::woken_by_time();
            let due = || delay == 0 || bindings::changes() != seen || sched::time() != queued;
            sched::wait_until(|| "the time of the work".to_owned(), &|| {
                due() || sched::part(|left: &mut Impatience| left.0 > 0)
            });
            if !due() {
                sched::part(|left: &mut Impatience| left.0 -= 1);
            }
            item.delayed_work().pending.set(false);
            sched::part(|pending: &mut Pending| pending.0 -= 1);
            sched::part(|running: &mut Running| running.0 += 1);
            sched::require(!bindings::is_module_gone(), "work of a module that is gone");
            T::run(item);
            sched::part(|running: &mut Running| running.0 -= 1);
        });
        Ok(())
    }
}

/// A work item.
#[macro_export]
macro_rules! new_delayed_work {
    ($name:literal $(,)?) => {
        $crate::workqueue::DelayedWork::new($name)
    };
}

/// Says where the work item of a type is.
#[macro_export]
macro_rules! impl_has_delayed_work {
    ($(impl HasDelayedWork<$t:ty> for $s:ty { self.$field:ident })*) => {$(
        impl $crate::workqueue::HasDelayedWork<$t> for $s {
            fn delayed_work(&self) -> &$crate::workqueue::DelayedWork<$t> {
                &self.$field
            }
        }
    )*};
}
