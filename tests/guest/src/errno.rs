// SPDX-License-Identifier: GPL-2.0
//! Error numbers that print as names.

use nix::errno::ErrnoSentinel;
use std::fmt;
use std::io;

/// A positive Linux error number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Errno(pub i32);

/// Declares one constant per name and the table to print them from.
macro_rules! errnos {
    ($($name:ident)*) => {
        impl Errno {
            $(
                #[doc = concat!("`", stringify!($name), "`.")]
                pub const $name: Errno = Errno(libc::$name);
            )*

            /// The symbolic name, for errnos that the driver uses.
            fn name(self) -> Option<&'static str> {
                match self {
                    $(Errno::$name => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

errnos! {
    EPERM ENOENT EINTR EIO ENXIO EAGAIN ENOMEM EACCES EFAULT EBUSY EEXIST ENODEV EINVAL ENOSPC
    ERANGE EOPNOTSUPP ETIMEDOUT
}

impl Errno {
    /// Turns the return value of a system call into a result: -1 is a failure.
    pub fn result<T: ErrnoSentinel + PartialEq>(returned: T) -> Result<T, Errno> {
        Ok(nix::errno::Errno::result(returned)?)
    }
}

impl From<io::Error> for Errno {
    /// An error that did not come from the kernel has no number: it becomes `EIO`.
    fn from(error: io::Error) -> Errno {
        error.raw_os_error().map_or(Errno::EIO, Errno)
    }
}

impl From<nix::errno::Errno> for Errno {
    fn from(error: nix::errno::Errno) -> Errno {
        Errno(error as i32)
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "errno {}", self.0),
        }
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
