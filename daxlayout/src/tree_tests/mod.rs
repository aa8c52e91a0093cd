// SPDX-License-Identifier: GPL-2.0
//! Tests of the commands on a sysfs tree of plain files. Such a tree does not answer writes; tests
//! that need answers run in a guest.

mod layouts;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use clap::Parser;
use tempfile::TempDir;

use crate::cache::Kind;
use crate::cli::{Cli, Command};
use crate::error::{Error, Result};
use crate::map::{self, Style};
use crate::region::Region;
use crate::show;
use crate::span::Span;
use crate::svg;
use crate::sysfs::Sysfs;

const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;

/// A tree with one region of 2 GiB at 4 GiB.
struct Tree(TempDir);

impl Tree {
    fn new() -> Self {
        let tree = Self(tempfile::tempdir().unwrap());
        for (name, value) in [
            ("id", "0"),
            ("size", "2147483648"),
            ("align", "2097152"),
            ("available_size", "2147483648"),
            ("create", ""),
            ("delete", ""),
            ("seed", ""),
        ] {
            tree.put(&format!("{PARENT}/dax_region/{name}"), value);
        }
        for driver in ["device_dax", "kmem"] {
            for attr in ["bind", "unbind", "new_id", "remove_id"] {
                tree.put(&format!("bus/dax/drivers/{driver}/{attr}"), "");
            }
        }
        tree
    }

    fn path(&self, below: &str) -> PathBuf {
        self.0.path().join(below)
    }

    fn put(&self, below: &str, text: &str) {
        let path = self.path(below);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("{text}\n")).unwrap();
    }

    fn text(&self, below: &str) -> String {
        fs::read_to_string(self.path(below)).unwrap()
    }

    /// Adds a device with these ranges.
    fn device(&self, id: u64, spans: &[Span], driver: Option<&str>) -> &Self {
        let dir = format!("{PARENT}/dax0.{id}");
        let size: u64 = spans.iter().map(|span| span.len()).sum();
        let resource = spans.first().map_or(4 * GIB, |span| span.start);
        for (name, value) in [
            ("size", size.to_string()),
            ("align", (2 * MIB).to_string()),
            ("resource", format!("{resource:#x}")),
            ("target_node", "1".to_owned()),
            ("mapping", String::new()),
        ] {
            self.put(&format!("{dir}/{name}"), &value);
        }
        let mut page = 0;
        for (i, span) in spans.iter().enumerate() {
            let mapping = format!("{dir}/mapping{i}");
            self.put(&format!("{mapping}/start"), &format!("{:#x}", span.start));
            self.put(&format!("{mapping}/end"), &format!("{:#x}", span.end));
            self.put(&format!("{mapping}/page_offset"), &format!("{page:#x}"));
            page += span.len() / 4096;
        }
        if let Some(driver) = driver {
            let target = self.path(&format!("bus/dax/drivers/{driver}"));
            symlink(target, self.path(&format!("{dir}/driver"))).unwrap();
        }
        let link = self.path(&format!("bus/dax/devices/dax0.{id}"));
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(self.path(&dir), link).unwrap();
        self
    }

    fn sysfs(&self) -> Sysfs {
        let iomem = self.path("iomem");
        Sysfs {
            root: self.0.path().canonicalize().unwrap(),
            iomem: iomem.exists().then_some(iomem),
        }
    }

    fn region(&self) -> Region {
        Region::one(&self.sysfs(), None).unwrap()
    }

    /// Runs a command line.
    fn run(&self, args: &[&str]) -> Result<()> {
        let root = self.0.path().to_str().unwrap();
        let args = [&["daxlayout", "--sysfs", root], args].concat();
        crate::run(&Cli::try_parse_from(args).unwrap())
    }
}

/// The directory of the region's parent in the tree.
const PARENT: &str = "devices/platform/hmem.0";

/// The span of `len` MiB that begins `start` MiB after the region's start.
fn mib(start: u64, len: u64) -> Span {
    Span::at(4 * GIB + start * MIB, len * MIB)
}

/// The exit status.
fn status(result: Result<()>) -> u8 {
    result.map_or_else(|error| error.status(), |()| 0)
}

