// SPDX-License-Identifier: GPL-2.0
//! The kernel's device events, as udev receives them.

use crate::errno::Errno;
use crate::sysfs::{Error, Result};
use nix::sys::socket::{
    bind, recv, socket, AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType,
};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// Time that an event may take to arrive.
const PATIENCE: Duration = Duration::from_secs(5);

/// A socket that hears every event from now on.
pub struct Listener {
    socket: OwnedFd,
}

impl Listener {
    /// Joins the kernel's broadcast group.
    pub fn open() -> Result<Listener> {
        let open = || {
            let socket = socket(
                AddressFamily::Netlink,
                SockType::Raw,
                SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
                SockProtocol::NetlinkKObjectUEvent,
            )?;
            bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 1))?;
            Ok(Listener { socket })
        };
        open().map_err(|errno: Errno| Error::new("uevent socket", errno))
    }

    /// Waits for an event of a device; its lines.
    pub fn find(&mut self, action: &str, devpath: &str) -> Result<Vec<String>> {
        let wanted = format!("{action}@{devpath}");
        let mut others = Vec::new();
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            match self.receive() {
                Some(lines) if lines[0] == wanted => return Ok(lines),
                Some(lines) => others.push(lines[0].clone()),
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        }
        Err(Error::state(format!("no event {wanted}, only {others:?}")))
    }

    /// The next event, if one has arrived.
    pub fn receive(&mut self) -> Option<Vec<String>> {
        let mut buffer = [0u8; 8192];
        let len = recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()).ok()?;
        let bytes = &buffer[..len];
        let lines = bytes
            .split(|&byte| byte == 0)
            .filter(|line| !line.is_empty())
            .map(|line| String::from_utf8_lossy(line).into_owned())
            .collect::<Vec<_>>();
        (!lines.is_empty()).then_some(lines)
    }
}
