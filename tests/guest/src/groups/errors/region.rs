// SPDX-License-Identifier: GPL-2.0
//! Bad writes to `create` and `delete`, and writes to read-only files.

use super::{each, refused, OnC, Row, NOT_NUMBERS};
use crate::device::Driver;
use crate::errno::Errno;
use crate::ktap::{check, Outcome, Test};
use crate::region::Region;
use crate::test;

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(create_malformed_gives_einval),
    test!(create_of_another_number_gives_einval),
    test!(create_beyond_int_gives_erange),
    test!(create_in_full_region_gives_enospc),
    test!(delete_of_unknown_name_gives_enxio),
    test!(delete_of_first_device_gives_ebusy),
    test!(delete_of_sized_device_gives_ebusy),
    test!(delete_of_bound_device_gives_ebusy),
    test!(read_only_attributes_refuse_to_open_for_writing),
];

fn create_malformed_gives_einval(region: &Region) -> Outcome {
    refused(region, |f| {
        each(&f.region.attr("create"), NOT_NUMBERS, Errno::EINVAL)
    })
}

fn create_of_another_number_gives_einval(region: &Region) -> Outcome {
    let texts = ["0", "2", "-1", "11", "0x2", "2147483647", "-2147483648"];
    refused(region, |f| {
        each(&f.region.attr("create"), &texts, Errno::EINVAL)
    })
}

fn create_beyond_int_gives_erange(region: &Region) -> Outcome {
    let texts = [
        "2147483648",
        "4294967297",
        "18446744073709551616",
        "-2147483649",
    ];
    refused(region, |f| {
        each(&f.region.attr("create"), &texts, Errno::ERANGE)
    })
}

fn create_in_full_region_gives_enospc(region: &Region) -> Outcome {
    let first = region.first_device()?;
    first.set_size(region.span().len())?;
    super::refuses(
        region,
        &region.attr("create"),
        "1",
        Errno::ENOSPC,
        OnC::Same,
    )?;
    check("devices", region.devices()?, vec![first])
}

fn delete_of_unknown_name_gives_enxio(region: &Region) -> Outcome {
    let texts = [
        "dax0.99",
        "dax1.0",
        "dax0",
        "dax0.",
        "dax",
        "foo",
        "\n",
        "\0",
        " dax0.2",
        "dax0.2 ",
        "dax0.2x",
        "dax0.02",
        "DAX0.2",
        "dax0.2\n\n",
        "mapping0",
        "dax_region",
        "../dax0.2",
        "dax0.-1",
        "dax0.4294967298",
    ];
    refused(region, |f| {
        each(&f.region.attr("delete"), &texts, Errno::ENXIO)
    })
}

fn delete_of_first_device_gives_ebusy(region: &Region) -> Outcome {
    refused(region, |f| {
        vec![Row::new(
            f.region.attr("delete"),
            f.empty.name(),
            Errno::EBUSY,
        )]
    })
}

fn delete_of_sized_device_gives_ebusy(region: &Region) -> Outcome {
    refused(region, |f| {
        vec![Row::new(
            f.region.attr("delete"),
            f.loose.name(),
            Errno::EBUSY,
        )]
    })
}

fn delete_of_bound_device_gives_ebusy(region: &Region) -> Outcome {
    let first = region.first_device()?;
    first.add_mapping(region.units(16, 1))?;
    first.bind(Driver::DeviceDax)?;
    refused(region, |f| {
        vec![
            Row::new(f.region.attr("delete"), f.bound.name(), Errno::EBUSY),
            Row::new(f.region.attr("delete"), f.empty.name(), Errno::EBUSY),
        ]
    })
}

fn read_only_attributes_refuse_to_open_for_writing(region: &Region) -> Outcome {
    refused(region, |f| {
        let of_region = ["id", "size", "align", "available_size", "seed"].map(|a| f.region.attr(a));
        let of_device = [
            "modalias",
            "resource",
            "numa_node",
            "mapping0/start",
            "mapping0/end",
            "mapping0/page_offset",
        ]
        .map(|a| f.loose.attr(a));
        of_region
            .into_iter()
            .chain(of_device)
            .map(|path| Row::new(path, "0", Errno::EACCES))
            .collect()
    })
}
