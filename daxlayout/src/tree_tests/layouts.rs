// SPDX-License-Identifier: GPL-2.0
//! Tests of `save` and `restore`.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::{mib, status, Tree, PARENT};
use crate::layout;

#[test]
fn save_writes_what_restore_reads() {
    let tree = Tree::new();
    tree.device(0, &[], None)
        .device(1, &[mib(512, 256), mib(0, 256)], Some("device_dax"))
        .device(2, &[mib(1024, 2)], None);
    let file = tree.path("saved.json");
    let file = file.to_str().unwrap();
    assert_eq!(status(tree.run(&["save", file])), 0);
    let layout = layout::read(Some(Path::new(file))).unwrap();
    let devices = &layout.regions[0].devices;
    assert_eq!(devices.len(), 2);
    assert_eq!(devices[0].ranges, [mib(512, 256), mib(0, 256)]);
    assert_eq!(devices[0].driver.as_deref(), Some("device_dax"));
    // All devices exist, so nothing is written.
    assert_eq!(status(tree.run(&["restore", file])), 0);
    assert_eq!(tree.text(&format!("{PARENT}/dax_region/create")), "\n");
}

/// Saves a layout with devices 1 and 2. Returns the directory and the file.
fn saved() -> (TempDir, String) {
    let tree = Tree::new();
    tree.device(0, &[], None)
        .device(1, &[mib(0, 256)], Some("device_dax"))
        .device(2, &[mib(1024, 2)], None);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("saved.json").display().to_string();
    tree.run(&["save", &file]).unwrap();
    (dir, file)
}

#[test]
fn restore_refuses_what_does_not_fit_and_writes_nothing() {
    let (_dir, file) = saved();
    type Spoil = fn(&Tree);
    let cases: [(&str, Spoil); 5] = [
        ("was not saved", |tree| {
            tree.device(3, &[mib(512, 2)], None);
        }),
        ("bound to kmem", |tree| {
            tree.device(1, &[mib(0, 256)], Some("kmem"));
            tree.put("devices/system/memory/block_size_bytes", "8000000");
        }),
        ("alignment 4096", |tree| {
            tree.device(1, &[mib(0, 256)], None);
            tree.put(&format!("{PARENT}/dax0.1/align"), "4096");
        }),
        ("no region at 0x100000000", |tree| {
            tree.put(&format!("{PARENT}/dax_region/size"), "1073741824");
        }),
        ("no region at 0x100000000", |tree| {
            tree.put(&format!("{PARENT}/dax0.0/resource"), "0x200000000");
        }),
    ];
    for (why, spoil) in cases {
        let tree = Tree::new();
        tree.device(0, &[], None);
        spoil(&tree);
        let error = tree.run(&["restore", &file]).unwrap_err();
        assert!(error.to_string().contains(why), "{why}: {error}");
        assert!([2, 3].contains(&error.status()));
        assert_eq!(tree.text(&format!("{PARENT}/dax_region/create")), "\n");
    }
}

#[test]
fn restore_refuses_bad_files() {
    let (_dir, file) = saved();
    let text = fs::read_to_string(&file).unwrap();
    let tree = Tree::new();
    tree.device(0, &[], None);
    for (from, to, wanted) in [
        ("\"version\": 1", "\"version\": 2", 3),
        ("\"align\"", "\"algin\"", 5),
        ("4563402751", "4563402750", 3),
        // The second device over the first; behind the region.
        ("5368709120", "4294967296", 3),
        ("5370806271", "9665773567", 3),
        ("\"dax0.2\"", "\"sda\"", 3),
    ] {
        assert!(text.contains(from), "{from} in {text}");
        fs::write(&file, text.replacen(from, to, 1)).unwrap();
        assert_eq!(status(tree.run(&["restore", &file])), wanted, "{to}");
    }
    // Nothing about this region.
    fs::write(&file, "{\"version\": 1, \"regions\": []}").unwrap();
    assert_eq!(status(tree.run(&["restore", "-r", "0", &file])), 2);
    assert_eq!(
        status(tree.run(&["restore", "-r", "0", "--if-saved", &file])),
        0
    );
    assert_eq!(status(tree.run(&["restore", "-d", "dax7.0", &file])), 2);
}
