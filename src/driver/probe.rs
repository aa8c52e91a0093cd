// SPDX-License-Identifier: GPL-2.0

//! The `device_dax` driver: `/dev/daxX.Y`.
//!
//! C: device.c. Unbinding releases everything that the probe acquired, except for struct
//! pages that are still pinned, see [`Drain`].

use kernel::{
    device::{
        Bound,
        Device, //
    },
    devres,
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    }, //
};

use crate::{
    driver::{
        device::{
            Binding,
            DevDax, //
        },
        drain::Drain,
        fault, //
    },
    ranges::{
        layout::DevDaxRange,
        range::PgOff, //
    },
    sys::{
        cdev::Cdev,
        dev_dax::Snapshot,
        driver::{
            OwnDriver,
            Probe, //
        },
        pagemap::{
            self,
            PageMap,
            PageMapError, //
        }, //
    }, //
};

/// C: `device_dax_driver`.
pub(crate) static DRIVER: OwnDriver<DevDax> = OwnDriver::new::<DeviceDax>();

/// The `device_dax` driver.
pub(crate) struct DeviceDax;

impl Probe for DeviceDax {
    type Device = DevDax;

    /// C: `dev_dax_probe()`. Sleeps; the device lock is held.
    ///
    /// # Errors
    ///
    /// `EBUSY` if a part of the memory is claimed already, `EINVAL` if the CPU has no pages
    /// of the alignment, `ENOMEM`, and the errors of `devm_memremap_pages()` and
    /// `cdev_add()`.
    fn probe(dax: &DevDax, dev: &Device<Bound>) -> Result {
        let device = ARef::from(dax);
        let ranges = dax.snapshot()?;
        let align = ranges.align();
        // The owner of a static region chose it.
        if !pagemap::is_mappable(align.bytes()) {
            dev_warn!(dev, "this CPU has no pages of {:#x} bytes\n", align.bytes());
            return Err(EINVAL);
        }
        let end = ranges.entries().last().map_or(0, DevDaxRange::end);
        let size = PgOff::new(end).bytes().ok_or(EOVERFLOW)?;
        let map = page_map(dev, ranges)?;
        let liveness = map.liveness().clone();
        let order = liveness.order();
        let drain = Drain::new(&device, map)?;
        let binding = Arc::new(
            Binding::new(device, size, align, fault::window(order), liveness)?,
            GFP_KERNEL,
        )?;
        let mut live = Live {
            binding: binding.clone(),
            drain: Some(drain),
            cdev: None,
        };
        dax.set_binding(Some(binding));
        live.cdev = Some(Cdev::add::<Binding>(dax)?);
        devres::register(dev, live, GFP_KERNEL)
    }
}

/// Makes the page map of the device. Logs which range is claimed already, as C does.
fn page_map(dev: &Device<Bound>, ranges: Snapshot<DevDax>) -> Result<PageMap<DevDax>> {
    PageMap::new(dev, ranges).map_err(|e| match e {
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

/// A device that can be opened and mapped. Dropping this ends both.
struct Live {
    binding: Arc<Binding>,
    drain: Option<Arc<Drain>>,
    cdev: Option<Cdev>,
}

impl Drop for Live {
    /// Sleeps, but does not wait for pinned pages.
    fn drop(&mut self) {
        self.binding.device().set_binding(None);
        drop(self.cdev.take());
        if let Some(drain) = self.drain.take() {
            drain.begin();
        }
    }
}
