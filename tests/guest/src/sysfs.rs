// SPDX-License-Identifier: GPL-2.0
//! Reading and writing attribute files, one system call per access.

use crate::compare::transcribe::around;
use crate::errno::Errno;
use crate::units::PAGE;
use dax_protocol::compare::Operation;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A failed access: its description, and the kernel's answer.
#[derive(Debug)]
pub struct Error {
    /// The operation and its object, for people.
    pub what: String,
    /// The kernel's answer.
    pub errno: Errno,
}

impl Error {
    /// Describes a failed operation.
    pub fn new(what: impl Into<String>, errno: Errno) -> Error {
        Error {
            what: what.into(),
            errno,
        }
    }

    /// Describes a state that should not be, where no system call failed.
    pub fn state(what: impl Into<String>) -> Error {
        Error::new(what, Errno::EIO)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.errno)
    }
}

/// The result of an access that is expected to work.
pub type Result<T> = std::result::Result<T, Error>;

/// Writes `bytes` with one `write(2)`; the count that the driver returned, or its error.
pub fn try_write(path: &Path, bytes: &[u8]) -> std::result::Result<usize, Errno> {
    let write = || {
        let mut file = OpenOptions::new().write(true).open(path)?;
        Ok(file.write(bytes)?)
    };
    let op = || Operation::write(path.display().to_string(), String::from_utf8_lossy(bytes));
    around(op, write, |written| match written {
        Ok(count) => format!("wrote {count}"),
        Err(errno) => errno.to_string(),
    })
}

/// Reads a whole attribute with one `read(2)`.
pub fn try_read(path: &Path) -> std::result::Result<String, Errno> {
    let mut page = vec![0; PAGE as usize];
    let len = File::open(path)?.read(&mut page)?;
    page.truncate(len);
    String::from_utf8(page).map_err(|_| Errno::EIO)
}

/// Writes `text` and insists on success and on the full count.
pub fn write(path: &Path, text: &str) -> Result<()> {
    let what = || format!("write {text:?} to {}", path.display());
    match try_write(path, text.as_bytes()) {
        Ok(count) if count == text.len() => Ok(()),
        Ok(count) => Err(Error::state(format!("{}: returned {count}", what()))),
        Err(errno) => Err(Error::new(what(), errno)),
    }
}

/// Reads an attribute exactly as the kernel gives it.
pub fn read_raw(path: &Path) -> Result<String> {
    try_read(path).map_err(|errno| Error::new(format!("read {}", path.display()), errno))
}

/// Reads an attribute without the newline at its end.
pub fn read(path: &Path) -> Result<String> {
    let mut text = read_raw(path)?;
    if text.ends_with('\n') {
        text.pop();
    }
    Ok(text)
}

/// Reads a number, decimal or hexadecimal by its `0x`.
pub fn read_number(path: &Path) -> Result<u64> {
    let text = read(path)?;
    let parsed = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| Error::state(format!("{}: {text:?} is not a number", path.display())))
}

/// The permission bits of a file.
pub fn mode(path: &Path) -> Result<u32> {
    let meta = fs::metadata(path)
        .map_err(|e| Error::new(format!("stat {}", path.display()), Errno::from(e)))?;
    Ok(meta.mode() & 0o7777)
}

/// The names in a directory, sorted.
pub fn names(dir: &Path) -> Result<Vec<String>> {
    let failed = |e| Error::new(format!("list {}", dir.display()), Errno::from(e));
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        names.push(
            entry
                .map_err(failed)?
                .file_name()
                .to_string_lossy()
                .into_owned(),
        );
    }
    names.sort();
    Ok(names)
}

/// The last component of a symbolic link's target; `None` if there is no link.
pub fn link_name(path: &Path) -> Option<String> {
    let target = fs::read_link(path).ok()?;
    Some(target.file_name()?.to_string_lossy().into_owned())
}
