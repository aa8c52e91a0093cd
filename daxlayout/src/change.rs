// SPDX-License-Identifier: GPL-2.0
//! Changes a region step by step, and can undo the steps.

use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::device::{Device, Mapping, KMEM};
use crate::error::{Error, Result};
use crate::memory::{self, Memory};
use crate::region::Region;
use crate::span::Span;
use crate::sysfs::{self, Sysfs};

/// The longest write of `mapping`, in bytes. sysfs takes a page; some room is left.
const LONGEST_WRITE: usize = 4000;
/// The errno of `bind` if the driver does not match the device.
const ENODEV: i32 = 19;

/// A step that was done, with what its undoing needs.
enum Done {
    Created(String),
    Aligned { name: String, before: u64 },
    MemmapOnMemory { name: String, before: bool },
    Filled(String),
    Bound { name: String, driver: String },
}

/// A region that is being changed. Dropping it keeps the changes.
pub struct Change<'a> {
    sysfs: &'a Sysfs,
    region: &'a Region,
    done: Vec<Done>,
}

impl<'a> Change<'a> {
    pub fn new(sysfs: &'a Sysfs, region: &'a Region) -> Self {
        Self {
            sysfs,
            region,
            done: Vec::new(),
        }
    }

    /// Runs `steps`. If they fail, undoes what they did.
    pub fn all_or_nothing<T>(
        sysfs: &'a Sysfs,
        region: &'a Region,
        steps: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        let mut change = Self::new(sysfs, region);
        steps(&mut change).map_err(|cause| Error::HalfWay {
            cause: Box::new(cause),
            left: change.undo(),
        })
    }

    /// Creates a device without memory. Returns its name.
    pub fn create(&mut self) -> Result<String> {
        let create = self.region.attr("create");
        let before = sysfs::names(&self.region.path)?;
        sysfs::write(&create, "1")?;
        let name = sysfs::read(&create)?;
        if name.is_empty() || before.contains(&name) {
            return Err(Error::Unexpected(format!(
                "{}: shows {name:?}, which is not the name of a new device",
                create.display()
            )));
        }
        self.done.push(Done::Created(name.clone()));
        Ok(name)
    }

    /// Deletes a device without memory.
    pub fn delete(&mut self, name: &str) -> Result<()> {
        sysfs::write(&self.region.attr("delete"), name)?;
        self.done
            .retain(|done| !matches!(done, Done::Created(created) if created == name));
        Ok(())
    }

    /// Sets the alignment of a device without memory.
    pub fn align(&mut self, name: &str, align: u64) -> Result<()> {
        let attr = self.region.device_dir(name).join("align");
        let before = sysfs::number(&attr)?;
        if before != align {
            sysfs::write(&attr, &align.to_string())?;
            let name = name.to_owned();
            self.done.push(Done::Aligned { name, before });
        }
        Ok(())
    }

    /// Chooses whether kmem keeps the struct pages in the device's own memory.
    pub fn memmap_on_memory(&mut self, name: &str, wanted: bool) -> Result<()> {
        let attr = self.region.device_dir(name).join("memmap_on_memory");
        let before = sysfs::read(&attr)? != "0";
        if before != wanted {
            sysfs::write(&attr, if wanted { "1" } else { "0" })?;
            let name = name.to_owned();
            self.done.push(Done::MemmapOnMemory { name, before });
        }
        Ok(())
    }

    /// Gives ranges to a device that has none: in one write if the driver can do that, else one by
    /// one.
    pub fn fill(&mut self, name: &str, spans: &[Span]) -> Result<()> {
        let attr = self.region.device_dir(name).join("mapping");
        self.done.push(Done::Filled(name.to_owned()));
        let mut number = 0;
        for write in writes(spans) {
            let text: Vec<String> = write.iter().map(|&span| mapping_text(span)).collect();
            let refused = |number, span, source| Error::Range {
                device: name.to_owned(),
                number,
                count: spans.len(),
                span,
                source,
            };
            match (sysfs::try_write(&attr, &text.join(" ")), write) {
                (Ok(()), _) => {}
                (Err(source), [span]) => return Err(refused(number + 1, *span, source)),
                // Either the driver takes one range a write, or it refuses one of them. Single
                // writes work in the first case, and show which one in the second.
                (Err(_), _) => {
                    for (at, (&span, text)) in write.iter().zip(&text).enumerate() {
                        sysfs::try_write(&attr, text)
                            .map_err(|source| refused(number + at + 1, span, source))?;
                    }
                }
            }
            number += write.len();
        }
        Ok(())
    }

