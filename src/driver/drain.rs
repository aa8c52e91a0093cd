// SPDX-License-Identifier: GPL-2.0

//! Struct pages that outlive a binding: who has pinned a page keeps it.
//!
//! When a device is unbound nobody may wait for a pin, since the driver core holds
//! the device's lock, which each `new_id` of the driver and a shutdown of the machine
//! want too. So unbinding ends all access, looks for a moment, and returns. If a page is
//! still pinned the device *drains*: its page map lives on, and a work item looks
//! again, ever more seldom, until no page is. ZONE_DEVICE has no call-back for that.
//!
//! While a device drains it can be neither bound nor changed, and the memory is not
//! free; see [`Region::begins_to_drain`](crate::driver::region::Region::begins_to_drain).

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
    time::{
        msecs_to_jiffies,
        Instant,
        Monotonic, //
    },
    warn_on,
    workqueue::{
        self,
        impl_has_delayed_work,
        new_delayed_work,
        DelayedWork,
        WorkItem, //
    }, //
};

use crate::{
    driver::device::DevDax,
    sys::{
        module::{
            ModuleRef,
            User, //
        },
        object::{
            device,
            Ref, //
        },
        pagemap::PageMap,
        task::sleep, //
    }, //
};

/// How long to sleep after each look while the device is being unbound, in
/// milliseconds.
const BRIEFLY_MS: [u32; 5] = [1, 2, 4, 8, 16];
/// How long to sleep after the first look of the work item, in milliseconds; then twice as long each
/// time.
const FIRST_MS: u32 = 20;
/// But not longer than this.
const LAST_MS: u32 = 1_000;
/// How often to say which page is pinned, in milliseconds.
const REPORT_MS: i64 = 60_000;

/// The page map of a bound device, and what becomes of it when the device is unbound.
#[pin_data]
pub(crate) struct Drain {
    #[pin]
    work: DelayedWork<Self>,
    #[pin]
    state: Mutex<State>,
    device: Ref<DevDax>,
    _user: User,
}

struct State {
    /// `None` when no page is pinned any more.
    map: Option<PageMap<DevDax>>,
    /// How long to sleep until the next look.
    interval_ms: u32,
    /// Since when the device drains.
    began: Instant<Monotonic>,
    /// When it was said last which page is pinned.
    said: Instant<Monotonic>,
    /// The module stays while a device drains.
    module: Option<ModuleRef>,
}

impl_has_delayed_work! {
    impl HasDelayedWork<Self> for Drain { self.work }
}

impl Drain {
    /// To be called when `device` is bound: what is needed later is allocated now.
    /// May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(device: &Ref<DevDax>, map: PageMap<DevDax>) -> Result<Arc<Self>> {
        let state = State {
            map: Some(map),
            interval_ms: FIRST_MS,
            began: Instant::now(),
            said: Instant::now(),
            module: None,
        };
        Arc::pin_init(
            try_pin_init!(Self {
                work <- new_delayed_work!("dax::Drain"),
                state <- new_mutex!(state, "dax::Drain"),
                device: device.clone(),
                _user: User::new(),
            }? Error),
            GFP_KERNEL,
        )
    }

    /// The device is being unbound: ends all access to its memory, and gives the
    /// struct pages back, at once if no page is pinned. Sleeps, but for no pin.
    pub(crate) fn begin(self: Arc<Self>) {
        let held = {
            let mut state = self.state.lock();
            let Some(map) = &mut state.map else {
                warn_on!(true);
                return;
            };
            map.end();
            let Some(held) = look_for_a_while(map) else {
                state.map = None;
                return;
            };
            state.module = Some(ModuleRef::new());
            state.began = Instant::now();
            state.said = state.began;
            held
        };
        // The device is not unbound yet, so nobody can bind or change it before this.
        self.device.region().begins_to_drain(&self.device);
        dev_warn!(
            device::<DevDax>(&self.device),
            "unbound, but the page at {:#x} is pinned: draining\n",
            held
        );
        Self::look_later(self, FIRST_MS);
    }

    fn look_later(this: Arc<Self>, ms: u32) {
        let queued = workqueue::system_long().enqueue_delayed(this, msecs_to_jiffies(ms));
        // It is queued by itself and when it begins only.
        warn_on!(queued.is_err());
    }

    /// Looks at the pages. How long to sleep until the next look, if there is one.
    fn look(&self) -> Option<u32> {
        let mut state = self.state.lock();
        let held = state.map.as_mut()?.look()?;
        if state.said.elapsed().as_millis() >= REPORT_MS {
            state.said = Instant::now();
            dev_warn!(
                device::<DevDax>(&self.device),
                "still draining: the page at {:#x} is pinned\n",
                held
            );
        }
        state.interval_ms = state.interval_ms.saturating_mul(2).min(LAST_MS);
        Some(state.interval_ms)
    }

    /// No page is pinned any more.
    fn end(&self) {
        let (map, began, module) = {
            let mut state = self.state.lock();
            (state.map.take(), state.began, state.module.take())
        };
        // Takes the struct pages away, and frees the ranges in /proc/iomem.
        drop(map);
        dev_info!(
            device::<DevDax>(&self.device),
            "drained after {} ms\n",
            began.elapsed().as_millis()
        );
        self.device.region().has_drained(&self.device);
        drop(module);
    }
}

/// Looks, and looks again for a few milliseconds: a process that is just giving its
/// mapping up drops the pages' references after it has cleared the page table. Nobody
/// has pinned these, and who unbinds may want to bind again.
fn look_for_a_while(map: &mut PageMap<DevDax>) -> Option<u64> {
    for ms in BRIEFLY_MS {
        map.look()?;
        sleep(ms);
    }
    map.look()
}

impl WorkItem for Drain {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        match this.look() {
            Some(ms) => {
                this.device.region().still_drains();
                Self::look_later(this, ms);
            }
            None => this.end(),
        }
    }
}
