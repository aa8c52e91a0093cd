// SPDX-License-Identifier: GPL-2.0
//! QEMU's command for a guest.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::directory::{IMAGE, INITRD, LOG};
use crate::arch::Arch;
use crate::kernel::Kernel;
use crate::monitor;
use crate::root::Root;
use crate::settings::Machine;

/// The name of the port for the device that carries the command's output, if the machine has a
/// port.
const PORT: &str = "output.port";

/// The QEMU options that place the device which carries the command's output. The machine may have
/// more buses, on which the device would not work, so the bus is always named.
///
/// A guest that is suspended resets the device, unless the device is behind a port and says that it
/// needs no reset. After a reset Linux 7.3 does not notice that the host listens.
fn serial_bus(machine: &Machine) -> String {
    let port = format!("id={PORT},");
    if machine.qemu.iter().any(|option| option.contains(&port)) {
        format!("bus={PORT},x-pcie-pm-no-soft-reset=on")
    } else {
        "bus=pcie.0".to_owned()
    }
}

/// Adds the port that carries the output of the guest's command to QEMU's stdout.
pub fn output_port(command: &mut Command, machine: &Machine) {
    let serial = format!("virtio-serial-pci,{},max_ports=2", serial_bus(machine));
    command.args(["-chardev", "stdio,id=out,signal=off", "-device", &serial]);
    command.args(["-device", "virtserialport,nr=1,chardev=out,name=xtask.out"]);
}

/// A path in an option of QEMU, which wants its commas doubled.
pub fn doubled_commas(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

/// The root with QEMU for a kernel.
pub fn emulator(root: &Root, kernel: &Kernel) -> Result<Root> {
    let elsewhere = kernel.elsewhere(root)?;
    Ok(elsewhere.map_or_else(|| root.clone(), |(emulator, _)| emulator))
}

/// QEMU of the root, run where it lies by the loader it was made for, so that paths in QEMU= mean
/// this machine's files.
pub fn qemu(root: &Root, arch: Arch, machine: &Machine, dir: &Path, kunit: bool) -> Command {
    let board = arch.board();
    let inside = |name: &str| root.path.join(name);
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]);
    command.arg(inside("usr/lib64/ld-linux-x86-64.so.2"));
    let libraries = [
        "usr/lib/x86_64-linux-gnu",
        "usr/lib/x86_64-linux-gnu/pulseaudio",
    ];
    let libraries = libraries.map(|l| inside(l).display().to_string()).join(":");
    command
        .arg("--library-path")
        .arg(libraries)
        .arg(inside("usr/bin").join(board.qemu));
    for data in [
        "usr/share/qemu",
        "usr/share/seabios",
        "usr/share/qemu-efi-aarch64",
    ] {
        command.arg("-L").arg(inside(data));
    }
    command.args([
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
        "-no-reboot",
    ]);
    command.args(["-machine", board.machine]);
    if machine.counted {
        // The kernel seeds hash functions and addresses with the CPU's random numbers. Counts are
        // the same in each run only if these numbers are.
        command.args(["-accel", "tcg,thread=single", "-cpu", board.counting_cpu]);
        command.args(["-icount", "shift=0,sleep=off", "-seed", "1"]);
        command.args(["-rtc", "base=2026-01-01T00:00:00,clock=vm"]);
    } else if arch == Arch::X86 && hardware_virtualisation() {
        command.args(["-accel", "kvm", "-cpu", "host"]);
    } else {
        command.args(["-accel", "tcg,thread=multi", "-cpu", board.cpu]);
    }
    command.args(["-m", &machine.mem, "-smp", &machine.cpus.to_string()]);
    command
        .arg("-kernel")
        .arg(dir.join(IMAGE))
        .arg("-initrd")
        .arg(dir.join(INITRD));
    let kunit = if kunit {
        "kunit.filter_glob=dax_* "
    } else {
        "kunit.enable=0 "
    };
    let append = format!("{}{}", board.append, machine.append);
    let console = board.console;
    // The host may not run a CPU for a minute. That is no stall of the guest.
    let stall = "rcupdate.rcu_cpu_stall_timeout=300";
    command.arg("-append").arg(format!(
        "console={console} ignore_loglevel nokaslr panic=-1 {} {stall} {kunit}{append}",
        monitor::APPEND
    ));
    let log = doubled_commas(&dir.join(LOG));
    command
        .arg("-chardev")
        .arg(format!("file,id=log,path={log}"))
        .args(["-serial", "chardev:log"]);
    command.args(&machine.qemu);
    command
}

/// The device by which the kernel offers hardware virtualisation.
pub const KVM: &str = "/dev/kvm";

/// Whether KVM works. The device also opens on CPUs without virtualisation, so the CPU's flags are
/// checked too.
pub fn hardware_virtualisation() -> bool {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flags = cpu
        .lines()
        .find(|l| l.starts_with("flags"))
        .unwrap_or_default();
    let able = flags.split_whitespace().any(|f| f == "vmx" || f == "svm");
    able && File::options().read(true).write(true).open(KVM).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_behind_the_port_if_there_is_one() {
        let mut machine = Machine::default();
        assert_eq!(serial_bus(&machine), "bus=pcie.0");
        machine.qemu = vec![
            "-device".into(),
            format!("pcie-root-port,id={PORT},bus=pcie.0"),
        ];
        assert!(serial_bus(&machine).starts_with("bus=output.port,"));
    }
}
