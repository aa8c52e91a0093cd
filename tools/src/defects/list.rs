// SPDX-License-Identifier: GPL-2.0
//! The defects of the C driver that a review found, and the tests that show each.

use super::Show::{self, Breaks, Knows};

/// A defect. docs/c-defects.md says in words what it is.
pub struct Defect {
    pub id: &'static str,
    /// As `group/test`.
    pub tests: &'static [Show],
    /// Whether only a debug kernel shows it: KASAN, or allocations that fail.
    pub debug: bool,
}

const fn defect(id: &'static str, tests: &'static [Show]) -> Defect {
    Defect {
        id,
        tests,
        debug: false,
    }
}

const fn debug(id: &'static str, tests: &'static [Show]) -> Defect {
    Defect {
        debug: true,
        ..defect(id, tests)
    }
}

pub const DEFECTS: &[Defect] = &[
    defect(
        "A1",
        &[
            Knows("errors/grow_with_one_gib_align_skips_misaligned_hole"),
            Knows("errors/align_of_misplaced_range_gives_einval"),
            Knows("mmap-1g/grow_with_one_gib_align_takes_aligned_holes_only"),
            Breaks("mmap-1g/one_gib_page_shows_no_memory_of_others"),
        ],
    ),
    defect(
        "A2",
        &[Breaks(
            "mmap/open_after_unbind_with_old_file_open_gives_enxio",
        )],
    ),
    defect("A3", &[Knows("errors/mapping_of_bound_device_gives_ebusy")]),
    defect(
        "A4",
        &[Breaks(
            "races/shrink_against_mapping_readers_makes_progress",
        )],
    ),
    defect(
        "A5",
        &[Breaks("races/delete_against_region_unbind_makes_progress")],
    ),
    defect(
        "A6",
        &[Breaks("races/size_writer_against_delete_makes_progress")],
    ),
    debug(
        "A7",
        &[Breaks(
            "races/seed_and_youngest_readers_against_region_unbind_see_names",
        )],
    ),
    defect(
        "A8",
        &[Breaks(
            "races/create_against_region_unbind_leaves_no_orphans",
        )],
    ),
    debug("A9", &[Breaks("mmap/second_node_outlives_its_device")]),
    defect(
        "A10",
        &[Breaks(
            "mmap/closing_old_file_after_rebind_does_not_break_opening",
        )],
    ),
    debug(
        "A11",
        &[Breaks("races/writers_against_region_unbind_make_progress")],
    ),
    defect(
        "A12",
        &[Knows("refused/bind_of_reserved_memory_can_be_repeated")],
    ),
    defect(
        "A13",
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
        &[Knows("errors/size_with_no_aligned_hole_gives_enospc")],
    ),
    debug(
        "A15",
        &[Breaks("races/killed_writers_leave_the_region_usable")],
    ),
    debug(
        "A16",
        &[Breaks(
            "races/resource_readers_against_resize_see_an_address",
        )],
    ),
    defect(
        "A17",
        &[
            Breaks("pins/regions_answer_while_another_is_bound"),
            Breaks("pins/devices_go_on_while_another_drains"),
            Breaks("pins/regions_go_on_while_another_waits"),
        ],
    ),
    debug(
        "A18",
        &[
            Breaks("inject/region_bind_without_memory_changes_nothing"),
            Breaks("inject/region_bind_with_device_without_memory_changes_nothing"),
        ],
    ),
    debug(
        "A19",
        &[Breaks(
            "inject/growth_over_holes_without_memory_changes_nothing",
        )],
    ),
    defect(
        "A20",
        &[
            Breaks("mmap/mapping_after_rebind_stays_dead"),
            Breaks("mmap/mapping_after_rebind_with_other_ranges_stays_dead"),
            Breaks("mmap/mmap_of_old_file_after_rebind_gives_enxio"),
        ],
    ),
    defect(
        "A21",
        &[Breaks("races/killed_creators_leave_no_number_behind")],
    ),
    defect(
        "A22",
        &[Breaks(
            "races/align_writer_against_size_writer_keeps_alignment",
        )],
    ),
    debug(
        "A23",
        &[Breaks(
            "races/memmap_on_memory_writer_against_kmem_makes_progress",
        )],
    ),
    defect("A24", &[Breaks("races/create_after_races_makes_a_seed")]),
    debug(
        "A25",
        &[
            Breaks("races/device_bind_against_region_unbind_makes_progress"),
            Breaks("races/faults_against_region_unbind_give_data_or_sigbus"),
        ],
    ),
    defect(
        "A26",
        &[Knows(
            "refused/align_of_one_gib_without_such_pages_gives_einval",
        )],
    ),
    debug(
        "A27",
        &[Breaks("races/new_id_against_driver_unload_leaves_no_id")],
    ),
    defect(
        "A28",
        &[
            Knows("errors/align_malformed_gives_einval"),
            Knows("errors/align_beyond_64_bits_gives_erange"),
            Knows("refused/region_of_misaligned_memory_is_refused"),
        ],
    ),
    defect(
        "A29",
        &[
            Breaks("mmap/pinned_page_outlives_the_binding"),
            Breaks("pins/device_drains_for_a_buffer_of_io_uring"),
            Breaks("pins/device_drains_for_each_page_of_each_range"),
        ],
    ),
];
