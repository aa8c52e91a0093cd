// SPDX-License-Identifier: GPL-2.0

//! The `device_dax` driver: `/dev/daxX.Y`.
//!
//! C: device.c. Everything that probing acquires is released when the device is
//! unbound, but for struct pages that are still pinned, see [`Drain`].

#![forbid(unsafe_code)]

use kernel::device::{Bound, Device};
use kernel::devres;
use kernel::prelude::*;
use kernel::sync::Arc;

use crate::around::Window;
use crate::device::DevDax;
use crate::drain::Drain;
use crate::fault;
use crate::layout::Entry;
use crate::range::Align;
use crate::sys::bus::{OwnDriver, Probe};
use crate::sys::cdev::Cdev;
use crate::sys::device::Ref;
use crate::sys::life::Life;
use crate::sys::pagemap::{PageMap, PageMapError};

/// C: `device_dax_driver`.
pub(crate) static DRIVER: OwnDriver = OwnDriver::new::<DeviceDax>();

/// The driver.
pub(crate) struct DeviceDax;

/// One binding of a device to the driver. Files that are opened while it lasts
/// refer to it for good: a later binding, of other ranges perhaps, is not theirs.
pub(crate) struct Binding {
    device: Ref<DevDax>,
    /// The size of the device's pages, in bytes.
    page_size: usize,
    /// What a fault maps around a page; `None` for the page alone.
    window: Option<Window>,
    /// Until the device is unbound.
    life: Arc<Life>,
}

impl Binding {
    /// The device.
    pub(crate) fn device(&self) -> &DevDax {
        &self.device
    }

    /// The size of the device's pages in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.page_size
    }

    /// Its order, in pages of the machine.
    pub(crate) fn order(&self) -> u32 {
        self.life.order()
    }

    /// What a fault maps around a page; `None` for the page alone.
    pub(crate) fn window(&self) -> Option<Window> {
        self.window
    }

    /// How long the device is bound as it was when the file was opened.
    pub(crate) fn life(&self) -> &Arc<Life> {
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
        let device = Ref::of(dax);
        let (entries, align) = dax.snapshot()?;
        let map = page_map(&device, dev, entries, align)?;
        let life = map.life().clone();
        let order = life.order();
        let drain = Drain::new(&device, map)?;
        let binding = Arc::new(
            Binding {
                device,
                page_size: usize::try_from(align.bytes()).map_err(|_| EINVAL)?,
                window: fault::window(order),
                life,
            },
            GFP_KERNEL,
        )?;
        let mut live = Live {
            binding: binding.clone(),
            drain: Some(drain),
            cdev: None,
        };
        dax.c().dax().run();
        dax.set_binding(Some(binding));
        live.cdev = Some(Cdev::add::<Binding>(dax)?);
        devres::register(dev, live, GFP_KERNEL)
    }
}

/// The device's page map. Says which range is taken, as C does.
fn page_map(
    device: &Ref<DevDax>,
    dev: &Device<Bound>,
    entries: KVVec<Entry>,
    align: Align,
) -> Result<PageMap<DevDax>> {
    PageMap::new(device, entries, align).map_err(|e| match e {
        PageMapError::Taken { index, range } => {
            dev_warn!(
                dev,
                "mapping{}: {:#x}-{:#x} could not reserve range\n",
                index,
                range.start(),
                range.last()
            );
            EBUSY
        }
        PageMapError::Other(e) => e,
    })
}

/// A device that can be opened and mapped; dropping it ends that.
struct Live {
    binding: Arc<Binding>,
    drain: Option<Arc<Drain>>,
    cdev: Option<Cdev>,
}

impl Drop for Live {
    /// Sleeps, but for no pin.
    fn drop(&mut self) {
        self.binding.device().set_binding(None);
        drop(self.cdev.take());
        if let Some(drain) = self.drain.take() {
            drain.begin();
        }
    }
}
