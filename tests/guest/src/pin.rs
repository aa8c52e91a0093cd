// SPDX-License-Identifier: GPL-2.0
//! Pages of a device that somebody holds, and devices that drain because of that.
//!
//! A device that is unbound while one of its pages is held *drains*: it has no driver, and nobody
//! gets its memory until the page is given back. A test that waits for a drain must be the only one
//! with the descriptors that hold pages. If a child process had them too, the test would wait for
//! itself.

use crate::child::{Child, End};
use crate::compare::log::Log;
use crate::device::{mapping_text, Device, Driver};
use crate::errno::Errno;
use crate::invariants::check_invariants;
use crate::kernel;
use crate::ktap::{check, note, Failure, Outcome};
use crate::mmap::{self, Map};
use crate::pipe::Pipe;
use crate::region::Region;
use crate::sysfs;
use crate::trap::Signal;
use crate::units::{holes, Span, PAGE, UNIT};
use std::time::Duration;

/// Time that a task is watched to see whether it waits.
pub const WHILE: Duration = Duration::from_secs(1);
/// Time that a task may take that waits for nobody.
pub const SOON: Duration = Duration::from_secs(10);

/// Names a failed system call.
pub fn failed(what: &str) -> impl Fn(Errno) -> Failure + '_ {
    move |errno| Failure::Fail(format!("{what}: {errno}"))
}

/// Puts a page of a mapping into a pipe, which then holds it.
pub fn hold(map: &Map, offset: u64) -> Result<Pipe, Failure> {
    let pipe = Pipe::new().map_err(failed("pipe"))?;
    check("store", map.store(offset, offset), Ok(()))?;
    check("vmsplice", pipe.splice_from(map, offset, 8), Ok(8))?;
    Ok(pipe)
}

/// Starts `work` in a process of its own, which holds no page.
pub fn start<T>(work: impl FnOnce() -> sysfs::Result<T>) -> Result<Child, Failure> {
    let child = Child::spawn(|| {
        // A copy of the descriptor would hold the page, and the process wait for itself.
        // SAFETY: What this process inherited is used by nothing that it does from here on.
        unsafe { libc::close_range(3, libc::c_uint::MAX, 0) };
        match work() {
            Ok(_) => 0,
            Err(error) => {
                note(error);
                1
            }
        }
    });
    child.map_err(failed("fork"))
}

/// The end of `work`, which should wait for nobody; `None` if it waits nevertheless.
pub fn end_of<T>(work: impl FnOnce() -> sysfs::Result<T>) -> Result<Option<End>, Failure> {
    Ok(start(work)?.wait_for(SOON * kernel::slowness()))
}

/// Runs `work`, and checks that it waits for nobody and succeeds.
pub fn at_once<T>(what: &str, work: impl FnOnce() -> sysfs::Result<T>) -> Outcome {
    let end = end_of(work)?;
    check(
        format!("{what} while a page is held"),
        end,
        Some(End::Exit(0)),
    )
}

/// Checks that the child still waits.
pub fn check_waits(child: &mut Child) -> Outcome {
    check("while a page is held", child.wait_for(WHILE), None)
}

/// Checks that the child waits no longer.
pub fn check_ends(child: &mut Child) -> Outcome {
    let end = child.wait_for(SOON * kernel::slowness());
    check("once no page is held", end, Some(End::Exit(0)))
}

/// Waits until the log says that the unbind of a region waits for pages, and checks that the child
/// goes on waiting. Returns the lines of the log until then.
pub fn check_region_waits(
    log: &mut Log,
    region: &Region,
    child: &mut Child,
) -> Result<Vec<String>, Failure> {
    check_owner_waits(log, &format!("hmem {}", region.hmem()), child)
}

/// The same for any owner of a region: the names of its driver and device.
pub fn check_owner_waits(
    log: &mut Log,
    owner: &str,
    child: &mut Child,
) -> Result<Vec<String>, Failure> {
    let said = format!("{owner}: waits for pinned pages");
    let mut lines = Vec::new();
    kernel::eventually("a line that the region waits", || {
        lines.extend(log.lines()?);
        Ok(lines.iter().any(|line| line.contains(&said)).then_some(()))
    })?;
    check_waits(child)?;
    Ok(lines)
}

/// Kills a child, and checks that it ends of that.
pub fn check_killed(child: &mut Child) -> Outcome {
    child.kill();
    let end = child.wait_for(SOON * kernel::slowness());
    check("killed", end, Some(End::Signal(libc::SIGKILL)))
}

/// Waits until a child has written a word into a pipe.
pub fn hear(child: &mut Child, pipe: &Pipe) -> Outcome {
    let heard = kernel::eventually("a word of a child", || match pipe.read_word() {
        Err(_) if child.poll().is_none() => Ok(None),
        heard => Ok(Some(heard.is_ok())),
    })?;
    check("a child that holds a page", heard, true)
}

