// SPDX-License-Identifier: GPL-2.0
//! Writer for the "newc" cpio archives that Linux unpacks as initramfs.
//! Everything belongs to root; hard links become separate files.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};
use walkdir::WalkDir;

/// The code that makes archives, for their keys: other code may make other archives.
pub const CODE: &str = include_str!("cpio.rs");

const DIR: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;
const CHAR: u32 = 0o020_000;

pub struct Archive<W: Write> {
    out: W,
    inode: u32,
    /// Directories written so far: the kernel wants each before what it holds.
    directories: BTreeSet<PathBuf>,
}

impl<W: Write> Archive<W> {
    pub fn new(out: W) -> Self {
        Self {
            out,
            inode: 0,
            directories: BTreeSet::new(),
        }
    }

    /// A directory, and with it those above it; one that is there is left alone.
    pub fn directory(&mut self, name: &Path, mode: u32) -> Result<()> {
        if name.as_os_str().is_empty() || !self.directories.insert(name.to_owned()) {
            return Ok(());
        }
        if let Some(parent) = name.parent() {
            self.directory(parent, 0o755)?;
        }
        self.entry(name, DIR | mode, &[], (0, 0))
    }

    pub fn file(&mut self, name: &Path, mode: u32, data: &[u8]) -> Result<()> {
        self.parent(name)?;
        self.entry(name, FILE | (mode & 0o7777), data, (0, 0))
    }

    pub fn symlink(&mut self, name: &Path, target: &Path) -> Result<()> {
        self.parent(name)?;
        self.entry(name, LINK | 0o777, target.as_os_str().as_bytes(), (0, 0))
    }

    pub fn char_device(&mut self, name: &Path, mode: u32, number: (u32, u32)) -> Result<()> {
        self.parent(name)?;
        self.entry(name, CHAR | mode, &[], number)
    }

    /// Whatever `source` is on the host, under `name`.
    pub fn copy(&mut self, name: &Path, source: &Path) -> Result<()> {
        let why = || format!("cannot read {}", source.display());
        let meta = fs::symlink_metadata(source).with_context(why)?;
        let mode = meta.permissions().mode() & 0o7777;
        if meta.is_dir() {
            self.directory(name, mode)
        } else if meta.is_symlink() {
            self.symlink(name, &fs::read_link(source).with_context(why)?)
        } else if meta.is_file() {
            self.file(name, mode, &fs::read(source).with_context(why)?)
        } else {
            bail!("{} is neither file, directory nor link", source.display())
        }
    }

    fn parent(&mut self, name: &Path) -> Result<()> {
        name.parent()
            .map_or(Ok(()), |parent| self.directory(parent, 0o755))
    }

    fn entry(&mut self, name: &Path, mode: u32, data: &[u8], device: (u32, u32)) -> Result<()> {
        self.inode += 1;
        self.raw(self.inode, name.as_os_str().as_bytes(), mode, data, device)
            .with_context(|| format!("cannot write {} to the guest image", name.display()))
    }

    fn raw(
        &mut self,
        inode: u32,
        name: &[u8],
        mode: u32,
        data: &[u8],
        device: (u32, u32),
    ) -> io::Result<()> {
        let too_large = |_| io::Error::new(io::ErrorKind::InvalidInput, "4 GiB or more");
        let size = u32::try_from(data.len()).map_err(too_large)?;
        let name_size = u32::try_from(name.len() + 1).map_err(too_large)?;
        let links = if mode & 0o170_000 == DIR { 2 } else { 1 };
        let fields = [
            inode, mode, 0, 0, links, 0, size, 0, 0, device.0, device.1, name_size, 0,
        ];
        self.out.write_all(b"070701")?;
        for field in fields {
            write!(self.out, "{field:08x}")?;
        }
        self.out.write_all(name)?;
        self.out.write_all(&[0])?;
        self.pad(6 + 13 * 8 + name.len() + 1)?;
        self.out.write_all(data)?;
        self.pad(data.len())
    }

    fn pad(&mut self, length: usize) -> io::Result<()> {
        self.out.write_all(&[0; 3][..(4 - length % 4) % 4])
    }

    /// Ends the archive; another one may follow in the same file.
    pub fn finish(mut self) -> Result<W> {
        self.raw(0, b"TRAILER!!!", 0, &[], (0, 0))
            .context("cannot end the guest image")?;
        Ok(self.out)
    }
}

/// A directory as a cpio archive for a guest.
pub fn pack(staged: &Path, to: &Path) -> Result<()> {
    let file = File::create(to).with_context(|| format!("cannot make {}", to.display()))?;
    let mut archive = Archive::new(BufWriter::new(file));
    for entry in WalkDir::new(staged).sort_by_file_name() {
        let entry = entry.with_context(|| format!("cannot list {}", staged.display()))?;
        let name = entry.path().strip_prefix(staged).unwrap_or(entry.path());
        archive.copy(name, entry.path())?;
    }
    archive
        .finish()?
        .flush()
        .with_context(|| format!("cannot write {}", to.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_and_padding() {
        let mut archive = Archive::new(Vec::new());
        archive.file(Path::new("a/b"), 0o755, b"hello").unwrap();
        let bytes = archive.finish().unwrap();
        assert_eq!(bytes.len() % 4, 0);
        let text = String::from_utf8_lossy(&bytes);
        assert_eq!(text.matches("070701").count(), 3);
        // Directory "a" first: its header says mode 040755 and a name of 2 bytes.
        assert_eq!(&text[14..22], "000041ed");
        assert_eq!(&text[94..102], "00000002");
        let file = text.rfind("a/b\0").unwrap();
        assert_eq!(file % 4, 110 % 4);
        // 110 bytes of header and 4 of name need 2 of padding.
        assert_eq!(&bytes[file + 6..file + 11], b"hello");
    }

    #[test]
    fn unpacks_with_the_real_thing() {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("s");
        fs::write(&source, "x").unwrap();
        fs::set_permissions(&source, fs::Permissions::from_mode(0o4711)).unwrap();
        let mut archive = Archive::new(Vec::new());
        archive.copy(Path::new("bin/s"), &source).unwrap();
        archive.symlink(Path::new("l"), Path::new("bin/s")).unwrap();
        let bytes = archive.finish().unwrap();
        assert!(String::from_utf8_lossy(&bytes).contains("000089c9"));
        assert_eq!(bytes.len() % 4, 0);
    }
}
