// SPDX-License-Identifier: GPL-2.0
//! A process of a stress run: a few threads that do one operation after the other.

use super::files::{Files, Trouble};
use super::operation::Kind;
use super::scoreboard::{End, Phase, Scoreboard};
use crate::device::{mappings_text, Device, Driver};
use crate::errno::Errno;
use crate::inject::Injector;
use crate::race::write;
use crate::random::{self, weighted};
use crate::region::Region;
use crate::sysfs;
use crate::units::{GIB, MIB, PAGE, UNIT};
use fastrand::Rng;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use std::thread;
use std::time::Duration;

/// The approximate number of devices at most: threads use device numbers below it.
const DEVICES: u64 = 10;
/// The number of units from which threads choose the addresses of ranges, if a region has as many:
/// few, so that the ranges meet.
const WINDOW: u64 = 64;
/// One in this number of operations has an allocation fail.
const STARVED_ONCE_IN: u64 = 6;

/// Runs threads `first` to `first + count` of the scoreboard until told to stop.
pub fn process(
    region: &Region,
    scoreboard: &Scoreboard,
    first: usize,
    count: usize,
    seed: u64,
) -> i32 {
    // A worker must not outlive the process that would stop it.
    let _ = set_pdeathsig(Signal::SIGKILL);
    thread::scope(|scope| {
        for id in first..first + count {
            scope.spawn(move || {
                let mut worker = Worker {
                    region,
                    scoreboard,
                    id,
                    random: random::of_sequence(seed, id as u64),
                    injector: Injector::new().ok().flatten(),
                    files: Files::new(region),
                };
                worker.run();
            });
        }
    });
    0
}

/// A thread of the process.
struct Worker<'a> {
    region: &'a Region,
    scoreboard: &'a Scoreboard,
    id: usize,
    random: Rng,
    injector: Option<Injector>,
    files: Files<'a>,
}

