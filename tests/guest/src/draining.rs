// SPDX-License-Identifier: GPL-2.0
//! Devices that drain: they were unbound while somebody held one of their pages.

use crate::child::{Child, End};
use crate::device::{Device, Driver};
use crate::errno::Errno;
use crate::kernel;
use crate::ktap::{check, Failure, Outcome};
use crate::region::Region;
use crate::sysfs::{self, Error};
use std::time::Duration;

/// Time that an unbind may take that waits for nobody.
const PROMPTLY: Duration = Duration::from_secs(5);
/// Time in which to see whether one waits.
const WHILE: Duration = Duration::from_secs(1);
/// Time that one may take that waited.
const AT_LAST: Duration = Duration::from_secs(20);

/// Unbinds a device of which `held` holds a page, which must not take long, and returns `held`.
/// If it takes long, this drops `held`, so that nothing waits for ever.
pub fn unbind<T>(device: &Device, held: T) -> Result<T, Failure> {
    let mut unbinding = start(|| device.unbind())?;
    let end = unbinding.wait_for(PROMPTLY * kernel::slowness());
    let promptly = check("unbind while a page is held", end, Some(End::Exit(0)));
    if let Err(failure) = promptly {
        drop(held);
        unbinding.wait_for(AT_LAST * kernel::slowness());
        return Err(failure);
    }
    check("driver", device.driver(), None)?;
    check("bind while it drains", try_bind(device), Err(Errno::EBUSY))?;
    Ok(held)
}

/// Waits until the device can be bound again. Leaves it unbound.
pub fn wait_until_over(device: &Device) -> Outcome {
    kernel::eventually("a device that has drained", || match try_bind(device) {
        Ok(()) => Ok(Some(())),
        Err(Errno::EBUSY) => Ok(None),
        Err(errno) => Err(Error::new(format!("bind {}", device.name()), errno)),
    })?;
    Ok(device.unbind()?)
}

/// Unbinds a region of which `held` holds a page, in a process that then is killed: the page map
/// drains without a region. Returns `held`.
pub fn abandon<T>(region: &Region, held: T) -> Result<T, Failure> {
    let mut unbinding = start(|| region.unbind())?;
    let waits = unbinding.wait_for(WHILE);
    let waits = check("unbind of the region while a page is held", waits, None);
    unbinding.kill();
    let end = unbinding.wait_for(PROMPTLY * kernel::slowness());
    let killed = check("killed", end, Some(End::Signal(libc::SIGKILL)));
    if let Err(failure) = waits.and(killed) {
        drop(held);
        unbinding.wait_for(AT_LAST * kernel::slowness());
        return Err(failure);
    }
    Ok(held)
}

/// Waits until the region is back and all of its memory is free.
pub fn wait_until_back(region: &Region) -> Outcome {
    kernel::eventually("a region that can be bound", || {
        if !region.is_bound() && region.bind().is_err() {
            return Ok(None);
        }
        let whole = region.create()?;
        whole.set_size(region.span().len())?;
        let bound = try_bind(&whole);
        region.destroy(&whole)?;
        Ok(bound.is_ok().then_some(()))
    })
    .map_err(Failure::from)
}

/// Starts `work` in a process that has none of this one's files. A copy of a file would hold the
/// page for as long as this process waits for it.
pub fn start(work: impl FnOnce() -> sysfs::Result<()>) -> Result<Child, Failure> {
    let child = Child::spawn(|| {
        // SAFETY: What this process inherited is used by nothing that it does from here on.
        unsafe { libc::close_range(3, libc::c_uint::MAX, 0) };
        i32::from(work().is_err())
    });
    child.map_err(|errno| Failure::Fail(format!("fork: {errno}")))
}

/// The kernel's answer to a bind.
fn try_bind(device: &Device) -> Result<(), Errno> {
    Driver::DeviceDax.try_write("bind", device.name()).map(drop)
}
