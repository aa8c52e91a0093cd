// SPDX-License-Identifier: GPL-2.0

//! The `mappingN` children of a device, each of which shows one range to user space.
//!
//! A mapping has its own copy of the range, so its attributes need no lock. That matters,
//! because a task that shrinks the device waits for their readers while it holds the ranges
//! lock.

use kernel::{
    device::Device,
    fmt::Write,
    prelude::*,
    sync::atomic::{
        ordering::Relaxed,
        Atomic, //
    }, //
};

use crate::{
    ranges::range::{
        PgOff,
        PhysRange, //
    },
    sys::{
        device::{
            DeviceType,
            Registration,
            Typed,
            WithDevice, //
        },
        sysfs::{
            Attribute,
            AttributeList,
            Group,
            Groups,
            Text, //
        }, //
    }, //
};

/// One range of a device in sysfs. C: `struct dax_mapping`.
pub(crate) type Mapping = WithDevice<MappedRange>;

/// The range that a mapping shows.
pub(crate) struct MappedRange {
    start: u64,
    /// Last address. Changes when the range is extended or cut.
    last: Atomic<u64>,
    pgoff: PgOff,
}

impl Mapping {
    /// Registers `mapping<index>` of `parent`. May sleep. The caller holds the ranges lock
    /// of the parent and no other lock. C: `devm_register_dax_mapping()`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, and the errors of `device_add()`.
    pub(crate) fn register(
        parent: &Device,
        index: usize,
        range: PhysRange,
        pgoff: PgOff,
    ) -> Result<Registration<Self>> {
        let mut mapping = Self::make(MappedRange {
            start: range.start(),
            last: Atomic::new(range.last()),
            pgoff,
        })?;
        mapping.set_mapping_name(index)?;
        // There is nothing to suspend, and the files of `power` are most of what a mapping
        // costs: each is made and removed under a lock of all of sysfs.
        mapping.set_pm_not_required();
        mapping.register(parent)
    }

    /// Sets the end to that of `range`, after the range of the device was extended or cut.
    pub(crate) fn set_end(&self, range: PhysRange) {
        self.last.store(range.last(), Relaxed);
    }

    /// C: `start_show()`.
    fn show_start(&self, text: &mut Text<'_>) -> Result {
        Ok(writeln!(text, "{:#x}", self.start)?)
    }

    /// C: `end_show()`.
    fn show_end(&self, text: &mut Text<'_>) -> Result {
        Ok(writeln!(text, "{:#x}", self.last.load(Relaxed))?)
    }

    /// C: `pgoff_show()`.
    fn show_page_offset(&self, text: &mut Text<'_>) -> Result {
        Ok(writeln!(text, "{:#x}", self.pgoff.pages())?)
    }
}

static START: Attribute<Mapping> = Attribute::ro(c"start", 0o400, Mapping::show_start);
static END: Attribute<Mapping> = Attribute::ro(c"end", 0o400, Mapping::show_end);
static PAGE_OFFSET: Attribute<Mapping> =
    Attribute::ro(c"page_offset", 0o400, Mapping::show_page_offset);

static ATTRIBUTES: AttributeList<Attribute<Mapping>, 3> =
    AttributeList::new([&START, &END, &PAGE_OFFSET]);
static GROUP: Group<Attribute<Mapping>> = Group::new(None, &ATTRIBUTES);
static GROUPS: Groups<Attribute<Mapping>> = Groups::new(&GROUP);

/// C: `dax_mapping_type`.
static TYPE: DeviceType<Mapping> = DeviceType::new(&GROUPS);

impl Typed for Mapping {
    fn device_type() -> &'static DeviceType<Self> {
        &TYPE
    }
}
