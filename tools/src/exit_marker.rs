// SPDX-License-Identifier: GPL-2.0
//! Finds the marker that ends a command's output in the guest's byte stream: a NUL, a line that
//! nobody can guess, the exit status. All bytes before the marker are the command's.

use std::path::Path;

use anyhow::Result;

use crate::cache;

/// A line that nobody can guess.
pub fn new_line() -> Result<String> {
    let uuid = cache::read_text(Path::new("/proc/sys/kernel/random/uuid"))?;
    Ok(format!("xtask-end {}", uuid.trim()))
}

pub struct ExitMarker {
    mark: Vec<u8>,
    held: Vec<u8>,
}

impl ExitMarker {
    pub fn new(line: &str) -> Self {
        let mark = [b"\0", line.as_bytes(), b" "].concat();
        Self {
            mark,
            held: Vec::new(),
        }
    }

    /// Takes the next bytes of the stream. Returns the bytes that certainly are the command's, and
    /// the exit status once the whole marker has arrived.
    pub fn feed(&mut self, bytes: &[u8]) -> (Vec<u8>, Option<i32>) {
        self.held.extend_from_slice(bytes);
        if let Some(at) = position(&self.held, &self.mark) {
            let status = self.held[at + self.mark.len()..].split(|&b| b == b'\n');
            let complete = self.held[at..].contains(&b'\n');
            let status = status
                .into_iter()
                .next()
                .and_then(|s| std::str::from_utf8(s).ok()?.parse().ok());
            let output: Vec<u8> = self.held.drain(..at).collect();
            return (output, status.filter(|_| complete));
        }
        let keep = self.partial();
        let output = self.held.drain(..self.held.len() - keep).collect();
        (output, None)
    }

    /// The length of the longest end of `held` that may be the start of the marker.
    fn partial(&self) -> usize {
        let longest = self.held.len().min(self.mark.len());
        (1..=longest)
            .rev()
            .find(|&n| self.mark.starts_with(&self.held[self.held.len() - n..]))
            .unwrap_or(0)
    }
}

fn position(data: &[u8], what: &[u8]) -> Option<usize> {
    let mut from = 0;
    // Searching for the marker's first byte, a NUL, is fast: output rarely has one.
    while let Some(nul) = data[from..].iter().position(|&b| b == what[0]) {
        if data[from + nul..].starts_with(what) {
            return Some(from + nul);
        }
        from += nul + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(chunks: &[&[u8]]) -> (Vec<u8>, Option<i32>) {
        let mut mark = ExitMarker::new("end 42");
        let mut output = Vec::new();
        for chunk in chunks {
            let (bytes, status) = mark.feed(chunk);
            output.extend(bytes);
            if status.is_some() {
                return (output, status);
            }
        }
        (output, None)
    }

    #[test]
    fn whole_and_in_pieces() {
        let stream = b"a\0b\r\n\0end 41\0end 42 137\n";
        let want = (b"a\0b\r\n\0end 41".to_vec(), Some(137));
        assert_eq!(all(&[stream]), want);
        let single: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(all(&single), want);
        for cut in 1..stream.len() {
            assert_eq!(all(&[&stream[..cut], &stream[cut..]]), want, "cut at {cut}");
        }
    }

    #[test]
    fn no_output_and_no_end() {
        assert_eq!(all(&[b"\0end 42 0\n"]), (Vec::new(), Some(0)));
        assert_eq!(all(&[b"text\0"]), (b"text".to_vec(), None));
    }
}
