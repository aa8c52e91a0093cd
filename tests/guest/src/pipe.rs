// SPDX-License-Identifier: GPL-2.0
//! A pipe through which the kernel copies pages of a mapping, or holds them.

use crate::errno::Errno;
use crate::mmap::Map;
use nix::fcntl::OFlag;
use nix::unistd::{pipe2, read, write};
use std::os::fd::{AsRawFd, OwnedFd};

/// A pipe. Reading and writing never blocks.
pub struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
}

/// The count or the error of a system call.
fn count(rc: isize) -> Result<usize, Errno> {
    Ok(Errno::result(rc)? as usize)
}

impl Pipe {
    /// Makes a pipe.
    pub fn new() -> Result<Pipe, Errno> {
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
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
        Ok(write(&self.writer, &word.to_ne_bytes())?)
    }

    /// Reads eight bytes.
    pub fn read_word(&self) -> Result<u64, Errno> {
        let mut bytes = [0u8; 8];
        match read(self.reader.as_raw_fd(), &mut bytes)? {
            8 => Ok(u64::from_ne_bytes(bytes)),
            _ => Err(Errno::EIO),
        }
    }
}
