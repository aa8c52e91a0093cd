// SPDX-License-Identifier: GPL-2.0
//! Files and mappings whose device is unbound.

use super::{bound, map, open};
use crate::child::{Child, End};
use crate::device::{Device, Driver};
use crate::errno::Errno;
use crate::ktap::{check, Failure, Outcome, Test};
use crate::mmap::{self, Map};
use crate::node::Node;
use crate::pipe::Pipe;
use crate::region::Region;
use crate::sysfs;
use crate::test;
use crate::trap::Signal;
use crate::units::{PAGE, UNIT};
use std::fs;
use std::path::Path;
use std::time::Duration;

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(access_after_unbind_gives_sigbus),
    test!(access_after_unbind_in_another_process_gives_sigbus),
    test!(munmap_after_unbind_works),
    test!(open_after_unbind_gives_enxio),
    test!(open_after_unbind_with_old_file_open_gives_enxio)
        .not_on_c("opens, and mmap of that file oopses"),
    test!(mmap_of_old_file_after_unbind_gives_enxio),
    test!(open_after_rebind_works),
    test!(mapping_after_rebind_stays_dead).not_on_c("comes alive again"),
    test!(mapping_after_rebind_with_other_ranges_stays_dead).not_on_c("comes alive again"),
    test!(mmap_of_old_file_after_rebind_gives_enxio).not_on_c("works"),
    test!(closing_old_file_after_rebind_does_not_break_opening)
        .not_on_c("the device cannot be opened again, and a count underflows"),
    test!(old_mapping_outlives_its_device),
    test!(second_node_works_like_the_first),
    test!(second_node_outlives_its_device).not_on_c("its inode points to freed memory"),
];

fn access_after_unbind_gives_sigbus(region: &Region) -> Outcome {
    let device = bound(region)?;
    let map = Map::whole(&device)?;
    check("store before", map.store(0, 1), Ok(()))?;
    device.unbind()?;
    check("load of a touched page", map.load(0), Err(Signal::BUS))?;
    check("store to it", map.store(0, 1), Err(Signal::BUS))?;
    check("load of another", map.load(2 * UNIT), Err(Signal::BUS))
}

fn access_after_unbind_in_another_process_gives_sigbus(region: &Region) -> Outcome {
    let device = bound(region)?;
    let map = Map::whole(&device)?;
    check("store before", map.store(0, 1), Ok(()))?;
    // The child touches the page and reports that, then waits for a message that the unbind is
    // over. The device's driver link is no such word: it goes first.
    let pipe = || Pipe::new().map_err(|errno| Failure::Fail(format!("pipe: {errno}")));
    let (touched, over) = (pipe()?, pipe()?);
    let mut child = Child::spawn(|| {
        let before = map.load(0) == Ok(1) && touched.write_word(1).is_ok();
        while over.read_word().is_err() {
            std::thread::yield_now();
        }
        let after = map.load(0) == Err(Signal::BUS);
        i32::from(!(before && after))
    })
    .map_err(|errno| Failure::Fail(format!("fork: {errno}")))?;
    while touched.read_word().is_err() {
        check("child before the unbind", child.poll(), None)?;
        std::thread::yield_now();
    }
    device.unbind()?;
    check("word", over.write_word(1), Ok(8))?;
    check("child", child.wait(Duration::from_secs(20)), End::Exit(0))
}

fn munmap_after_unbind_works(region: &Region) -> Outcome {
    let device = bound(region)?;
    let map = Map::whole(&device)?;
    check("store before", map.store(UNIT, 1), Ok(()))?;
    device.unbind()?;
    check("munmap of a part", map.unmap(0, UNIT), Ok(()))?;
    check("that part", map.load(0), Err(Signal::SEGV))?;
    check("the rest", map.load(UNIT), Err(Signal::BUS))
}

fn open_after_unbind_gives_enxio(region: &Region) -> Outcome {
    let device = bound(region)?;
    drop(open(&device)?);
    device.unbind()?;
    check_open(&device.node(), Err(Errno::ENXIO))
}

/// Opens a node and expects this.
fn check_open(node: &Path, expected: Result<(), Errno>) -> Outcome {
    check(
        format!("open {}", node.display()),
        mmap::open(node).map(drop),
        expected,
    )
}

fn open_after_unbind_with_old_file_open_gives_enxio(region: &Region) -> Outcome {
    let device = bound(region)?;
    let old = open(&device)?;
    device.unbind()?;
    check_open(&device.node(), Err(Errno::ENXIO))?;
    drop(old);
    check_open(&device.node(), Err(Errno::ENXIO))
}

fn mmap_of_old_file_after_unbind_gives_enxio(region: &Region) -> Outcome {
    let device = bound(region)?;
    let old = open(&device)?;
    device.unbind()?;
    let mapped = Map::shared(&old, UNIT, 0).map(|m| m.addr());
    check("mmap", mapped, Err(Errno::ENXIO))
}

fn open_after_rebind_works(region: &Region) -> Outcome {
    let device = bound(region)?;
    let before = Map::whole(&device)?;
    check("store before", before.store(0, 99), Ok(()))?;
    drop(before);
    device.unbind()?;
    device.bind(Driver::DeviceDax)?;
    check("load after", Map::whole(&device)?.load(0), Ok(99))
}

