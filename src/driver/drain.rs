// SPDX-License-Identifier: GPL-2.0

//! Struct pages that outlive a binding because somebody has pinned one of them.
//!
//! Unbinding must not wait for a pin: the driver core holds the device lock meanwhile, and
//! each `new_id` of the driver and a shutdown of the machine need that lock too. So
//! unbinding ends all access, looks for pinned pages for up to 31 ms, and returns.
//! If a page is still pinned, the device *drains*: its page map stays, and a work item
//! looks again, less and less often, until no page is pinned. The work item must poll,
//! because ZONE_DEVICE has no callback for the last unpin of a page.
//!
//! A device that drains can be neither bound nor changed, and its memory is not free; see
//! [`Region::note_draining`](crate::driver::region::Region::note_draining).

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        aref::ARef,
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
        object::device,
        pagemap::PageMap,
        task::sleep, //
    }, //
};

/// Sleep after each look while the device is being unbound, in milliseconds.
const BRIEFLY_MS: [u32; 5] = [1, 2, 4, 8, 16];
/// Delay before the first look of the work item, in milliseconds. Each look doubles the
/// delay.
const FIRST_MS: u32 = 20;
/// Upper limit of that delay, in milliseconds.
const LAST_MS: u32 = 1_000;
/// Interval between warnings about a pinned page, in milliseconds.
const REPORT_MS: i64 = 60_000;

/// The page map of a bound device. When the device is unbound, this keeps the page map
/// until no page is pinned.
#[pin_data]
pub(crate) struct Drain {
    #[pin]
    work: DelayedWork<Self>,
    #[pin]
    state: Mutex<DrainState>,
    device: ARef<DevDax>,
    _user: User,
}

struct DrainState {
    /// `None` once no page is pinned any more.
    map: Option<PageMap<DevDax>>,
    /// Delay before the current look, in milliseconds.
    interval_ms: u32,
    /// When the device began to drain.
    began: Instant<Monotonic>,
    /// When the last warning about a pinned page was logged.
    said: Instant<Monotonic>,
    /// Keeps the module loaded while the device drains.
    module: Option<ModuleRef>,
}

impl_has_delayed_work! {
    impl HasDelayedWork<Self> for Drain { self.work }
}

impl Drain {
    /// Takes over the page map of `device`, which is being bound. Allocates everything now,
    /// so that unbinding cannot fail. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(device: &ARef<DevDax>, map: PageMap<DevDax>) -> Result<Arc<Self>> {
        let state = DrainState {
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

    /// Ends all access to the device's memory, because the device is being unbound. If no
    /// page is pinned, gives the struct pages back; otherwise lets the device drain.
    /// Sleeps, but does not wait for a pin.
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
        // The driver is still bound here, so nobody can bind or change the device before
        // this call.
        self.device.region().note_draining(&self.device);
        dev_warn!(
            device::<DevDax>(&self.device),
            "unbound, but the page at {:#x} is pinned: draining\n",
            held
        );
        Self::look_later(self, FIRST_MS);
    }

    fn look_later(this: Arc<Self>, ms: u32) {
        let queued = workqueue::system_long().enqueue_delayed(this, msecs_to_jiffies(ms));
        // Only `begin()` and the work item itself queue it, so it is not queued yet.
        warn_on!(queued.is_err());
    }

    /// Looks for a pinned page. Returns the delay before the next look in milliseconds, or
    /// `None` if no page is pinned.
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

    /// Ends the draining: no page is pinned any more. Sleeps.
    fn end(&self) {
        let (map, began, module) = {
            let mut state = self.state.lock();
            (state.map.take(), state.began, state.module.take())
        };
        if warn_on!(map.is_none()) {
            return;
        }
        // Frees the struct pages and releases the claims in /proc/iomem.
        drop(map);
        dev_info!(
            device::<DevDax>(&self.device),
            "drained after {} ms\n",
            began.elapsed().as_millis()
        );
        self.device.region().note_drained(&self.device);
        drop(module);
    }
}

/// Looks for a pinned page, repeatedly for up to 31 ms. Returns the physical address
/// of one that is still pinned.
///
/// A process that is just unmapping the device clears its page table first and drops the
/// page references a little later. Such a page is not pinned, and the user who unbinds the
/// device may want to bind it again at once.
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
                this.device.region().wake_if_giving_up();
                Self::look_later(this, ms);
            }
            None => this.end(),
        }
    }
}