#[test]
fn region_and_devices_are_read() {
    let tree = Tree::new();
    tree.device(0, &[], None)
        .device(2, &[mib(512, 256), mib(0, 256)], Some("device_dax"))
        .device(10, &[mib(1024, 512)], None);
    let region = tree.region();
    assert_eq!(region.start, Some(4 * GIB));
    let names: Vec<&str> = region.devices.iter().map(|d| d.name.as_str()).collect();
    assert_eq!(names, ["dax0.0", "dax0.2", "dax0.10"]);
    assert_eq!(region.devices[1].spans(), [mib(512, 256), mib(0, 256)]);
    assert_eq!(region.devices[1].driver.as_deref(), Some("device_dax"));
    let holes = [mib(256, 256), mib(768, 256), mib(1536, 512)];
    assert_eq!(region.holes(), holes);
    let lines = map::draw(&region, &Style::ASCII);
    let bar = "BBBBBBBB........BBBBBBBB........JJJJJJJJJJJJJJJJ................";
    assert_eq!(lines[1], format!("4 GiB |{bar}| 6 GiB"));
    assert_eq!(lines[3], "       B dax0.2   512 MiB  2 ranges, device_dax");
    assert!(lines
        .last()
        .unwrap()
        .ends_with(". free       1 GiB  3 holes"));
}

#[test]
fn where_a_region_begins() {
    // The start is unknown.
    let tree = Tree::new();
    tree.device(0, &[mib(512, 256)], None);
    assert_eq!(tree.region().start, None);
    assert_eq!(status(tree.run(&["plan", "-s", "2M"])), 2);
    assert_eq!(status(tree.run(&["save"])), 2);
    assert_eq!(status(tree.run(&["show"])), 0);
    // /proc/iomem has memory of that size around the devices.
    tree.put(
        "iomem",
        "000000000-07fffffff : System RAM\n100000000-17fffffff : hmem.0",
    );
    assert_eq!(tree.region().start, Some(4 * GIB));
    // A parent of that size shows its address.
    let tree = Tree::new();
    tree.device(0, &[mib(512, 256)], None);
    tree.put(&format!("{PARENT}/size"), "0x80000000");
    tree.put(&format!("{PARENT}/resource"), "0x100000000");
    assert_eq!(tree.region().start, Some(4 * GIB));
    // The devices have all of the region.
    let tree = Tree::new();
    tree.device(0, &[mib(0, 2048)], None);
    assert_eq!(tree.region().start, Some(4 * GIB));
}

#[test]
fn draining_is_seen_in_iomem() {
    let tree = Tree::new();
    tree.device(0, &[], None).device(1, &[mib(0, 2)], None);
    assert!(!tree.region().devices[1].draining);
    tree.put("iomem", "100000000-1001fffff : dax0.1");
    assert!(tree.region().devices[1].draining);
    assert_eq!(tree.region().devices[1].state(), "draining");
}

#[test]
fn caches_are_read_and_conflicts_found() {
    let tree = Tree::new();
    tree.device(0, &[], None)
        .device(1, &[mib(0, 256)], None)
        .device(2, &[mib(640, 256)], None)
        .device(3, &[mib(256, 256)], None);
    assert_eq!(status(tree.run(&["plan", "--colour", "0/2"])), 2);
    for (name, value) in [
        ("size", "536870912"),
        ("line_size", "64"),
        ("indexing", "0"),
    ] {
        let dir = "devices/system/node/node1/memory_side_cache/index1";
        tree.put(&format!("{dir}/{name}"), value);
    }
    let region = tree.region();
    assert_eq!(region.period(), Some(512 * MIB));
    let conflicts = show::conflicts(&region);
    let found: Vec<_> = conflicts.iter().map(|c| (c.devices, c.shared)).collect();
    assert_eq!(
        found,
        [
            (["dax0.1", "dax0.2"], 128 * MIB),
            (["dax0.2", "dax0.3"], 128 * MIB)
        ]
    );
    assert_eq!(status(tree.run(&["plan", "--colour", "0/2"])), 0);
    tree.put(
        &format!("{PARENT}/extended_linear_cache_size"),
        "0x40000000",
    );
    let region = tree.region();
    assert_eq!(region.caches[0].kind, Kind::ExtendedLinear);
    assert_eq!(region.period(), Some(GIB));
    let picture = svg::draw(&[region]);
    assert!(picture.starts_with("<svg") && picture.contains("dax0.2 0x128000000-0x137ffffff"));
    assert_eq!(status(tree.run(&["plan", "--pair-distance", "auto"])), 0);
}