    /// Binds a device that has memory. Writes `new_id` only if the driver does not match the device:
    /// a write of `new_id` makes the driver bind every device that it matches.
    pub fn bind(&mut self, name: &str, driver: &str) -> Result<()> {
        let dir = driver_dir(self.sysfs, driver)?;
        let bound = || sysfs::link_name(&self.region.device_dir(name).join("driver"));
        self.done.push(Done::Bound {
            name: name.to_owned(),
            driver: driver.to_owned(),
        });
        match sysfs::write(&dir.join("bind"), name) {
            Err(Error::Write { source, .. }) if source.raw_os_error() == Some(ENODEV) => {
                sysfs::write(&dir.join("new_id"), name)?;
                // `new_id` does not report an error of the driver's probe; `bind` does.
                if bound().is_none() {
                    sysfs::write(&dir.join("bind"), name)?;
                }
            }
            bound => bound?,
        }
        match bound() {
            Some(found) if found == driver => Ok(()),
            found => Err(Error::Unexpected(format!(
                "{name}: driver {driver} did not bind it; its driver is {}",
                found.as_deref().unwrap_or("none")
            ))),
        }
    }

    /// Brings the memory blocks of a device of kmem into a state.
    pub fn set_memory(&mut self, mappings: &[Mapping], wanted: Memory) -> Result<()> {
        if memory::state(self.sysfs, mappings)? == wanted {
            return Ok(());
        }
        // No step to undo: unbinding takes the memory offline.
        memory::set(self.sysfs, mappings, wanted)
    }

    /// Undoes all steps, the last one first. Returns the errors of those that could not be undone.
    pub fn undo(mut self) -> Vec<Error> {
        let mut left = Vec::new();
        while let Some(done) = self.done.pop() {
            left.extend(self.undo_one(&done).err());
        }
        left
    }

    fn undo_one(&self, done: &Done) -> Result<()> {
        let attr = |name: &str, attr: &str| self.region.device_dir(name).join(attr);
        match done {
            Done::Created(name) => sysfs::write(&self.region.attr("delete"), name),
            Done::Aligned { name, before } => {
                sysfs::write(&attr(name, "align"), &before.to_string())
            }
            Done::MemmapOnMemory { name, before } => {
                let before = if *before { "1" } else { "0" };
                sysfs::write(&attr(name, "memmap_on_memory"), before)
            }
            Done::Filled(name) => sysfs::write(&attr(name, "size"), "0"),
            Done::Bound { name, driver } => self.unbind(name, driver),
        }
    }

    fn unbind(&self, name: &str, driver: &str) -> Result<()> {
        let dir = driver_dir(self.sysfs, driver)?;
        let device_dir = self.region.device_dir(name);
        if sysfs::link_name(&device_dir.join("driver")).is_some() {
            let device = Device::read(self.sysfs, &device_dir, &Default::default())?;
            if driver == KMEM {
                memory::set(self.sysfs, &device.mappings, Memory::Offline)?;
            }
            sysfs::write(&device_dir.join("driver/unbind"), name)?;
        }
        sysfs::write(&dir.join("remove_id"), name)
    }
}

/// The directory of a driver. Loads the driver's module if there is no such directory.
pub fn driver_dir(sysfs: &Sysfs, driver: &str) -> Result<PathBuf> {
    let dir = sysfs.path("bus/dax/drivers").join(driver);
    // Loading a module changes only the tree of this machine.
    if !dir.exists() && sysfs.iomem.is_some() {
        let _: io::Result<_> = Command::new("modprobe")
            .arg(driver)
            .stderr(Stdio::null())
            .status();
    }
    if dir.exists() {
        return Ok(dir);
    }
    Err(Error::NotFound(format!(
        "no driver {driver} on the dax bus: load its module"
    )))
}

/// A range as `mapping` takes it.
fn mapping_text(span: Span) -> String {
    format!("{:x}-{:x}", span.start, span.end)
}

/// The ranges, in groups that each fit into one write.
fn writes(spans: &[Span]) -> Vec<&[Span]> {
    let mut writes = Vec::new();
    let mut rest = spans;
    while !rest.is_empty() {
        let mut length = 0;
        let fits = rest.iter().take_while(|&&span| {
            length += mapping_text(span).len() + 1;
            length <= LONGEST_WRITE
        });
        let (write, later) = rest.split_at(fits.count().max(1));
        writes.push(write);
        rest = later;
    }
    writes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_ranges_are_few_writes() {
        let span = |at: u64| Span::at(at << 21, 1 << 21);
        let spans: Vec<Span> = (2048..3048).map(span).collect();
        let writes = writes(&spans);
        assert_eq!(writes.concat(), spans);
        assert_eq!(writes.len(), 5);
        for write in writes {
            let text: Vec<String> = write.iter().map(|&s| mapping_text(s)).collect();
            assert!(text.join(" ").len() <= LONGEST_WRITE);
        }
    }

    #[test]
    fn a_range_as_sysfs_takes_it() {
        let span = Span::at(1 << 32, 1 << 28);
        assert_eq!(mapping_text(span), "100000000-10fffffff");
    }
}
