// SPDX-License-Identifier: GPL-2.0
//! The defects of the C driver that a review found, and the tests that show each.

use super::Show::{self, Breaks, Knows};

/// A defect, as docs/deviations.md numbers them.
pub struct Defect {
    pub id: &'static str,
    pub what: &'static str,
    /// As `group/test`.
    pub tests: &'static [Show],
    /// Whether only a debug kernel shows it: KASAN, or allocations that fail.
    pub debug: bool,
}

const fn defect(id: &'static str, what: &'static str, tests: &'static [Show]) -> Defect {
    Defect {
        id,
        what,
        tests,
        debug: false,
    }
}

const fn debug(id: &'static str, what: &'static str, tests: &'static [Show]) -> Defect {
    Defect {
        debug: true,
        ..defect(id, what, tests)
    }
}

pub const DEFECTS: &[Defect] = &[
    defect(
        "A1",
        "1 GiB pages where there is no whole GiB of the device",
        &[
            Knows("errors/grow_with_one_gib_align_skips_misaligned_hole"),
            Knows("errors/align_of_misplaced_range_gives_einval"),
            Knows("mmap-1g/grow_with_one_gib_align_takes_aligned_holes_only"),
            Breaks("mmap-1g/one_gib_page_shows_no_memory_of_others"),
        ],
    ),
    defect(
        "A2",
        "open after unbind, mmap of what was opened",
        &[Breaks(
            "mmap/open_after_unbind_with_old_file_open_gives_enxio",
        )],
    ),
    defect(
        "A3",
        "ranges added under a driver",
        &[Knows("errors/mapping_of_bound_device_gives_ebusy")],
    ),
    defect(
        "A4",
        "shrink against readers of `mappingN/*`",
        &[Breaks(
            "races/shrink_against_mapping_readers_makes_progress",
        )],
    ),
    defect(
        "A5",
        "delete against the region's unbind",
        &[Breaks("races/delete_against_region_unbind_makes_progress")],
    ),
    defect(
        "A6",
        "delete against a writer of `size`",
        &[Breaks("races/size_writer_against_delete_makes_progress")],
    ),
    debug(
        "A7",
        "readers of `seed` against the region's unbind",
        &[Breaks(
            "races/seed_and_youngest_readers_against_region_unbind_see_names",
        )],
    ),
    defect(
        "A8",
        "create in a region that goes",
        &[Breaks(
            "races/create_against_region_unbind_leaves_no_orphans",
        )],
    ),
    debug(
        "A9",
        "an inode that outlives the device",
        &[Breaks("mmap/second_node_outlives_its_device")],
    ),
    defect(
        "A10",
        "an old file closed after the next bind",
        &[Breaks(
            "mmap/closing_old_file_after_rebind_does_not_break_opening",
        )],
    ),
    debug(
        "A11",
        "writers of `size` and `mapping` against the region's unbind",
        &[Breaks("races/writers_against_region_unbind_make_progress")],
    ),
    defect(
        "A12",
        "a bind after one that failed",
        &[Knows("refused/bind_of_reserved_memory_can_be_repeated")],
    ),
    defect(
        "A13",
        "`mapping` that says what cannot be",
        &[
            Knows("errors/mapping_with_misaligned_length_gives_einval"),
            Knows("errors/mapping_empty_gives_einval"),
            Knows("errors/mapping_with_misaligned_start_gives_einval"),
            Knows("errors/mapping_reversed_gives_einval"),
            Knows("errors/mapping_outside_region_gives_erange"),
            Knows("errors/mapping_overlapping_gives_ebusy"),
        ],
    ),
    defect(
        "A14",
        "ranges smaller than a page of the device",
        &[Knows("errors/size_with_no_aligned_hole_gives_enospc")],
    ),
    debug(
        "A15",
        "a writer of `size` that is killed",
        &[Breaks("races/killed_writers_leave_the_region_usable")],
    ),
    debug(
        "A16",
        "readers of `resource` against a resize",
        &[Breaks(
            "races/resource_readers_against_resize_see_an_address",
        )],
    ),
    defect(
        "A17",
        "one region waits, all wait",
        &[
            Breaks("pins/regions_answer_while_another_is_bound"),
            Breaks("pins/devices_go_on_while_another_drains"),
            Breaks("pins/regions_go_on_while_another_waits"),
        ],
    ),
    debug(
        "A18",
        "a region bound without memory",
        &[
            Breaks("inject/region_bind_without_memory_changes_nothing"),
            Breaks("inject/region_bind_with_device_without_memory_changes_nothing"),
        ],
    ),
    debug(
        "A19",
        "growth without memory",
        &[Breaks(
            "inject/growth_over_holes_without_memory_changes_nothing",
        )],
    ),
    defect(
        "A20",
        "old files and mappings after the next bind",
        &[
            Breaks("mmap/mapping_after_rebind_stays_dead"),
            Breaks("mmap/mapping_after_rebind_with_other_ranges_stays_dead"),
            Breaks("mmap/mmap_of_old_file_after_rebind_gives_enxio"),
        ],
    ),
    defect(
        "A21",
        "a last reference that goes while its task is killed",
        &[Breaks("races/killed_creators_leave_no_number_behind")],
    ),
    defect(
        "A22",
        "`align` against `size`",
        &[Breaks(
            "races/align_writer_against_size_writer_keeps_alignment",
        )],
    ),
    debug(
        "A23",
        "`memmap_on_memory` against kmem's unbind",
        &[Breaks(
            "races/memmap_on_memory_writer_against_kmem_makes_progress",
        )],
    ),
    defect(
        "A24",
        "`seed` after races",
        &[Breaks("races/create_after_races_makes_a_seed")],
    ),
    debug(
        "A25",
        "a device bound, and used, while its region goes",
        &[
            Breaks("races/device_bind_against_region_unbind_makes_progress"),
            Breaks("races/faults_against_region_unbind_give_data_or_sigbus"),
        ],
    ),
    defect(
        "A26",
        "1 GiB pages that the processor does not have",
        &[Knows(
            "refused/align_of_one_gib_without_such_pages_gives_einval",
        )],
    ),
    debug(
        "A27",
        "`new_id` against the driver's unload",
        &[Breaks("races/new_id_against_driver_unload_leaves_no_id")],
    ),
    defect(
        "A28",
        "misleading errors",
        &[
            Knows("errors/align_malformed_gives_einval"),
            Knows("errors/align_beyond_64_bits_gives_erange"),
            Knows("refused/region_of_misaligned_memory_is_refused"),
        ],
    ),
    defect(
        "A29",
        "unbind under pinned pages",
        &[
            Breaks("mmap/pinned_page_outlives_the_binding"),
            Breaks("pins/device_drains_for_a_buffer_of_io_uring"),
            Breaks("pins/device_drains_for_each_page_of_each_range"),
        ],
    ),
];
