// SPDX-License-Identifier: GPL-2.0

//! The attributes of regions and devices: name, mode, visibility, format.
//!
//! Names, modes and formats are ABI, see Documentation/ABI/testing/sysfs-bus-dax of the
//! kernel. The methods in `region.rs` and `device.rs` document the errors of a store. This
//! file adds `EINVAL` for text that cannot be parsed, and `ERANGE` for a number that does
//! not fit.

use kernel::{
    fmt::Write,
    prelude::*, //
};

use crate::{
    driver::{
        device::DevDax,
        region::Region, //
    },
    ranges::{
        parse::{
            parse_device_name,
            split_range,
            split_ranges,
            DeviceName, //
        },
        range::{
            Align,
            PhysRange, //
        }, //
    },
    sys::{
        device::{
            DeviceType,
            Typed, //
        },
        drvdata::Stored,
        log,
        number::{
            parse_i32,
            parse_part,
            parse_u64,
            Base, //
        },
        object::numa_node,
        pagemap,
        sysfs::{
            Attribute,
            AttributeList,
            Group,
            Groups,
            Text, //
        }, //
    }, //
};

// Regions. C: `dax_region_attribute_group`.

type RegionAttribute = Attribute<Stored<Region>>;

static AVAILABLE_SIZE: RegionAttribute =
    Attribute::ro(c"available_size", 0o444, |region: &Stored<Region>, text| {
        Ok(writeln!(text, "{}", region.available())?)
    })
    .mode_of(|region: &Stored<Region>| dynamic_only(region, 0o444));

static REGION_SIZE: RegionAttribute =
    Attribute::ro(c"size", 0o444, |region: &Stored<Region>, text| {
        Ok(writeln!(text, "{}", region.span().size())?)
    });

static REGION_ALIGN: RegionAttribute =
    Attribute::ro(c"align", 0o400, |region: &Stored<Region>, text| {
        Ok(writeln!(text, "{}", region.align().bytes())?)
    });

/// A read shows the device that the user created last.
static CREATE: RegionAttribute = Attribute::rw(
    c"create",
    0o644,
    |region: &Stored<Region>, text| show_name(region, region.youngest(), text),
    |region: &Stored<Region>, text| match parse_i32(text, Base::Auto)? {
        1 => region.arc().create(),
        _ => Err(EINVAL),
    },
)
.mode_of(|region: &Stored<Region>| dynamic_only(region, 0o644));

static SEED: RegionAttribute = Attribute::ro(c"seed", 0o444, |region: &Stored<Region>, text| {
    show_name(region, region.seed(), text)
})
.mode_of(|region: &Stored<Region>| dynamic_only(region, 0o444));

/// A write of text that is not the name of a device of this region fails with `ENXIO`.
static DELETE: RegionAttribute = Attribute::wo(
    c"delete",
    0o200,
    |region: &Stored<Region>, text| match parse_device_name(text.to_bytes()) {
        Some(name) if name.region == region.id() => region.delete(name.id),
        _ => Err(ENXIO),
    },
)
.mode_of(|region: &Stored<Region>| dynamic_only(region, 0o200));

/// Absent in the C driver.
static ZERO_ON_ALLOC: RegionAttribute = Attribute::rw(
    c"zero_on_alloc",
    0o644,
    |region: &Stored<Region>, text| Ok(writeln!(text, "{}", u8::from(region.zero_on_alloc()))?),
    |region: &Stored<Region>, text| {
        region.set_zero_on_alloc(kernel::str::kstrtobool(text)?);
        Ok(())
    },
)
.mode_of(|region: &Stored<Region>| dynamic_only(region, 0o644));

static ID: RegionAttribute = Attribute::ro(c"id", 0o444, |region: &Stored<Region>, text| {
    Ok(writeln!(text, "{}", region.id())?)
});

/// Hides an attribute in a static region, where only the owner creates devices.
fn dynamic_only(region: &Region, mode: u16) -> u16 {
    if region.is_static() {
        0
    } else {
        mode
    }
}

/// Writes the name of the device with the given id; for `None`, an empty line.
fn show_name(region: &Region, id: Option<i32>, text: &mut Text<'_>) -> Result {
    if let Some(id) = id {
        let name = DeviceName {
            region: region.id(),
            id,
        };
        write!(text, "{name}")?;
    }
    Ok(writeln!(text)?)
}

static REGION_ATTRIBUTES: AttributeList<RegionAttribute, 8> = AttributeList::new([
    &AVAILABLE_SIZE,
    &REGION_SIZE,
    &REGION_ALIGN,
    &CREATE,
    &SEED,
    &DELETE,
    &ZERO_ON_ALLOC,
    &ID,
]);
static REGION_GROUP: Group<RegionAttribute> = Group::new(Some(c"dax_region"), &REGION_ATTRIBUTES);

/// The directory `dax_region` of a region's parent.
pub(crate) static REGION_GROUPS: Groups<RegionAttribute> = Groups::new(&REGION_GROUP);