/// Unbinds the device and binds it again.
fn rebind(device: &Device) -> sysfs::Result<()> {
    device.unbind()?;
    device.bind(Driver::DeviceDax)
}

fn mapping_after_rebind_stays_dead(region: &Region) -> Outcome {
    let device = bound(region)?;
    let old = Map::whole(&device)?;
    check("store before", old.store(0, 1), Ok(()))?;
    rebind(&device)?;
    check("touched page", old.load(0), Err(Signal::BUS))?;
    check("untouched page", old.load(3 * UNIT), Err(Signal::BUS))?;
    check("new mapping", Map::whole(&device)?.load(0), Ok(1))?;
    check("old mapping still", old.load(0), Err(Signal::BUS))
}

fn mapping_after_rebind_with_other_ranges_stays_dead(region: &Region) -> Outcome {
    let device = bound(region)?;
    let old = Map::whole(&device)?;
    check("store before", old.store(0, 1), Ok(()))?;
    device.unbind()?;
    device.set_size(0)?;
    device.set_align(PAGE)?;
    device.add_mapping(region.units(20, 2))?;
    device.bind(Driver::DeviceDax)?;
    check("old mapping", old.load(0), Err(Signal::BUS))?;
    let new = Map::whole(&device)?;
    check("new mapping", new.store(0, 2), Ok(()))?;
    let frame = new.frames(0, 1)?[0];
    check("frame", frame, Some(region.units(20, 1).start / PAGE))?;
    check("old mapping still", old.store(0, 3), Err(Signal::BUS))
}

fn mmap_of_old_file_after_rebind_gives_enxio(region: &Region) -> Outcome {
    let device = bound(region)?;
    let old = open(&device)?;
    rebind(&device)?;
    let mapped = Map::shared(&old, UNIT, 0).map(|m| m.addr());
    check("mmap of the old file", mapped, Err(Errno::ENXIO))?;
    check("of a new one", Map::whole(&device)?.load(0).is_ok(), true)
}

fn closing_old_file_after_rebind_does_not_break_opening(region: &Region) -> Outcome {
    let device = bound(region)?;
    for _ in 0..3 {
        let old = open(&device)?;
        rebind(&device)?;
        drop(old);
        check_open(&device.node(), Ok(()))?;
    }
    device.unbind()?;
    device.bind(Driver::DeviceDax)?;
    check_open(&device.node(), Ok(()))
}

fn old_mapping_outlives_its_device(region: &Region) -> Outcome {
    let device = bound(region)?;
    let file = open(&device)?;
    let old = map(&file, UNIT, 0)?;
    check("store before", old.store(0, 1), Ok(()))?;
    region.destroy(&device)?;
    check("load", old.load(0), Err(Signal::BUS))?;
    let mapped = Map::shared(&file, UNIT, 0).map(|m| m.addr());
    check("mmap", mapped, Err(Errno::ENXIO))?;
    // Another device of the same name, while the old one is still referred to.
    let next = bound(region)?;
    check("name", next.name(), device.name())?;
    check("load from the next", Map::whole(&next)?.load(0), Ok(1))?;
    check("old mapping still", old.load(0), Err(Signal::BUS))
}

fn second_node_works_like_the_first(region: &Region) -> Outcome {
    let device = bound(region)?;
    let node = Node::of(&device)?;
    let file = mmap::open(node.path()).map_err(|e| Failure::Fail(format!("open: {e}")))?;
    let (one, two) = (map(&file, UNIT, 0)?, Map::whole(&device)?);
    check("store", one.store(0, 31), Ok(()))?;
    check("load", two.load(0), Ok(31))?;
    device.unbind()?;
    check("load after unbind", one.load(0), Err(Signal::BUS))?;
    check("the other", two.load(0), Err(Signal::BUS))
}

fn second_node_outlives_its_device(region: &Region) -> Outcome {
    let device = bound(region)?;
    let node = Node::of(&device)?;
    check_open(node.path(), Ok(()))?;
    region.destroy(&device)?;
    // Visit every inode in memory: drop caches, write back.
    sysfs::write(Path::new("/proc/sys/vm/drop_caches"), "3")?;
    // SAFETY: No arguments, no effect on this process.
    unsafe { libc::sync() };
    check_open(node.path(), Err(Errno::ENXIO))?;
    // A new device makes the node work again if it gets the same number.
    let next = bound(region)?;
    let works = next.dev()? == device_number(&node)?;
    check_open(node.path(), if works { Ok(()) } else { Err(Errno::ENXIO) })?;
    region.destroy(&next)?;
    sysfs::write(Path::new("/proc/sys/vm/drop_caches"), "3")?;
    check_open(node.path(), Err(Errno::ENXIO))
}

/// The number of a node, in the form of `dev`.
fn device_number(node: &Node) -> Result<String, Failure> {
    use std::os::unix::fs::MetadataExt;
    let meta = fs::metadata(node.path()).map_err(|e| Failure::Fail(format!("stat: {e}")))?;
    let rdev = meta.rdev();
    Ok(format!("{}:{}", libc::major(rdev), libc::minor(rdev)))
}
