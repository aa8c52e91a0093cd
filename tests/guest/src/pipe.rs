// SPDX-License-Identifier: GPL-2.0
//! A pipe through which the kernel copies pages of a mapping, or holds them.

use crate::errno::Errno;
use crate::mmap::Map;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// A pipe. Reading and writing never blocks.
pub struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
}

/// The count or the error of a system call.
fn count(rc: isize) -> Result<usize, Errno> {
    usize::try_from(rc).map_err(|_| Errno::last())
}

impl Pipe {
    /// Makes one.
    pub fn new() -> Result<Pipe, Errno> {
        let mut fds = [0; 2];
        // SAFETY: `fds` has room for the two descriptors.
        if unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) } != 0 {
            return Err(Errno::last());
        }
        // SAFETY: Both were just opened and nobody else owns them.
        let (reader, writer) =
            unsafe { (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])) };
        Ok(Pipe { reader, writer })
    }

    /// `write(2)` with part of a mapping as the buffer.
    pub fn write_from(&self, map: &Map, offset: u64, len: usize) -> Result<usize, Errno> {
        let from = map.pointer(offset, len);
        // SAFETY: The kernel checks the buffer itself, and answers EFAULT for one that is bad.
        count(unsafe { libc::write(self.writer.as_raw_fd(), from, len) })
    }

    /// `read(2)` with part of a mapping as the buffer.
    pub fn read_into(&self, map: &Map, offset: u64, len: usize) -> Result<usize, Errno> {
        let into = map.pointer(offset, len);
        // SAFETY: The buffer is within the mapping, into which no Rust reference exists; the
        // kernel checks it itself.
        count(unsafe { libc::read(self.reader.as_raw_fd(), into, len) })
    }

    /// `vmsplice(2)`: the pipe holds the page, not a copy.
    pub fn splice_from(&self, map: &Map, offset: u64, len: usize) -> Result<usize, Errno> {
        let part = libc::iovec {
            iov_base: map.pointer(offset, len),
            iov_len: len,
        };
        // SAFETY: `part` lives across the call; the kernel checks the memory it describes.
        count(unsafe { libc::vmsplice(self.writer.as_raw_fd(), &part, 1, 0) })
    }

    /// Writes eight bytes.
    pub fn write_word(&self, word: u64) -> Result<usize, Errno> {
        let bytes = word.to_ne_bytes();
        // SAFETY: `bytes` is valid for reads of its length.
        count(unsafe { libc::write(self.writer.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) })
    }

    /// Reads eight bytes.
    pub fn read_word(&self) -> Result<u64, Errno> {
        let mut bytes = [0u8; 8];
        let fd = self.reader.as_raw_fd();
        // SAFETY: `bytes` is valid for writes of its length.
        let len = count(unsafe { libc::read(fd, bytes.as_mut_ptr().cast(), bytes.len()) })?;
        if len == bytes.len() {
            Ok(u64::from_ne_bytes(bytes))
        } else {
            Err(Errno::EIO)
        }
    }
}
