// SPDX-License-Identifier: GPL-2.0
//! Takes the machine down while somebody holds a page of a device (L4).
//!
//! The kernel then shuts every device down, under the lock of each. A task that waits for a page
//! under such a lock would keep the machine up for ever. No function here returns: the host sees
//! whether the machine is gone, and how.

use crate::child::Child;
use crate::compare::log::Log;
use crate::errno::Errno;
use crate::kernel;
use crate::ktap::{check, note, Failure, Outcome};
use crate::mmap::Map;
use crate::pin::{check_region_waits, failed, hold, start, SOON, WHILE};
use crate::pipe::Pipe;
use crate::region::Region;
use crate::units::{PAGE, UNIT};
use nix::sys::reboot::{reboot, RebootMode};
use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::Path;

/// The next kernel, as the host puts it into the guest.
const KERNEL: &str = "/bzImage";
/// The next kernel's command line. That kernel has no memory to divide, and starts this program,
/// which says that it runs. Every word that the kernel does not know would be an argument of the
/// program, too.
const COMMAND_LINE: &str =
    "console=ttyS0 ignore_loglevel panic=-1 no_timer_check kunit.enable=0 -- next";

/// Ways for a machine to go down.
#[derive(Clone, Copy)]
enum Way {
    PowerOff,
    Reboot,
    Kexec,
}

impl Way {
    fn named(name: &str) -> Option<Way> {
        match name {
            "poweroff" => Some(Way::PowerOff),
            "reboot" => Some(Way::Reboot),
            "kexec" => Some(Way::Kexec),
            _ => None,
        }
    }

    /// Prepares the way, as far as that takes memory or time.
    fn prepare(self) -> Outcome {
        match self {
            Way::PowerOff | Way::Reboot => Ok(()),
            Way::Kexec => load_next_kernel().map_err(failed("kexec_file_load")),
        }
    }

    /// Takes the machine down, as the commands of that name with `-f` do: at once.
    fn go(self) -> Errno {
        let mode = match self {
            Way::PowerOff => RebootMode::RB_POWER_OFF,
            Way::Reboot => RebootMode::RB_AUTOBOOT,
            Way::Kexec => RebootMode::RB_KEXEC,
        };
        match reboot(mode) {
            Ok(never) => match never {},
            Err(errno) => errno.into(),
        }
    }
}

/// The mapping, the page and the child that are kept until the machine is gone.
type Held = (Map, Pipe, Option<Child>);

/// Holds a page of a device, and brings that into one of several states.
fn held(state: &str) -> Result<Held, Failure> {
    let region = Region::fresh()?;
    let device = region.create_bound(UNIT, &[region.units(8, 4), region.units(2, 2)])?;
    let map = Map::whole(&device)?;
    let pipe = hold(&map, 5 * UNIT)?;
    let mut log = Log::open()?;
    let mut working = match state {
        "bound" => None,
        "unbound" => Some(start(|| device.unbind())?),
        "waiting" | "killed" => Some(start(|| region.unbind())?),
        _ => return Err(Failure::Fail(format!("no such state: {state}"))),
    };
    if let Some(working) = &mut working {
        if state != "unbound" {
            check_region_waits(&mut log, &region, working)?;
        }
        if state == "killed" {
            working.kill();
        }
        // The host knows what to expect.
        let limit = if state == "waiting" {
            WHILE
        } else {
            SOON * kernel::slowness()
        };
        note(format!("{state}: {:?}", working.wait_for(limit)));
    }
    check("data", map.load(0).is_ok(), state == "bound")?;
    Ok((map, pipe, working))
}

/// Takes the machine down that way, in that state.
pub fn run(way: &str, state: &str) -> Outcome {
    let Some(go) = Way::named(way) else {
        return Err(Failure::Fail(format!("no such way to go down: {way}")));
    };
    go.prepare()?;
    let held = held(state)?;
    println!("going down: {way}, {state}");
    let _ = io::stdout().flush();
    // Printed text needs some time to reach the host.
    std::thread::sleep(WHILE);
    let errno = go.go();
    drop(held);
    Err(Failure::Fail(format!("{way}: {errno}")))
}

/// Says that the next kernel runs, as its first process, and powers off.
pub fn next() -> Outcome {
    println!("dax-guest: the next kernel runs");
    let _ = io::stdout().flush();
    let errno = Way::PowerOff.go();
    Err(Failure::Fail(format!("poweroff: {errno}")))
}

/// The number of `kexec_file_load(2)`, which libc does not have for RISC-V.
const KEXEC_FILE_LOAD: libc::c_long = {
    #[cfg(target_arch = "riscv64")]
    {
        294
    }
    #[cfg(not(target_arch = "riscv64"))]
    {
        libc::SYS_kexec_file_load
    }
};

/// `kexec_file_load(2)` of the kernel that the host gave, with this program as all of its files.
fn load_next_kernel() -> Result<(), Errno> {
    let kernel = File::open(KERNEL)?;
    let path = Path::new("/next.cpio");
    fs::write(path, archive(&fs::read("/proc/self/exe")?))?;
    let initrd = File::open(path)?;
    let line = CString::new(COMMAND_LINE).map_err(|_| Errno::EINVAL)?;
    let len = line.as_bytes_with_nul().len();
    let (kernel, initrd) = (kernel.as_raw_fd(), initrd.as_raw_fd());
    // SAFETY: Both files are open and `line` is a string of `len` bytes, across the call.
    let rc = unsafe { libc::syscall(KEXEC_FILE_LOAD, kernel, initrd, len, line.as_ptr(), 0) };
    fs::remove_file(path)?;
    Errno::result(rc).map(drop)
}

/// A cpio archive, in the one form that kernels read, with a program that is started first.
fn archive(program: &[u8]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (name, mode, data) in [("init", 0o100_755, program), ("TRAILER!!!", 0, &[])] {
        // Inode, owner, group, links, time, and numbers of devices mean nothing here.
        let (size, name_size) = (data.len(), name.len() + 1);
        archive.extend_from_slice(b"070701");
        for number in [1, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0] {
            archive.extend_from_slice(format!("{number:08x}").as_bytes());
        }
        archive.extend_from_slice(name.as_bytes());
        archive.push(0);
        archive.resize(archive.len().next_multiple_of(4), 0);
        archive.extend_from_slice(data);
        archive.resize(archive.len().next_multiple_of(4), 0);
    }
    archive.resize(archive.len().next_multiple_of(PAGE as usize), 0);
    archive
}
