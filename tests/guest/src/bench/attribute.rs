// SPDX-License-Identifier: GPL-2.0
//! An attribute file that stays open, so that each access is one system call.

use crate::errno::Errno;
use crate::sysfs::{Error, Result};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// An open attribute.
pub struct Attribute {
    path: PathBuf,
    file: File,
}

impl Attribute {
    /// Opens an attribute for reading.
    pub fn readable(path: &Path) -> Result<Attribute> {
        Attribute::open(path, OpenOptions::new().read(true))
    }

    /// Opens an attribute for writing.
    pub fn writable(path: &Path) -> Result<Attribute> {
        Attribute::open(path, OpenOptions::new().write(true))
    }

    /// Opens an attribute.
    fn open(path: &Path, options: &OpenOptions) -> Result<Attribute> {
        let file = options.open(path);
        Ok(Attribute {
            path: path.to_owned(),
            file: file
                .map_err(|e| Error::new(format!("open {}", path.display()), Errno::from(e)))?,
        })
    }

    /// Writes; what failed is told by [`Attribute::check`], which is not measured.
    pub fn write(&self, text: &str) -> std::io::Result<usize> {
        self.file.write_at(text.as_bytes(), 0)
    }

    /// Reads into a buffer.
    pub fn read(&self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.file.read_at(buffer, 0)
    }

    /// Makes sure that an access did what it should.
    pub fn check(&self, outcome: std::io::Result<usize>, expected: usize) -> Result<()> {
        let path = self.path.display();
        match outcome {
            Ok(count) if count == expected => Ok(()),
            Ok(count) => Err(Error::state(format!("{path}: {count} of {expected} bytes"))),
            Err(e) => Err(Error::new(format!("access {path}"), Errno::from(e))),
        }
    }
}