impl Worker<'_> {
    /// Does one operation after the other.
    fn run(&mut self) {
        let weights = Kind::ALL.map(Kind::weight);
        self.scoreboard.set_idle(self.id);
        loop {
            match self.scoreboard.phase() {
                Phase::Run => {
                    let kind = Kind::ALL[weighted(&mut self.random, &weights)];
                    self.step(kind);
                }
                Phase::Pause => {
                    self.scoreboard.set_parked(self.id);
                    while self.scoreboard.phase() == Phase::Pause {
                        thread::sleep(Duration::from_millis(2));
                    }
                    self.scoreboard.set_idle(self.id);
                }
                Phase::Stop => break,
            }
        }
        self.scoreboard.set_parked(self.id);
    }

    /// Chooses an operation and does it.
    fn step(&mut self, kind: Kind) {
        let nth = match kind.may_starve() {
            Some(first) if self.random.u64(..STARVED_ONCE_IN) == 0 => 1 + self.random.u64(..first),
            _ => 0,
        };
        self.scoreboard.begin(self.id, kind);
        let (result, starved) = self.perform(kind, nth);
        let end = match result {
            Ok(()) => End::Done,
            Err(Trouble::Refused(Errno::ENOMEM)) if starved => End::Starved,
            Err(Trouble::Refused(errno)) if kind.may_end_in(errno) => End::Refused,
            Err(Trouble::Refused(errno)) => {
                self.violation(&format!("{kind:?} ended in {errno}"));
                End::Refused
            }
            Err(Trouble::Violation(what)) => {
                self.violation(&format!("{kind:?}: {what}"));
                End::Refused
            }
        };
        self.scoreboard.end(self.id, kind, end);
    }

    /// Reports a broken rule.
    fn violation(&self, what: &str) {
        println!("# thread {}: {what}", self.id);
        self.scoreboard.add_violation();
    }

    /// Does an operation. Lets its allocation number `nth` fail, unless that is 0. Returns whether
    /// it has failed.
    fn perform(&mut self, kind: Kind, nth: u64) -> (Result<(), Trouble>, bool) {
        match &self.injector {
            Some(injector) if nth > 0 => {
                if let Err(errno) = injector.arm(nth) {
                    return (Err(Trouble::Refused(errno)), false);
                }
            }
            _ => return (self.act(kind), false),
        }
        let result = self.act(kind);
        let starved = self.injector.as_ref().map(|i| i.disarm() == Ok(true));
        (result, starved.unwrap_or(false))
    }

    /// Does an operation.
    fn act(&mut self, kind: Kind) -> Result<(), Trouble> {
        let random = &mut self.random;
        let region = self.region;
        let device = Device::named(format!("dax{}.{}", region.id(), random.u64(..DEVICES)));
        match kind {
            Kind::Create => {
                // The lowest free number is given away first.
                let last = Device::named(format!("dax{}.{DEVICES}", region.id()));
                if !last.exists() {
                    write(&region.attr("create"), "1")?;
                }
            }
            Kind::Delete => write(&region.attr("delete"), device.name())?,
            Kind::Resize => {
                let bytes = match random.u64(..8) {
                    0 | 1 => 0,
                    2 => 128 * MIB + random.u64(..64) * UNIT,
                    3 => GIB,
                    _ => random.u64(..16) * UNIT,
                };
                write(&device.attr("size"), &bytes.to_string())?;
            }
            Kind::Map => {
                let window = WINDOW.min(region.unit_count() - 3);
                let mut span = || region.units(random.u64(..window), random.u64(1..=4));
                let spans = [span(), span(), span()];
                let count = random.usize(1..=spans.len());
                write(
                    &device.attr("mapping"),
                    &mappings_text(&spans[..count], " "),
                )?;
            }
            Kind::Align => {
                let align = [PAGE, PAGE, UNIT, UNIT, UNIT, GIB][random.usize(..6)];
                write(&device.attr("align"), &align.to_string())?;
            }
            Kind::Bind => write(&Driver::DeviceDax.attr("bind"), device.name())?,
            Kind::Unbind => write(&device.attr("driver/unbind"), device.name())?,
            Kind::Rebind => {
                let ended = write(&Region::driver_attr("unbind"), region.hmem());
                write(&Region::driver_attr("bind"), region.hmem())?;
                ended?;
            }
            Kind::NewId => write(&Driver::DeviceDax.attr("new_id"), device.name())?,
            Kind::RemoveId => write(&Driver::DeviceDax.attr("remove_id"), device.name())?,
            Kind::Kmem => {
                // Binds it, if it has whole blocks of memory.
                write(&Driver::Kmem.attr("new_id"), device.name())?;
                write(&Driver::Kmem.attr("remove_id"), device.name())?;
            }
            Kind::Open => self.files.open(&device, random)?,
            Kind::Touch => self.files.touch(random)?,
            Kind::Split => self.files.split(random)?,
            Kind::Fork => self.files.fork(random)?,
            Kind::Pin => self.files.pin(random)?,
            Kind::Look => look(region, &device)?,
        }
        Ok(())
    }
}

/// Reads all files, and checks the rules that hold at any time.
fn look(region: &Region, device: &Device) -> Result<(), Trouble> {
    let number = |result: sysfs::Result<u64>| result.map_err(|e| Trouble::Refused(e.errno));
    let all = region.span();
    let available = number(region.available())?;
    if available > all.len() || available % UNIT != 0 {
        return Err(Trouble::Violation(format!("available: {available:#x}")));
    }
    for attr in ["seed", "create", "size", "id"] {
        sysfs::try_read(&region.attr(attr))?;
    }
    for attr in ["align", "modalias", "numa_node", "target_node", "uevent"] {
        sysfs::try_read(&device.attr(attr))?;
    }
    let resource = number(device.resource())?;
    if resource < all.start || resource > all.end || resource % UNIT != 0 {
        return Err(Trouble::Violation(format!("resource: {resource:#x}")));
    }
    let size = number(device.size())?;
    if size > all.len() || size % UNIT != 0 {
        return Err(Trouble::Violation(format!("size: {size:#x}")));
    }
    for range in device.ranges().map_err(|e| Trouble::Refused(e.errno))? {
        if range.span.start < all.start || range.span.end > all.end {
            return Err(Trouble::Violation(format!("range: {range:?}")));
        }
    }
    Ok(())
}
