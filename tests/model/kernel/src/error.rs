// SPDX-License-Identifier: GPL-2.0

//! Errors, each of which is an errno.

use std::fmt;

/// An errno, negative as in C.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Error(i32);

/// The result of most functions of the driver.
pub type Result<T = (), E = Error> = core::result::Result<T, E>;

impl Error {
    /// The error of a negative errno.
    pub const fn from_errno(errno: i32) -> Self {
        Self(errno)
    }

    /// The negative errno.
    pub const fn to_errno(self) -> i32 {
        self.0
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match code::NAMES.iter().find(|(error, _)| error == self) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "errno {}", self.0),
        }
    }
}

impl From<fmt::Error> for Error {
    fn from(_: fmt::Error) -> Self {
        code::EINVAL
    }
}

impl From<core::convert::Infallible> for Error {
    fn from(never: core::convert::Infallible) -> Self {
        match never {}
    }
}

/// The errnos.
pub mod code {
    use super::Error;

    macro_rules! codes {
        ($($name:ident = $number:literal,)*) => {
            $(
                #[doc = stringify!($name)]
                pub const $name: Error = Error(-$number);
            )*
            pub(super) const NAMES: &[(Error, &str)] = &[$(($name, stringify!($name))),*];
        };
    }
    codes! {
        EPERM = 1,
        ENOENT = 2,
        EINTR = 4,
        EIO = 5,
        ENXIO = 6,
        EAGAIN = 11,
        ENOMEM = 12,
        EACCES = 13,
        EFAULT = 14,
        EBUSY = 16,
        EEXIST = 17,
        ENODEV = 19,
        EINVAL = 22,
        ENOSPC = 28,
        ERANGE = 34,
        EOVERFLOW = 75,
        EOPNOTSUPP = 95,
        ERESTARTSYS = 512,
        EPROBE_DEFER = 517,
    }
}

impl Error {
    /// `ERR_PTR()`
    pub fn to_ptr<T>(self) -> *mut T {
        self.0 as isize as usize as *mut T
    }
}

/// An errno, if it is one.
///
/// # Errors
///
/// It is.
pub fn to_result(errno: i32) -> Result {
    match errno {
        ..=-1 => Err(Error(errno)),
        _ => Ok(()),
    }
}

/// An errno, if `f` fails.
pub fn from_result<T: From<i16>>(f: impl FnOnce() -> Result<T>) -> T {
    match f() {
        Ok(value) => value,
        Err(e) => T::from(i16::try_from(e.0).expect("errnos are small")),
    }
}

/// `PTR_ERR()`
///
/// # Errors
///
/// It is none.
pub fn from_err_ptr<T>(pointer: *mut T) -> Result<*mut T> {
    match pointer as isize {
        errno @ -4095..=-1 => Err(Error(errno as i32)),
        _ => Ok(pointer),
    }
}
