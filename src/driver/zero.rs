// SPDX-License-Identifier: GPL-2.0

//! Zeroing of memory before the next owner sees it: `zero_on_alloc`.
//!
//! Zeroing takes seconds for each ten gigabytes or so. So it runs without the locks of this
//! driver, and ends early if the writer is killed, the machine goes down or the device is
//! gone. Memory that kmem had is zeroed by a work item: a task that binds a device holds the
//! device lock, which each `new_id` of the driver needs too.
//!
//! `memremap()` maps the memory for this, since memory without a driver has no struct pages
//! and is not in the direct map.

use kernel::{
    error::to_result,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            ordering::{
                Acquire,
                Release, //
            },
            Atomic, //
        },
        Arc, //
    },
    time::{
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
    ranges::{
        layout::DevDaxRange,
        range::PhysRange, //
    },
    sys::{
        hwpoison,
        log,
        memory::Mapped,
        module::{
            ModuleRef,
            User, //
        },
        object::device,
        task::{
            cond_resched,
            must_give_up,
            sleep, //
        }, //
    }, //
};

/// How much memory is mapped into the kernel at a time, in bytes. The page tables for it
/// need at most 512 KiB.
const MAPPED: u64 = 256 << 20;
/// How much is zeroed between two looks whether to go on, in bytes.
const STEP: u64 = 2 << 20;
/// Interval between messages about the progress, in milliseconds.
const REPORT_MS: i64 = 10_000;

/// Sleep after each look whether the work item is done, in milliseconds. A bind waits for a
/// second, and then leaves the work item alone.
const BRIEFLY_MS: [u32; 10] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512];

/// Zeroing of all ranges of a device, by a work item.
#[pin_data]
struct Background {
    #[pin]
    work: DelayedWork<Self>,
    device: ARef<DevDax>,
    /// 0 after success, an errno after failure, `RUNNING` before.
    outcome: Atomic<i32>,
    _module: ModuleRef,
    _user: User,
}

/// The value of `Background::outcome` until the work item has ended.
const RUNNING: i32 = 1;

impl_has_delayed_work! {
    impl HasDelayedWork<Self> for Background { self.work }
}

impl Background {
    /// Allocates the work item for `device`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    fn new(device: &DevDax) -> Result<Arc<Self>> {
        Arc::pin_init(
            try_pin_init!(Self {
                work <- new_delayed_work!("dax::Background"),
                device: ARef::from(device),
                outcome: Atomic::new(RUNNING),
                _module: ModuleRef::new(),
                _user: User::new(),
            }? Error),
            GFP_KERNEL,
        )
    }
}

impl WorkItem for Background {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        let result = this.device.zero_all();
        // A device that is gone needs no zeroes.
        if let Some(e) = result.err().filter(|e| *e != ENXIO) {
            dev_warn!(
                device::<DevDax>(&this.device),
                "the memory that kmem had could not be zeroed: {}\n",
                e.to_errno()
            );
        }
        this.device
            .region()
            .note_zeroed(&this.device, result.is_ok());
        let outcome = result.map_or_else(Error::to_errno, |()| 0);
        this.outcome.store(outcome, Release);
    }
}

impl DevDax {
    /// Zeroes what kmem left in the memory, after `Region::note_zeroing` has marked the
    /// device. Waits for up to a second. Sleeps; takes the region lock. The caller is about
    /// to probe a driver.
    ///
    /// # Errors
    ///
    /// `EBUSY` if zeroing takes longer; it goes on, and the device can be bound once it has
    /// ended. `ENXIO` if the device is gone, `ENOMEM`, and the errors of [`DevDax::zero`].
    pub(super) fn zero_after_kmem(&self) -> Result {
        let work = Background::new(self).inspect_err(|_| {
            self.region().note_zeroed(self, false);
        })?;
        // The work takes long, and the CPU of this task may be meant for something else.
        let queued = workqueue::system_unbound().enqueue_delayed(work.clone(), 0);
        // It was made just now, so it is not queued yet.
        if warn_on!(queued.is_err()) {
            self.region().note_zeroed(self, false);
            return Err(EBUSY);
        }
        for ms in BRIEFLY_MS {
            sleep(ms);
            match work.outcome.load(Acquire) {
                RUNNING => {}
                errno => return to_result(errno),
            }
        }
        log::refused::<DevDax>(self, c"its memory is being zeroed");
        Err(EBUSY)
    }

