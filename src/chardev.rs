// SPDX-License-Identifier: GPL-2.0

//! The `device_dax` driver: `/dev/daxX.Y`.
//!
//! C: device.c. Everything that probing acquires is released in reverse order
//! when the device is unbound: the struct pages last, after the last file lost
//! its mappings and the last pin of a page is gone.

#![forbid(unsafe_code)]

use kernel::device::{Bound, Device};
use kernel::devres;
use kernel::prelude::*;
use kernel::sync::Arc;

use crate::around::Window;
use crate::device::DevDax;
use crate::fault;
use crate::layout::Entry;
use crate::range::{Align, PAGE_SHIFT};
use crate::sys::bus::{Driver, Probe};
use crate::sys::cdev::Cdev;
use crate::sys::dax_core::Life;
use crate::sys::device::{device, Ref};
use crate::sys::pagemap::{self, ExpediteUnmap, Expedited, Mapped};
use crate::sys::resource::request_mem_region;

/// C: `device_dax_driver`.
pub(crate) static DRIVER: Driver = Driver::new::<DeviceDax>();

/// The driver.
pub(crate) struct DeviceDax;

/// One binding of a device to the driver. Files that are opened while it lasts
/// refer to it for good: a later binding, of other ranges perhaps, is not theirs.
pub(crate) struct Binding {
    device: Ref<DevDax>,
    /// The device's alignment, which is also the size of its pages.
    align: Align,
    /// The order of these pages in pages of the machine.
    order: u32,
    /// Their size in bytes.
    page_size: usize,
    /// How many of them a fault maps; `None` for the one.
    window: Option<Window>,
    /// Until the device is unbound.
    life: Life,
}

impl Binding {
    /// The device.
    pub(crate) fn device(&self) -> &DevDax {
        &self.device
    }

    /// The size of the device's pages.
    pub(crate) fn align(&self) -> Align {
        self.align
    }

    /// That in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.page_size
    }

    /// Its order, in pages of the machine.
    pub(crate) fn order(&self) -> u32 {
        self.order
    }

    /// How many of them a fault maps; `None` for the one.
    pub(crate) fn window(&self) -> Option<Window> {
        self.window
    }

    /// How long the device is bound as it was when the file was opened.
    pub(crate) fn life(&self) -> &Life {
        &self.life
    }
}

impl Probe for DeviceDax {
    type Device = DevDax;

    /// C: `dev_dax_probe()`.
    ///
    /// # Errors
    ///
    /// `EBUSY` if someone has a part of the memory, `ENOMEM`, and what
    /// `devm_memremap_pages()` and `cdev_add()` fail with.
    fn probe(dax: &DevDax, dev: &Device<Bound>) -> Result {
        let (entries, align) = dax.snapshot()?;
        // Registered first, so it is what unbinding drops last.
        let expedite = ExpediteUnmap::register(dev)?;
        reserve(dax, dev, &entries)?;
        let mapped = pagemap::map(dev, dax.template(), entries, align)?;

        let order = pagemap::page_order(align);
        let binding = Arc::new(
            Binding {
                device: Ref::of(dax),
                align,
                order,
                page_size: 1_usize.wrapping_shl(order.saturating_add(PAGE_SHIFT as u32)),
                window: fault::window(order),
                life: Life::begin(dax.dax()),
            },
            GFP_KERNEL,
        )?;
        let mut live = Live {
            binding: binding.clone(),
            mapped,
            cdev: None,
            expedite,
        };
        dax.dax().run();
        dax.set_binding(Some(binding));
        live.cdev = Some(Cdev::add::<Binding>(dax, dax.dax())?);
        devres::register(dev, live, GFP_KERNEL)
    }
}

/// Marks the ranges as in use in `/proc/iomem`, until the device is unbound.
///
/// Last range first: they mostly ascend, so each goes to the front of the tree's
/// list, and so it leaves it. The other way round each walks past all others.
fn reserve(dax: &DevDax, dev: &Device<Bound>, entries: &[Entry]) -> Result {
    let mut failed = Ok(());
    for (index, entry) in entries.iter().enumerate().rev() {
        let range = entry.range().ok_or(EINVAL)?;
        if let Err(e) = request_mem_region(dev, dax, range) {
            failed = Err((index, range, e));
        }
    }
    // The first of those that are taken.
    failed.map_err(|(index, range, e)| {
        dev_warn!(
            dev,
            "mapping{}: {:#x}-{:#x} could not reserve range\n",
            index,
            range.start(),
            range.last()
        );
        e
    })
}

/// A device that can be opened and mapped; dropping it ends that.
struct Live {
    binding: Arc<Binding>,
    /// The ranges, as they were when the device was probed.
    mapped: Mapped,
    cdev: Option<Cdev>,
    expedite: Arc<ExpediteUnmap>,
}

impl Drop for Live {
    /// Sleeps until no page of the device is mapped or pinned.
    fn drop(&mut self) {
        let dax = self.binding.device();
        self.binding.life.end();
        dax.set_binding(None);
        drop(self.cdev.take());
        {
            let _expedited = Expedited::new();
            dax.kill();
        }
        wait_until_idle(dax, &self.mapped);
        self.expedite.begin();
    }
}

/// How long to sleep between two looks at a page that is pinned.
const POLL_MS: u32 = 20;
/// How often to say that we are waiting.
const REPORT_MS: u32 = 60_000;
/// How many pages to look at before others may run.
const BATCH: usize = 1024;

/// Waits until nobody refers to a page of the device.
///
/// `get_user_pages()` takes no reference of the page map, so direct I/O, RDMA,
/// vfio or a pipe may still use pages that are mapped nowhere. Their struct
/// pages, and for kmem the memory itself, must not be taken from them. An idle
/// page stays idle, because it can only be pinned through a mapping.
fn wait_until_idle(dax: &DevDax, mapped: &Mapped) {
    let mut waited_ms: u32 = 0;
    for (index, page) in mapped.pages().enumerate() {
        if index % BATCH == BATCH - 1 {
            pagemap::cond_resched();
        }
        while !page.is_idle() {
            if waited_ms % REPORT_MS == POLL_MS {
                dev_warn!(
                    device(dax),
                    "unbind waits until the pinned page at {:#x} is released\n",
                    page.address()
                );
            }
            pagemap::sleep_idle(POLL_MS);
            waited_ms = waited_ms.saturating_add(POLL_MS);
        }
    }
    if waited_ms > POLL_MS {
        dev_info!(
            device(dax),
            "pinned pages were released after {} ms\n",
            waited_ms
        );
    }
}
