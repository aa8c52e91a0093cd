// SPDX-License-Identifier: GPL-2.0
//! The kernel log, without the parts that differ from run to run.

use crate::sysfs::{Error, Result};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;

/// The kernel log from some moment on.
pub struct Log(File);

impl Log {
    /// Begins at its present end.
    pub fn open() -> Result<Log> {
        let path = "/dev/kmsg";
        let open = || {
            let mut options = OpenOptions::new();
            let mut file = options
                .read(true)
                .custom_flags(libc::O_NONBLOCK)
                .open(path)?;
            file.seek(SeekFrom::End(0))?;
            Ok(file)
        };
        open()
            .map(Log)
            .map_err(|e: std::io::Error| Error::new(format!("open {path}"), e.into()))
    }

    /// The lines since the last call, but for our own.
    pub fn lines(&mut self) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        let mut buffer = vec![0; 8192];
        let mut in_warning = false;
        loop {
            match self.0.read(&mut buffer) {
                Ok(count) => {
                    let record = String::from_utf8_lossy(&buffer[..count]);
                    let Some((head, text)) = record.split_once(';') else {
                        continue;
                    };
                    // Lines that begin with a blank say which device it is about.
                    let said: Vec<&str> =
                        text.lines().filter(|line| !line.starts_with(' ')).collect();
                    let text = said.join("\n");
                    let level = head.split(',').next().unwrap_or_default();
                    let first = text.lines().next().unwrap_or_default();
                    let ended = first.contains("[ end trace");
                    in_warning |= first.contains("[ cut here ]");
                    let told = !(in_warning || ended) || first.starts_with("WARNING: ");
                    if told && !first.starts_with("dax-guest: ") {
                        lines.push(format!("<{level}> {}", normal(text.trim_end())));
                    }
                    in_warning &= !ended;
                }
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => return Ok(lines),
                // Records were overwritten before they could be read.
                Err(e) if e.raw_os_error() == Some(libc::EPIPE) => {
                    lines.push("(lines were lost)".into());
                }
                Err(e) => return Err(Error::new("read /dev/kmsg", e.into())),
            }
        }
    }
}

/// Replaces the parts of a log line that differ from run to run: addresses of this process,
/// pointers into the kernel, a device's minor number, and how many pages the kernel's own image
/// leaves.
fn normal(text: &str) -> String {
    let mut said = String::new();
    for part in text.split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
        let word = part.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        let digits = word.trim_start_matches("0x");
        let hex = digits.bytes().all(|b| b.is_ascii_hexdigit());
        let kernel = digits.len() == 16 && digits.starts_with("ffff");
        // Random places of mappings begin up to a TiB, and the stack, below the end of a process:
        // 0x7fff'ffff'f000, and a bit more on arm64.
        let tops = match cfg!(target_arch = "aarch64") {
            true => ["fffe", "ffff"],
            false => ["7e", "7f"],
        };
        let upper = tops.iter().any(|top| digits.starts_with(top));
        let process = digits.len() == 12 && upper;
        if hex && (kernel || process) {
            said += "(address)";
        } else if said.ends_with("Total pages: ") {
            said += "(any)";
        } else if said.ends_with("DEVICE=c254:") {
            said += "(minor)";
        } else {
            said += word;
        }
        said += &part[word.len()..];
    }
    said
}
