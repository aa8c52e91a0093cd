// SPDX-License-Identifier: GPL-2.0
//! QEMU's machines "virt" of arm64 and RISC-V. Settings of tests are for q35, and adapted here.
//!
//! On q35, memory ends 2 GiB above its size, because addresses from 2 to 4 GiB are no memory. On
//! "virt", memory is whole, and begins at 1 GiB (arm64) or at 2 GiB (RISC-V).

use anyhow::{bail, Context, Result};

use crate::arch::{Arch, USUAL_REGION};
use crate::settings::Machine;

/// QEMU options whose effect a kernel finds in ACPI's tables alone.
const OF_ACPI: [&str; 3] = ["nvdimm=on", "cxl=on", HMAT];
const HMAT: &str = "hmat=on";

/// The word of the command line by which page structures may be on hotplugged memory.
const ON_MEMORY: &str = "memory_hotplug.memmap_on_memory=1";

/// QEMU options for UEFI. The file is in Debian's package qemu-efi-aarch64.
const FIRMWARE: [&str; 2] = ["-bios", "QEMU_EFI.fd"];

/// The memory of the first and the second node in the settings of a guest, up to the size.
pub const FIRST_NODE: &str = "memory-backend-ram,id=ram0,size=";
const SECOND_NODE: &str = "memory-backend-ram,id=ram1,size=";
/// A NUMA node, up to its number.
const NODE: &str = "node,nodeid=";

/// Adapts a test's guest to an architecture, so that memory ends where it does on q35 at least.
pub fn adapt(arch: Arch, machine: &mut Machine) -> Result<()> {
    match arch {
        Arch::X86 => Ok(()),
        Arch::Arm64 => adapt_to_arm64(machine),
        Arch::Riscv => {
            give_each_node_a_cpu(machine);
            // QEMU puts the device tree at the end of memory, where tests may have a region.
            let last = machine.qemu.iter_mut().rfind(|option| is_memory(option));
            grow(last, 1)?;
            machine.mem = enlarged(&machine.mem, 1)?;
            Ok(())
        }
    }
}

/// The kernel of arm64 looks for ACPI's tables only where UEFI says that they are. Guests boot
/// without UEFI unless something that only ACPI describes is in them, since booting takes longer.
fn adapt_to_arm64(machine: &mut Machine) -> Result<()> {
    machine.mem = enlarged(&machine.mem, 1)?;
    grow(memory(machine, FIRST_NODE), 1)?;
    let has = |wanted: &str| machine.qemu.iter().any(|option| option.contains(wanted));
    let needs_acpi = OF_ACPI.iter().any(|option| has(option));
    if !needs_acpi || has(FIRMWARE[0]) {
        return Ok(());
    }
    // A region of CXL memory is ordinary memory at first. arm64 does not let such memory go offline if
    // its page structures are on it.
    if has("cxl=on") {
        machine.append = machine.append.replace(ON_MEMORY, "");
    }
    machine.qemu.extend(FIRMWARE.map(str::to_owned));
    if machine.append.starts_with(USUAL_REGION) {
        make_room_for_firmware(machine)?;
    }
    Ok(())
}

/// Adds memory after the region of a test, for UEFI, which takes the end of memory. The region stays
/// all that the second node has above 4 GiB, as on q35: a kernel with a memory-side cache takes what
/// one entry of ACPI's table describes for one region.
fn make_room_for_firmware(machine: &mut Machine) -> Result<()> {
    machine.mem = enlarged(&machine.mem, 1)?;
    let is_node = |option: &&String| option.starts_with(NODE);
    let nodes = machine.qemu.iter().filter(is_node).count();
    if nodes < 2 {
        return grow(memory(machine, FIRST_NODE), 1);
    }
    // On q35 the second node may also have memory below 2 GiB. Here the first has it.
    let first = memory(machine, FIRST_NODE).and_then(|option| size_in_gib(option));
    let missing = first.map_or(0, |first| BELOW_REGION.saturating_sub(first));
    grow(memory(machine, FIRST_NODE), missing)?;
    shrink(memory(machine, SECOND_NODE), missing)?;
    // A node without CPUs says which node is the nearest that has some.
    let near = match machine.qemu.iter().any(|option| option == HMAT) {
        true => ",initiator=0",
        false => "",
    };
    for option in [
        "-object",
        "memory-backend-ram,id=end,size=1G",
        "-numa",
        &format!("{NODE}{nodes},memdev=end{near}"),
    ] {
        machine.qemu.push(option.to_owned());
    }
    Ok(())
}

