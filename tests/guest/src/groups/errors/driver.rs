// SPDX-License-Identifier: GPL-2.0
//! Bad writes to `new_id`, `remove_id`, `bind`, `unbind` and `memmap_on_memory`.

use super::{each, refused, Row};
use crate::device::Driver;
use crate::errno::Errno;
use crate::ktap::{Outcome, Test};
use crate::region::Region;
use crate::test;

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(new_id_malformed_gives_einval),
    test!(remove_id_malformed_gives_einval),
    test!(bind_of_device_without_size_gives_enxio),
    test!(bind_of_bound_device_gives_ebusy),
    test!(bind_of_unknown_device_gives_enodev),
    test!(bind_to_driver_of_another_type_gives_enodev),
    test!(unbind_of_unbound_device_gives_enodev),
    test!(memmap_on_memory_malformed_gives_einval),
    test!(memmap_on_memory_without_support_gives_eopnotsupp),
];

/// Texts that are not device names.
const NOT_NAMES: &[&str] = &[
    "\n",
    "\0",
    "dax",
    "dax0",
    "dax0.",
    "dax.0",
    "daxx.y",
    "0.2",
    "dax0.2x",
    "dax0.02",
    "dax00.2",
    "dax0x0.2",
    " dax0.2",
    "dax0.2 ",
    "dax 0.2",
    "dax0. 2",
    "DAX0.2",
    "dax0.2.3",
    "dax0,2",
    "dax+0.2",
    "dax0.2\n\n",
    "dax0.99999999999999999999",
    "dax4294967296.2",
    "dax0.00000000000000000000000000000000000000000000000002",
];

fn new_id_malformed_gives_einval(region: &Region) -> Outcome {
    refused(region, |_| {
        let mut rows = each(&Driver::DeviceDax.attr("new_id"), NOT_NAMES, Errno::EINVAL);
        rows.extend(each(&Driver::Kmem.attr("new_id"), NOT_NAMES, Errno::EINVAL));
        rows
    })
}

fn remove_id_malformed_gives_einval(region: &Region) -> Outcome {
    refused(region, |_| {
        each(
            &Driver::DeviceDax.attr("remove_id"),
            NOT_NAMES,
            Errno::EINVAL,
        )
    })
}

fn bind_of_device_without_size_gives_enxio(region: &Region) -> Outcome {
    refused(region, |f| {
        each(
            &Driver::DeviceDax.attr("bind"),
            &[f.empty.name()],
            Errno::ENXIO,
        )
    })
}

fn bind_of_bound_device_gives_ebusy(region: &Region) -> Outcome {
    refused(region, |f| {
        each(
            &Driver::DeviceDax.attr("bind"),
            &[f.bound.name()],
            Errno::EBUSY,
        )
    })
}

fn bind_of_unknown_device_gives_enodev(region: &Region) -> Outcome {
    refused(region, |_| {
        each(
            &Driver::DeviceDax.attr("bind"),
            &["dax0.77", "foo", "\n"],
            Errno::ENODEV,
        )
    })
}

fn bind_to_driver_of_another_type_gives_enodev(region: &Region) -> Outcome {
    refused(region, |f| {
        vec![Row::new(
            Driver::Kmem.attr("bind"),
            f.loose.name(),
            Errno::ENODEV,
        )]
    })
}

fn unbind_of_unbound_device_gives_enodev(region: &Region) -> Outcome {
    refused(region, |f| {
        vec![
            Row::new(
                Driver::DeviceDax.attr("unbind"),
                f.loose.name(),
                Errno::ENODEV,
            ),
            Row::new(Driver::Kmem.attr("unbind"), f.bound.name(), Errno::ENODEV),
        ]
    })
}

fn memmap_on_memory_malformed_gives_einval(region: &Region) -> Outcome {
    let texts = ["\n", "\0", "2", "-1", "x", "o", " 0", "+0"];
    refused(region, |f| {
        each(&f.loose.attr("memmap_on_memory"), &texts, Errno::EINVAL)
    })
}

fn memmap_on_memory_without_support_gives_eopnotsupp(region: &Region) -> Outcome {
    // Unless the kernel was booted with memory_hotplug.memmap_on_memory=1.
    refused(region, |f| {
        each(
            &f.loose.attr("memmap_on_memory"),
            &["1", "y", "on\n"],
            Errno::EOPNOTSUPP,
        )
    })
}
