// SPDX-License-Identifier: GPL-2.0
//! The kernel's device events, as udev receives them.

use crate::errno::Errno;
use crate::sysfs::{Error, Result};
use std::mem::{self, MaybeUninit};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// How long an event may take to arrive.
const PATIENCE: Duration = Duration::from_secs(5);

/// A socket that hears every event from now on.
pub struct Listener {
    socket: OwnedFd,
}

impl Listener {
    /// Joins the kernel's broadcast group.
    pub fn open() -> Result<Listener> {
        let failed = |what: &str| Error::new(format!("uevent socket: {what}"), Errno::last());
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: Plain system call without pointers.
        let fd = unsafe { libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_KOBJECT_UEVENT) };
        if fd < 0 {
            return Err(failed("socket"));
        }
        // SAFETY: `fd` was just opened and nobody else owns it.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: All zeroes is a valid sockaddr_nl.
        let mut addr: libc::sockaddr_nl = unsafe { MaybeUninit::zeroed().assume_init() };
        addr.nl_family = libc::AF_NETLINK as libc::sa_family_t;
        addr.nl_groups = 1;
        let len = mem::size_of_val(&addr) as libc::socklen_t;
        // SAFETY: `addr` is a socket address of `len` bytes.
        if unsafe { libc::bind(fd, (&raw const addr).cast(), len) } != 0 {
            return Err(failed("bind"));
        }
        Ok(Listener { socket })
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
        let fd = self.socket.as_raw_fd();
        // SAFETY: `buffer` is valid for writes of its length.
        let len = unsafe { libc::recv(fd, buffer.as_mut_ptr().cast(), buffer.len(), 0) };
        let bytes = &buffer[..usize::try_from(len).ok()?];
        let lines = bytes
            .split(|&byte| byte == 0)
            .filter(|line| !line.is_empty())
            .map(|line| String::from_utf8_lossy(line).into_owned())
            .collect::<Vec<_>>();
        (!lines.is_empty()).then_some(lines)
    }
}