/// Memory of arm64 below the region of a test, in GiB: from 1 to 4 GiB.
const BELOW_REGION: u64 = 3;

/// Gives each NUMA node one CPU, and the last node the rest, unless each has some: QEMU's RISC-V
/// machine has no other nodes.
fn give_each_node_a_cpu(machine: &mut Machine) {
    let is_node = |option: &&mut String| option.starts_with(NODE);
    let nodes: Vec<&mut String> = machine.qemu.iter_mut().filter(is_node).collect();
    if nodes.iter().all(|node| node.contains("cpus=")) {
        return;
    }
    let count = u32::try_from(nodes.len()).unwrap_or(u32::MAX);
    machine.cpus = machine.cpus.max(count);
    let last = machine.cpus - 1;
    for (cpu, node) in (0..count).zip(nodes) {
        let cpus = match cpu + 1 == count && cpu < last {
            true => format!("{cpu}-{last}"),
            false => cpu.to_string(),
        };
        let parts = node.split(',').filter(|part| !part.starts_with("cpus="));
        *node = format!("{},cpus={cpus}", parts.collect::<Vec<_>>().join(","));
    }
}

/// Whether a QEMU option is the memory of a node.
fn is_memory(option: &str) -> bool {
    option.starts_with("memory-backend-ram,id=ram")
}

/// The QEMU option for the memory of a node.
fn memory<'a>(machine: &'a mut Machine, node: &str) -> Option<&'a mut String> {
    let mut options = machine.qemu.iter_mut();
    options.find(|option| option.starts_with(node))
}

/// The size in a QEMU option.
fn size_in_gib(option: &str) -> Option<u64> {
    let (_, size) = option.split_once("size=")?;
    size.split_once('G')?.0.parse().ok()
}

/// Makes the memory of a node larger by `gib`, if there is such an option.
fn grow(option: Option<&mut String>, gib: u64) -> Result<()> {
    resize(option, |size| size.checked_add(gib))
}

fn shrink(option: Option<&mut String>, gib: u64) -> Result<()> {
    resize(option, |size| size.checked_sub(gib))
}

fn resize(option: Option<&mut String>, new: impl Fn(u64) -> Option<u64>) -> Result<()> {
    let Some(option) = option else {
        return Ok(());
    };
    if let Some((before, size)) = option.split_once("size=") {
        *option = format!("{before}size={}", resized(size, new)?);
    }
    Ok(())
}

/// The size in GiB at the begin of `size`, made larger by `more`. The rest of the text stays.
pub fn enlarged(size: &str, more: u64) -> Result<String> {
    resized(size, |size| size.checked_add(more))
}