/// Unbinds a device while somebody holds one of its pages. The unbind waits for nobody. Then the
/// device drains: no driver gets it, and its node cannot be opened.
pub fn unbind(device: &Device) -> Outcome {
    at_once("unbind", || device.unbind())?;
    check("driver", device.driver(), None)?;
    let bound = Driver::DeviceDax.try_write("bind", device.name()).map(drop);
    check("bind while it drains", bound, Err(Errno::EBUSY))?;
    let opened = mmap::try_open(&device.node()).map(drop);
    check("open", opened, Err(Errno::ENXIO))
}

/// Checks that a mapping of a device that drains is dead, like that of any unbound device.
pub fn check_dead(map: &Map) -> Outcome {
    check("load", map.load(0), Err(Signal::BUS))
}

/// Checks that no driver gets a device that drains.
pub fn check_unbindable(device: &Device) -> Outcome {
    for driver in Driver::ALL.into_iter().filter(|driver| driver.present()) {
        // If the driver does not get the device, that is no error of the write of the id.
        let known = driver.try_write("new_id", device.name());
        check("new_id", known, Ok(device.name().len()))?;
        let what = format!("bind to {}", driver.name());
        check(&what, device.driver(), None)?;
        let bound = driver.try_write("bind", device.name());
        check(what, bound, Err(Errno::EBUSY))?;
        let forgotten = driver.try_write("remove_id", device.name());
        check("remove_id", forgotten, Ok(device.name().len()))?;
    }
    Ok(())
}

/// Checks that nobody gets a draining device's memory, changes the device, or deletes it.
pub fn check_draining(region: &Region, device: &Device) -> Outcome {
    check_unbindable(device)?;
    let what_it_is = || Ok::<_, Failure>((device.ranges()?, device.align()?));
    let before = what_it_is()?;
    let (size, step) = (device.size()?, before.1.max(UNIT));
    let sizes = [0, size - step, size, size + step].map(|size| size.to_string());
    let writes = sizes.iter().map(|size| ("size", size.as_str()));
    let aligns = [PAGE, UNIT].map(|align| align.to_string());
    let aligns = aligns.iter().map(|align| ("align", align.as_str()));
    let free = a_free_span(region, step)?.map(mapping_text);
    let mapping = free.iter().map(|free| ("mapping", free.as_str()));
    for (attr, text) in writes.chain(aligns).chain(mapping) {
        let written = device.try_write(attr, text);
        check(format!("{text} to {attr}"), written, Err(Errno::EBUSY))?;
    }
    let deleted = region.try_write("delete", device.name());
    check("delete", deleted, Err(Errno::EBUSY))?;
    check("what it is", what_it_is()?, before)?;
    check_invariants(region)
}

/// A part of a hole: `step` bytes, at a multiple of `step`.
fn a_free_span(region: &Region, step: u64) -> Result<Option<Span>, Failure> {
    let mut taken = Vec::new();
    for device in region.devices()? {
        taken.extend(device.spans()?);
    }
    let holes = holes(region.span(), &taken);
    let aligned = |hole: &Span| {
        let span = Span::at(hole.start.next_multiple_of(step), step);
        (span.end <= hole.end).then_some(span)
    };
    Ok(holes.iter().find_map(aligned))
}

/// Waits until a dynamic device drains no longer.
pub fn drained(device: &Device) -> sysfs::Result<()> {
    let align = device.align()?.to_string();
    let what = format!("an end of the draining of {}", device.name());
    kernel::eventually(&what, || match device.try_write("align", &align) {
        Err(Errno::EBUSY) => Ok(None),
        written => written
            .map(|_| Some(()))
            .map_err(|errno| sysfs::Error::new(format!("align of {}", device.name()), errno)),
    })
}

/// Waits until a device can be bound to device_dax.
pub fn bound_again(device: &Device) -> sysfs::Result<()> {
    let what = format!("a moment at which {} can be bound", device.name());
    kernel::eventually(&what, || match device.bind(Driver::DeviceDax) {
        Err(error) if error.errno == Errno::EBUSY => Ok(None),
        bound => bound.map(Some),
    })
}

/// Waits until the log says that a device has drained: the one way to know once its region is gone.
pub fn said_drained(log: &mut Log) -> sysfs::Result<()> {
    kernel::eventually("a line that it has drained", || {
        let lines = log.lines()?;
        let said = lines.iter().any(|line| line.contains(": drained after "));
        Ok(said.then_some(()))
    })
}

/// Everything that can be done in a region, from an empty device to no device.
pub fn use_region(region: &Region) -> Outcome {
    let device = region.create()?;
    device.set_align(PAGE)?;
    device.set_size(2 * UNIT)?;
    device.bind(Driver::DeviceDax)?;
    let map = Map::whole(&device)?;
    check("store", map.store(UNIT, 5), Ok(()))?;
    check("load", map.load(UNIT), Ok(5))?;
    drop(map);
    region.available()?;
    region.seed()?;
    device.unbind()?;
    device.set_size(UNIT)?;
    region.destroy(&device).map_err(Failure::from)
}