    /// Zeroes all ranges. Nobody may change them meanwhile.
    fn zero_all(&self) -> Result {
        let snapshot = self.snapshot()?;
        self.zero(snapshot.entries().iter().filter_map(DevDaxRange::range))
    }

    /// Zeroes `ranges`, all but the pages that memory-failure handling marked. Sleeps; no
    /// lock of ours is held. Nobody else may use the ranges: they are in a reservation for the
    /// device, or its driver is about to be probed.
    ///
    /// # Errors
    ///
    /// `EINTR` if the task was killed, `ENXIO` if the device is gone, `EBUSY` if somebody
    /// has claimed a part in `/proc/iomem`, `EIO` if not all marked pages are known,
    /// `EOPNOTSUPP` if the host encrypts its memory, `ENOMEM`.
    pub(super) fn zero(&self, ranges: impl Iterator<Item = PhysRange> + Clone) -> Result {
        let sizes = ranges.clone().map(|range| range.size());
        let mut progress = Progress::new(self, sizes.fold(0, u64::saturating_add));
        let memory = self.region().memory();
        let this = ARef::from(self);
        for range in ranges {
            let mut claim = memory.claim(&this, range).inspect_err(|_| {
                log::refused_range(self, range, c"could not be reserved, and is not zeroed");
            })?;
            for part in range.chunks(MAPPED) {
                let mut mapped = claim.map(part)?;
                for step in part.chunks(STEP) {
                    self.may_go_on()?;
                    zero_clean(&mut mapped, step)?;
                    progress.add(step.size());
                    cond_resched();
                }
            }
        }
        progress.end();
        Ok(())
    }

    /// Whether zeroing still makes sense. Takes the region lock.
    fn may_go_on(&self) -> Result {
        if must_give_up() {
            return Err(EINTR);
        }
        self.is_there()
    }
}

/// Zeroes `range`, all but its poisoned pages.
fn zero_clean(mapped: &mut Mapped<'_>, range: PhysRange) -> Result {
    let mut rest = Some(range);
    while let Some(part) = rest {
        let Some(clean) = hwpoison::first_clean(part)? else {
            break;
        };
        mapped.zero(clean);
        rest = part.part_above(&clean);
    }
    Ok(())
}

/// How far zeroing has come, and when that was last logged. Zeroing that ends before the
/// first report logs nothing.
struct Progress<'a> {
    device: &'a DevDax,
    /// Bytes to zero in all.
    total: u64,
    /// Bytes that are zeroed so far.
    done: u64,
    began: Instant<Monotonic>,
    said: Option<Instant<Monotonic>>,
}

impl<'a> Progress<'a> {
    fn new(device: &'a DevDax, total: u64) -> Self {
        Self {
            device,
            total,
            done: 0,
            began: Instant::now(),
            said: None,
        }
    }

    /// Counts `bytes` more as zeroed, and logs the progress if the last report is old.
    fn add(&mut self, bytes: u64) {
        self.done = self.done.saturating_add(bytes);
        let last = self.said.as_ref().unwrap_or(&self.began);
        if last.elapsed().as_millis() >= REPORT_MS {
            self.said = Some(Instant::now());
            dev_info!(
                device(self.device),
                "zeroed {} of {} MiB\n",
                self.done >> 20,
                self.total >> 20
            );
        }
    }

    /// Logs that everything is zeroed, if there was a report before.
    fn end(self) {
        if self.said.is_some() {
            dev_info!(
                device(self.device),
                "zeroed {} MiB in {} ms\n",
                self.total >> 20,
                self.began.elapsed().as_millis()
            );
        }
    }
}
