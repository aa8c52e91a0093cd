// SPDX-License-Identifier: GPL-2.0
//! Files of a sysfs tree.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::error::{Error, Result};

/// A sysfs tree, and `/proc/iomem`.
#[derive(Clone, Debug)]
pub struct Sysfs {
    /// `/sys`
    pub root: PathBuf,
    /// `/proc/iomem`, if it belongs to the same machine.
    pub iomem: Option<PathBuf>,
}

impl Sysfs {
    /// The path of a file or directory of the tree.
    pub fn path(&self, below: &str) -> PathBuf {
        self.root.join(below)
    }
}

/// Reads a file, without white space at its end.
pub fn read(path: &Path) -> Result<String> {
    let text = fs::read_to_string(path).map_err(|source| unreadable(path, source))?;
    Ok(text.trim_end().to_owned())
}

/// Reads a file as [`read`] does; none if there is no such file.
pub fn read_if_there(path: &Path) -> Result<Option<String>> {
    match read(path) {
        Err(Error::Read { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
        text => text.map(Some),
    }
}

/// Reads a number, decimal or hexadecimal with `0x`.
pub fn number(path: &Path) -> Result<u64> {
    let text = read(path)?;
    parse_number(&text).ok_or_else(|| not_expected(path, &text))
}

/// Reads a number as [`number`] does; none if there is no such file.
pub fn number_if_there(path: &Path) -> Result<Option<u64>> {
    match read_if_there(path)? {
        Some(text) => match parse_number(&text) {
            Some(number) => Ok(Some(number)),
            None => Err(not_expected(path, &text)),
        },
        None => Ok(None),
    }
}

/// A number as sysfs prints it.
pub fn parse_number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => u64::from_str(text).ok(),
    }
}

/// The names in a directory, sorted; empty if there is no such directory.
pub fn names(dir: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(dir) {
        Err(source) if source.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|source| unreadable(dir, source))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|source| unreadable(dir, source))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// The file name of a link's target; none if there is no such link.
pub fn link_name(path: &Path) -> Option<String> {
    let target = fs::read_link(path).ok()?;
    Some(target.file_name()?.to_string_lossy().into_owned())
}

/// The path without links.
pub fn resolved(path: &Path) -> Result<PathBuf> {
    path.canonicalize()
        .map_err(|source| unreadable(path, source))
}

/// Writes an attribute, in one write. Returns the error of the system call.
pub fn try_write(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    file.write_all(text.as_bytes())
}

/// Writes an attribute.
pub fn write(path: &Path, text: &str) -> Result<()> {
    try_write(path, text).map_err(|source| Error::Write {
        path: path.to_owned(),
        text: text.to_owned(),
        source,
    })
}

fn unreadable(path: &Path, source: io::Error) -> Error {
    Error::Read {
        path: path.to_owned(),
        source,
    }
}

fn not_expected(path: &Path, text: &str) -> Error {
    Error::Parse {
        path: path.to_owned(),
        text: text.to_owned(),
    }
}
