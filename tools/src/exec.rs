// SPDX-License-Identifier: GPL-2.0
//! Runs other programs, writes their output to a log, and counts its lines.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{bail, Context, Result};
use regex::bytes::Regex;

use crate::cache;
use crate::progress::Step;

/// Lines shown of a failed command's log.
const SHOWN: usize = 40;

/// The words of a command. For a command in the build root, the words that run there.
pub fn describe(command: &Command) -> String {
    let args: Vec<_> = command.get_args().map(OsStr::to_string_lossy).collect();
    if let Some(at) = args
        .iter()
        .position(|a| a == "--")
        .filter(|_| args.iter().any(|a| a == "enter"))
    {
        return format!("in the build root: {}", args[at + 1..].join(" "));
    }
    let program = command.get_program().to_string_lossy();
    std::iter::once(program)
        .chain(args)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Runs `command` with stdout and stderr, in order, into `log`; each line is
/// one unit of `step`. On failure the error holds what the log says went wrong.
pub fn logged(command: &mut Command, log: &Path, step: &Step) -> Result<()> {
    let status = logged_to_end(command, log, step)?;
    if !status.success() {
        bail!(failure(command, status, log)?);
    }
    Ok(())
}

/// The words of `strerror(ENOSPC)`.
const DISK_FULL: &str = "No space left on device";

/// The error about a command that failed, from its log and status.
pub fn failure(command: &Command, status: ExitStatus, log: &Path) -> Result<String> {
    let relevant = relevant(log)?;
    let mut text = format!(
        "{relevant}\n{}: {status}\nthe whole log: {}",
        describe(command),
        log.display()
    );
    if relevant.contains(DISK_FULL) {
        let cache = cache::dir();
        text += &format!(
            "\nA disk was full. {0} is the cache; {0}/kernel has a directory for each kernel, and \
             those that no command needs any more may be deleted. `make clean` deletes all of {0}.",
            cache.display()
        );
    }
    Ok(text)
}

/// Runs a command with its output in a log, as logged() does. Returns its status, for a command
/// whose status says more than success or failure.
pub fn logged_to_end(command: &mut Command, log: &Path, step: &Step) -> Result<ExitStatus> {
    let what = describe(command);
    let (read, write) = nix::unistd::pipe().context("cannot make a pipe")?;
    let again = write.try_clone().context("cannot copy a pipe's end")?;
    command
        .stdin(Stdio::null())
        .stdout(Stdio::from(write))
        .stderr(Stdio::from(again));
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot start: {what}"))?;
    // `command` holds the writing ends. Close them, or the reader never sees the end of the pipe.
    command.stdout(Stdio::null()).stderr(Stdio::null());

    let mut file = File::options()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| format!("cannot open the log {}", log.display()))?;
    let mut lines = BufReader::new(File::from(read));
    let mut line = Vec::new();
    while lines
        .read_until(b'\n', &mut line)
        .with_context(|| format!("reading from: {what}"))?
        > 0
    {
        file.write_all(&line)
            .with_context(|| format!("cannot write {}", log.display()))?;
        step.message(String::from_utf8_lossy(&line).trim());
        step.advance(1);
        line.clear();
    }
    child.wait().with_context(|| format!("waiting for: {what}"))
}

/// Runs `command` and returns its stdout. If it fails, the error holds its stderr.
pub fn output(command: &mut Command) -> Result<Vec<u8>> {
    let what = describe(command);
    let out = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start: {what}"))?;
    if !out.status.success() {
        bail!(
            "{what}: {}\n{}",
            out.status,
            String::from_utf8_lossy(&out.stderr).trim_end()
        );
    }
    Ok(out.stdout)
}

/// The part of a log that explains a failure: from the first error on, or the end if no line is an
/// error.
fn relevant(log: &Path) -> Result<String> {
    let data = cache::read(log)?;
    let lines: Vec<&[u8]> = data.split(|&b| b == b'\n').collect();
    let from = first_error(&lines)?.unwrap_or_else(|| lines.len().saturating_sub(SHOWN));
    let shown = lines.iter().skip(from).take(SHOWN);
    Ok(shown
        .map(|l| String::from_utf8_lossy(l))
        .collect::<Vec<_>>()
        .join("\n"))
}

/// The lines of compilers, of apt and of make that say what is wrong.
const ERROR: &str =
    r"(?-u)^error(\[E\d+\])?:|: (fatal )?error:|^E: |undefined symbol|\*\*\* \[|^make.*\*\*\*";

fn first_error(lines: &[&[u8]]) -> Result<Option<usize>> {
    first_match(&format!("{ERROR}|{DISK_FULL}"), lines)
}

fn first_match(pattern: &str, lines: &[&[u8]]) -> Result<Option<usize>> {
    let pattern = Regex::new(pattern).context("cannot look for errors in a log")?;
    Ok(lines.iter().position(|line| pattern.is_match(line)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_first_error() {
        let log = b"  CC a.o\nwarning: x\nerror[E0425]: cannot find\n --> src/a.rs\nmake: *** [x] Error 1\n";
        let lines: Vec<&[u8]> = log.split(|&b| b == b'\n').collect();
        assert_eq!(first_error(&lines).unwrap(), Some(2));
        assert_eq!(first_error(&[b"  CC error.o"]).unwrap(), None);
        assert_eq!(
            first_error(&[b"ld.lld: error: undefined symbol: f"]).unwrap(),
            Some(0)
        );
        assert!(first_match("(", &[]).is_err());
    }

    #[test]
    fn a_failure_names_the_error_and_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let step = Step::start("test", 0);
        let mut command = Command::new("sh");
        command.args(["-c", "echo fine; echo 'x.c:1: error: bad' >&2; exit 3"]);
        let text = logged(&mut command, &log, &step).unwrap_err().to_string();
        step.done();
        assert!(text.contains("x.c:1: error: bad"), "{text}");
        assert!(!text.contains("fine\n"), "{text}");
        assert!(text.contains(&log.display().to_string()));
        assert!(!text.contains("A disk was full"), "{text}");
    }

    #[test]
    fn a_full_disk_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let full = "LLVM ERROR: IO failure on output stream: No space left on device\n";
        let later = "make[3]: *** [mm/slub.o] Error 1\n".repeat(2 * SHOWN);
        std::fs::write(&log, format!("  CC mm/slub.o\n{full}{later}")).unwrap();
        let command = Command::new("make");
        let text = failure(&command, ExitStatus::default(), &log).unwrap();
        assert!(text.starts_with(full), "{text}");
        assert!(text.contains("A disk was full"), "{text}");
    }
}
