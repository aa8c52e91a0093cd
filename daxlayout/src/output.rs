// SPDX-License-Identifier: GPL-2.0
//! Output, to standard output or into a file.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;

use crate::error::{Error, Result};

/// Prints lines.
pub fn lines<T: AsRef<str>>(lines: &[T]) -> Result<()> {
    let mut text = String::new();
    for line in lines {
        text.push_str(line.as_ref());
        text.push('\n');
    }
    print(&text)
}

/// Prints a value as JSON.
pub fn json(value: &impl Serialize) -> Result<()> {
    print(&json_text(value)?)
}

/// A value as JSON, with a newline.
pub fn json_text(value: &impl Serialize) -> Result<String> {
    let text = serde_json::to_string_pretty(value).map_err(|source| Error::Json {
        what: "output".to_owned(),
        source,
    })?;
    Ok(text + "\n")
}

/// Prints text as it is.
pub fn print(text: &str) -> Result<()> {
    let mut out = io::stdout();
    let printed = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    printed.map_err(|source| Error::Output {
        what: "to standard output".to_owned(),
        source,
    })
}

/// Writes a file.
pub fn file(path: &Path, text: &[u8]) -> Result<()> {
    fs::write(path, text).map_err(|source| Error::Output {
        what: path.display().to_string(),
        source,
    })
}

/// Replaces a file at once: whoever reads it sees all of the old text or all of the new one.
pub fn replace(path: &Path, text: &[u8]) -> Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    file(&new, text)?;
    fs::rename(&new, path).map_err(|source| Error::Output {
        what: path.display().to_string(),
        source,
    })
}
