// SPDX-License-Identifier: GPL-2.0
//! Nodes of devices outside of /dev.

use crate::device::Device;
use crate::errno::Errno;
use crate::sysfs::{Error, Result};
use std::ffi::CString;
use std::fs;
use std::path::{Path, PathBuf};

/// A second inode for a device, outside devtmpfs; removed when dropped.
pub struct Node(PathBuf);

impl Node {
    /// `mknod(2)`.
    pub fn of(device: &Device) -> Result<Node> {
        let path = std::env::temp_dir().join(format!("dax-guest-{}", device.name()));
        let dev = device.dev()?;
        let (major, minor) = dev.split_once(':').unwrap_or_default();
        let number = libc::makedev(major.parse().unwrap_or(0), minor.parse().unwrap_or(0));
        let _ = fs::remove_file(&path);
        let name = CString::new(path.to_string_lossy().as_bytes()).expect("no NUL in a path");
        // SAFETY: `name` is a NUL-terminated string that lives across the call.
        let rc = unsafe { libc::mknod(name.as_ptr(), libc::S_IFCHR | 0o600, number) };
        if rc != 0 {
            let what = format!("mknod {}", path.display());
            return Err(Error::new(what, Errno::last()));
        }
        Ok(Node(path))
    }

    /// The path of the node.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
