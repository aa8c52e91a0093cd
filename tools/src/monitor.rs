// SPDX-License-Identifier: GPL-2.0
//! QEMU's monitor. A guest that hangs is told through it to say what it is doing.

use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::Command;

use anyhow::{Context, Result};
use nix::fcntl::{fcntl, FcntlArg, FdFlag};

/// Kernel parameters by which the interrupt of [`Monitor::interrupt`] makes the kernel report what
/// each CPU does, and which tasks wait without a signal being able to end that.
pub const APPEND: &str = "unknown_nmi_panic panic_sys_info=all_bt,blocked_tasks";

/// The first line of that report contains this.
pub const REPORT: &str = "NMI received for unknown reason";

/// The tools' end of a monitor.
pub struct Monitor {
    ours: UnixStream,
    /// QEMU's end, which stays open until QEMU has it.
    _qemu: OwnedFd,
}

impl Monitor {
    /// Adds a monitor to QEMU's options.
    pub fn add(command: &mut Command) -> Result<Self> {
        let why = "cannot make a socket for QEMU's monitor";
        let (ours, qemu) = UnixStream::pair().context(why)?;
        let fd = qemu.as_raw_fd();
        fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty())).context(why)?;
        let socket = format!("socket,id=monitor,fd={fd}");
        command.args(["-chardev", &socket, "-mon", "chardev=monitor,mode=control"]);
        Ok(Self {
            ours,
            _qemu: qemu.into(),
        })
    }

    /// Sends the guest an interrupt that it cannot mask. Not all machines of QEMU have one.
    pub fn interrupt(&mut self) -> std::io::Result<()> {
        let commands = b"{\"execute\":\"qmp_capabilities\"}\n{\"execute\":\"inject-nmi\"}\n";
        self.ours.write_all(commands)
    }
}