#[test]
fn status_tells_what_is_wrong() {
    let tree = Tree::new();
    assert_eq!(status(tree.run(&["show"])), 2);
    tree.device(0, &[], None).device(1, &[mib(0, 256)], None);
    for (args, wanted) in [
        (&["show", "-d", "nonsense"] as &[&str], 1),
        (&["show", "-d", "dax0.9"], 2),
        (&["plan", "-r", "1"], 2),
        (&["plan", "-s", "2G"], 3),
        (&["plan", "--range", "4G+2M"], 3),
        (&["plan", "--stride", "1G"], 1),
        (&["plan", "--cache-size", "1G"], 1),
        (&["plan", "--cache-size", "1G", "--colour", "0/2"], 0),
        (&["plan", "--stride", "1G", "--colour", "0/2"], 0),
        (&["show", "--cache-size", "1G"], 0),
        (&["plan", "-a", "3M"], 1),
        (&["create", "--driver", "nosuch"], 2),
        (&["create", "--dry-run", "-s", "256M"], 0),
        (&["show", "--table"], 0),
        (&["--json", "show"], 0),
    ] {
        assert_eq!(status(tree.run(args)), wanted, "{args:?}");
    }
    fs::remove_file(tree.path(&format!("{PARENT}/dax_region/create"))).unwrap();
    assert_eq!(status(tree.run(&["plan", "-r", "0"])), 3);
}

#[test]
fn what_could_not_be_undone_has_a_status_of_its_own() {
    let tree = Tree::new();
    tree.device(0, &[], None).device(1, &[], None);
    let dir = tree.path(&format!("{PARENT}/dax0.1"));
    fs::remove_file(dir.join("mapping")).unwrap();
    symlink("/dev/full", dir.join("mapping")).unwrap();
    let (sysfs, region) = (tree.sysfs(), tree.region());
    let refused = crate::change::Change::all_or_nothing(&sysfs, &region, |change| {
        change.align("dax0.1", 4096)?;
        // The alignment cannot be set back.
        fs::remove_file(dir.join("align")).unwrap();
        symlink("/dev/full", dir.join("align")).unwrap();
        change.fill("dax0.1", &[mib(0, 2)])
    });
    let error = refused.unwrap_err();
    assert_eq!(error.status(), 6);
    let text = error.to_string();
    assert!(text.contains("not everything could be undone"), "{text}");
    assert!(text.contains("align: No space"), "{text}");
}

#[test]
fn a_range_that_is_refused_is_named_and_all_is_undone() {
    let tree = Tree::new();
    tree.device(0, &[], None).device(1, &[], None);
    let mapping = tree.path(&format!("{PARENT}/dax0.1/mapping"));
    fs::remove_file(&mapping).unwrap();
    // A write to this file fails with ENOSPC.
    symlink("/dev/full", &mapping).unwrap();
    let (sysfs, region) = (tree.sysfs(), tree.region());
    let refused = crate::change::Change::all_or_nothing(&sysfs, &region, |change| {
        change.align("dax0.1", 4096)?;
        change.fill("dax0.1", &[mib(0, 2)])
    });
    let error = refused.unwrap_err();
    assert_eq!(error.status(), 4);
    let text = error.to_string();
    assert!(
        text.contains("dax0.1: range 1 of 1, 0x100000000-0x1001fffff: No space"),
        "{text}"
    );
    assert!(text.ends_with("everything was undone"), "{text}");
    // Plain files keep what longer text was there before.
    assert!(tree.text(&format!("{PARENT}/dax0.1/size")).starts_with('0'));
    assert!(tree
        .text(&format!("{PARENT}/dax0.1/align"))
        .starts_with("2097152"));
}

#[test]
fn the_command_line_is_sound() {
    use clap::CommandFactory;
    Cli::command().debug_assert();
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().to_str().unwrap();
    for what in ["man", "completions"] {
        let cli = Cli::try_parse_from(["daxlayout", "generate", what, out]).unwrap();
        assert!(matches!(cli.command, Command::Generate { .. }));
        crate::run(&cli).unwrap();
    }
    let man = fs::read_to_string(dir.path().join("daxlayout.1")).unwrap();
    assert!(man.contains("Exit status") && dir.path().join("_daxlayout").exists());
    let error: Result<()> = Err(Error::Usage(String::new()));
    assert_eq!(status(error), 1);
}