// Devices. C: `dev_dax_attribute_group`.

static MODALIAS: Attribute<DevDax> = Attribute::ro(c"modalias", 0o444, |_: &DevDax, text| {
    Ok(writeln!(text, "dax:t0")?)
});

static SIZE: Attribute<DevDax> = Attribute::rw(
    c"size",
    0o644,
    |device: &DevDax, text| Ok(writeln!(text, "{}", device.size()?)?),
    |device: &DevDax, text| device.set_size(parse_u64(text, Base::Auto)?),
)
.mode_of(|device: &DevDax| static_is_readable(device, 0o644));

/// Takes `start-end`, both hexadecimal, the end inclusive; or several of these, each
/// separated from the next by a space or a newline, which are appended in that order, all or
/// none.
static MAPPING: Attribute<DevDax> = Attribute::wo(c"mapping", 0o200, |device: &DevDax, text| {
    let text = text.to_bytes();
    let refused = |text: &[u8]| log::refused_text(device, text.trim_ascii_end(), c"is no range");
    // One range is parsed as in C, which takes a newline behind either number.
    let error = match parse_range(text) {
        Ok(range) => return device.add_ranges(&[range]),
        Err(e) => e,
    };
    let Some(several) = split_ranges(text) else {
        refused(text);
        return Err(error);
    };
    let mut ranges = KVVec::new();
    for text in several {
        let range = parse_range(text).inspect_err(|_| refused(text))?;
        ranges.push(range, GFP_KERNEL)?;
    }
    device.add_ranges(&ranges)
})
.mode_of(|device: &DevDax| dynamic_only(device.region(), 0o200));

/// Parses `start-end`. C: `range_parse()`.
fn parse_range(text: &[u8]) -> Result<PhysRange> {
    let (start, last) = split_range(text).ok_or(EINVAL)?;
    let (start, last) = (parse_part(start, Base::Hex)?, parse_part(last, Base::Hex)?);
    if last < start {
        return Err(EINVAL);
    }
    // The whole 64-bit address space is not a `PhysRange`, and is within no region.
    PhysRange::new(start, last).ok_or(ERANGE)
}

static TARGET_NODE: Attribute<DevDax> =
    Attribute::ro(c"target_node", 0o444, |device: &DevDax, text| {
        Ok(writeln!(text, "{}", device.region().target_node())?)
    })
    .mode_of(|device: &DevDax| match device.region().target_node() {
        ..=-1 => 0,
        _ => 0o444,
    });

static ALIGN: Attribute<DevDax> = Attribute::rw(
    c"align",
    0o644,
    |device: &DevDax, text| Ok(writeln!(text, "{}", device.align()?.bytes())?),
    |device: &DevDax, text| {
        let bytes = parse_u64(text, Base::Auto)?;
        if !pagemap::is_mappable(bytes) {
            return Err(EINVAL);
        }
        device.set_align(Align::new(bytes).ok_or(EINVAL)?)
    },
)
.mode_of(|device: &DevDax| static_is_readable(device, 0o644));

static RESOURCE: Attribute<DevDax> = Attribute::ro(c"resource", 0o400, |device: &DevDax, text| {
    Ok(writeln!(text, "{:#x}", device.resource()?)?)
});

static NUMA_NODE: Attribute<DevDax> =
    Attribute::ro(c"numa_node", 0o444, |device: &DevDax, text| {
        Ok(writeln!(text, "{}", numa_node(device))?)
    })
    .mode_of(|_| if cfg!(CONFIG_NUMA) { 0o444 } else { 0 });

static MEMMAP_ON_MEMORY: Attribute<DevDax> = Attribute::rw(
    c"memmap_on_memory",
    0o644,
    |device: &DevDax, text| {
        Ok(writeln!(
            text,
            "{}",
            u8::from(device.c().memmap_on_memory())
        )?)
    },
    |device: &DevDax, text| device.set_memmap_on_memory(kernel::str::kstrtobool(text)?),
);

/// Makes an attribute read-only in a static region.
fn static_is_readable(device: &DevDax, mode: u16) -> u16 {
    if device.region().is_static() {
        0o444
    } else {
        mode
    }
}

static DEVICE_ATTRIBUTES: AttributeList<Attribute<DevDax>, 8> = AttributeList::new([
    &MODALIAS,
    &SIZE,
    &MAPPING,
    &TARGET_NODE,
    &ALIGN,
    &RESOURCE,
    &NUMA_NODE,
    &MEMMAP_ON_MEMORY,
]);
static DEVICE_GROUP: Group<Attribute<DevDax>> = Group::new(None, &DEVICE_ATTRIBUTES);
static DEVICE_GROUPS: Groups<Attribute<DevDax>> = Groups::new(&DEVICE_GROUP);

/// C: `dev_dax_type`.
static DEVICE_TYPE: DeviceType<DevDax> = DeviceType::new(&DEVICE_GROUPS);

impl Typed for DevDax {
    fn device_type() -> &'static DeviceType<Self> {
        &DEVICE_TYPE
    }
}