fn resized(size: &str, new: impl Fn(u64) -> Option<u64>) -> Result<String> {
    let (number, rest) = size
        .split_once('G')
        .with_context(|| format!("{size}: write a size of memory in GiB, as 6G"))?;
    match number.parse().ok().and_then(new) {
        Some(number) => Ok(format!("{number}G{rest}")),
        None => {
            bail!("{size}: not a size in GiB, as 6G, or too small for this architecture's guests")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A guest with that memory, command line and those options.
    fn machine(mem: &str, append: &str, qemu: &str) -> Machine {
        Machine {
            mem: mem.to_owned(),
            cpus: 2,
            append: append.to_owned(),
            qemu: qemu.split_whitespace().map(str::to_owned).collect(),
            ..Machine::default()
        }
    }

    /// The memory and the options of a guest on an architecture.
    fn adapted(arch: Arch, mut machine: Machine) -> [String; 2] {
        adapt(arch, &mut machine).unwrap();
        [machine.mem, machine.qemu.join(" ")]
    }

    #[test]
    fn memory_ends_where_it_does_on_q35() {
        let nodes = "-object memory-backend-ram,id=ram0,size=4G \
                     -object memory-backend-ram,id=ram1,size=2G";
        let guest = || machine("6G,slots=2", "", nodes);
        assert_eq!(adapted(Arch::X86, guest()), ["6G,slots=2", nodes]);
        let expected = nodes.replace("4G", "5G");
        assert_eq!(adapted(Arch::Arm64, guest()), ["7G,slots=2", &expected]);
        let expected = nodes.replace("2G", "3G");
        assert_eq!(adapted(Arch::Riscv, guest()), ["7G,slots=2", &expected]);
        assert!(adapt(Arch::Arm64, &mut machine("6144M", "", "")).is_err());
    }

    #[test]
    fn firmware_is_there_for_what_acpi_describes() {
        let options = |arch, option| adapted(arch, machine("4G", "", option))[1].clone();
        assert_eq!(options(Arch::Arm64, "cxl=on"), "cxl=on -bios QEMU_EFI.fd");
        assert_eq!(options(Arch::Arm64, "-bios a cxl=on"), "-bios a cxl=on");
        assert_eq!(options(Arch::Arm64, "dumpdtb=a"), "dumpdtb=a");
        assert_eq!(options(Arch::X86, "cxl=on"), "cxl=on");
        for (option, append) in [("cxl=on", " a=b"), ("hmat=on", "{ON_MEMORY} a=b")] {
            let append = append.replace("{ON_MEMORY}", ON_MEMORY);
            let mut machine = machine("4G", &format!("{ON_MEMORY} a=b"), option);
            adapt(Arch::Arm64, &mut machine).unwrap();
            assert_eq!(machine.append, append);
        }
    }

    #[test]
    fn firmware_is_not_in_the_region() {
        let nodes = "hmat=on -object memory-backend-ram,id=ram0,size=1G \
                     -object memory-backend-ram,id=ram1,size=3G \
                     -numa node,nodeid=0,memdev=ram0,cpus=0-1 -numa node,nodeid=1,memdev=ram1";
        let expected = "hmat=on -object memory-backend-ram,id=ram0,size=3G \
                        -object memory-backend-ram,id=ram1,size=2G \
                        -numa node,nodeid=0,memdev=ram0,cpus=0-1 -numa node,nodeid=1,memdev=ram1 \
                        -bios QEMU_EFI.fd -object memory-backend-ram,id=end,size=1G \
                        -numa node,nodeid=2,memdev=end,initiator=0";
        let guest = machine("4G", USUAL_REGION, nodes);
        assert_eq!(adapted(Arch::Arm64, guest), ["6G", expected]);
        let guest = machine("6G", USUAL_REGION, "cxl=on");
        assert_eq!(adapted(Arch::Arm64, guest)[0], "8G");
    }

    #[test]
    fn each_node_of_risc_v_has_a_cpu() {
        let adapted = |cpus: u32, nodes: &str| {
            let mut machine = machine("6G", "", nodes);
            machine.cpus = cpus;
            adapt(Arch::Riscv, &mut machine).unwrap();
            (machine.cpus, machine.qemu.join(" "))
        };
        let one = "node,nodeid=0,memdev=ram0,cpus=0-1";
        assert_eq!(adapted(2, one), (2, one.to_owned()));
        let three = "node,nodeid=0,memdev=ram0,cpus=0 node,nodeid=1,memdev=ram1,cpus=1 \
                     node,nodeid=2,memdev=ram2,cpus=2";
        let before = format!("{one} node,nodeid=1,memdev=ram1 node,nodeid=2,memdev=ram2");
        assert_eq!(adapted(2, &before), (3, three.to_owned()));
        let five = three.replace("cpus=2", "cpus=2-4");
        assert_eq!(adapted(5, &before), (5, five.clone()));
        assert_eq!(adapted(5, &five), (5, five));
    }
}
