// SPDX-License-Identifier: GPL-2.0
//! An io_uring that holds a buffer, as programs register one for I/O without copying.

use crate::errno::Errno;
use crate::mmap::Map;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// `IORING_REGISTER_BUFFERS`.
const REGISTER_BUFFERS: u32 = 0;
/// The size of `struct io_uring_params`.
const PARAMS: usize = 120;

/// A ring with one registered buffer; its pages stay pinned until it is dropped.
pub struct Uring {
    _ring: OwnedFd,
}

impl Uring {
    /// Registers part of a mapping (`io_uring_setup(2)`, `io_uring_register(2)`).
    pub fn holding(map: &Map, offset: u64, len: usize) -> Result<Uring, Errno> {
        let mut params = [0u64; PARAMS / 8];
        // SAFETY: One entry, and zeroed parameters of the size that the kernel writes.
        let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, params.as_mut_ptr()) };
        let fd = Errno::result(fd)?;
        // SAFETY: The kernel just opened it, and nobody else owns it.
        let ring = unsafe { OwnedFd::from_raw_fd(fd as i32) };
        let buffer = libc::iovec {
            iov_base: map.pointer(offset, len),
            iov_len: len,
        };
        // SAFETY: `buffer` lives across the call; the kernel checks the memory it describes and
        // never writes there without being asked to.
        let rc = unsafe {
            libc::syscall(
                libc::SYS_io_uring_register,
                ring.as_raw_fd(),
                REGISTER_BUFFERS,
                &raw const buffer,
                1,
            )
        };
        Errno::result(rc)?;
        Ok(Uring { _ring: ring })
    }
}
