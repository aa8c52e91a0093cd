// SPDX-License-Identifier: GPL-2.0
//! The variables of `make`, read from the environment; empty means unset.

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{bail, Context, Result};

use crate::spec::{Impl, Spec, Toolchain, SERIES};

pub const DEFAULT_MEM: &str = "6G";
pub const DEFAULT_CPUS: u32 = 2;
/// 2 GiB of real RAM that the kernel takes for soft-reserved memory.
pub const DEFAULT_APPEND: &str = "memmap=2G%4G+0xefffffff";
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(120);

/// A variable that is set and not empty.
pub fn var(name: &str) -> Result<Option<String>> {
    match env::var(name) {
        Ok(value) if value.is_empty() => Ok(None),
        Ok(value) => Ok(Some(value)),
        Err(env::VarError::NotPresent) => Ok(None),
        Err(env::VarError::NotUnicode(_)) => bail!("{name} is not UTF-8"),
    }
}

pub fn flag(name: &str) -> Result<bool> {
    match var(name)?.as_deref() {
        None | Some("0" | "n" | "no") => Ok(false),
        Some("1" | "y" | "yes") => Ok(true),
        Some(other) => bail!("{name}={other}: write {name}=1, or leave it out"),
    }
}

pub fn spec() -> Result<Spec> {
    let spec = parse_spec(var("KERNEL")?.as_deref(), var("IMPL")?.as_deref())?;
    spec_for(&spec.series, spec.imp)
}

/// The kernel of a series that the other variables ask for.
pub fn spec_for(series: &str, imp: Impl) -> Result<Spec> {
    Ok(Spec {
        debug: flag("DEBUG")?,
        builtin: flag("BUILTIN")?,
        toolchain: parse_toolchain(var("TOOLCHAIN")?.as_deref())?,
        ..Spec::new(series, imp)
    })
}

fn implementation(name: Option<&str>) -> Result<Impl> {
    match name {
        None | Some("rust") => Ok(Impl::Rust),
        Some("c") => Ok(Impl::C),
        Some(other) => bail!("IMPL={other}: unknown implementation; there are rust and c"),
    }
}

fn parse_toolchain(name: Option<&str>) -> Result<Toolchain> {
    let all = [Toolchain::Llvm, Toolchain::Gcc, Toolchain::Newest];
    let name = name.unwrap_or(Toolchain::Llvm.name());
    match all.into_iter().find(|t| t.name() == name) {
        Some(toolchain) => Ok(toolchain),
        None => bail!(
            "TOOLCHAIN={name}: unknown toolchain; there are {}",
            all.map(Toolchain::name).join(", ")
        ),
    }
}

/// The kernel of those names, with all else as usual.
fn parse_spec(kernel: Option<&str>, imp: Option<&str>) -> Result<Spec> {
    let series = kernel.unwrap_or(SERIES[0]);
    if !SERIES.contains(&series) {
        bail!(
            "KERNEL={series}: unknown series; there are {}",
            SERIES.join(" and ")
        );
    }
    Ok(Spec::new(series, implementation(imp)?))
}

/// The series that KERNEL names; `unset` if it names none.
pub fn all_series(unset: &[&'static str]) -> Result<Vec<&'static str>> {
    match var("KERNEL")?.as_deref() {
        None => Ok(unset.to_vec()),
        Some("all") => Ok(SERIES.to_vec()),
        Some(one) => match SERIES.iter().find(|s| **s == one) {
            Some(known) => Ok(vec![*known]),
            None => bail!("KERNEL={one}: there are {} and all", SERIES.join(", ")),
        },
    }
}

/// The implementations that IMPL names, or both.
pub fn all_impls() -> Result<Vec<Impl>> {
    match var("IMPL")?.as_deref() {
        None | Some("all") => Ok(vec![Impl::C, Impl::Rust]),
        name => Ok(vec![implementation(name)?]),
    }
}

/// What a guest is given, but for its kernel and its command.
#[derive(Clone, Debug)]
pub struct Machine {
    pub mem: String,
    pub cpus: u32,
    pub append: String,
    pub qemu: Vec<String>,
    pub timeout: Duration,
    /// The guest's clock counts instructions: 1 ns each, whatever else this machine does.
    pub counted: bool,
}

impl Default for Machine {
    fn default() -> Self {
        Self {
            mem: DEFAULT_MEM.to_owned(),
            cpus: DEFAULT_CPUS,
            append: DEFAULT_APPEND.to_owned(),
            qemu: Vec::new(),
            timeout: DEFAULT_TIMEOUT,
            counted: false,
        }
    }
}

pub fn machine() -> Result<Machine> {
    let mut machine = Machine::default();
    if let Some(mem) = var("MEM")? {
        machine.mem = mem;
    }
    if let Some(cpus) = var("CPUS")? {
        machine.cpus = number("CPUS", &cpus)?;
    }
    if let Some(append) = var("APPEND")? {
        machine.append = append;
    }
    if let Some(qemu) = var("QEMU")? {
        machine.qemu = words(&qemu)?;
    }
    if let Some(timeout) = var("TIMEOUT")? {
        machine.timeout = Duration::from_secs(u64::from(number("TIMEOUT", &timeout)?));
    }
    machine.counted = flag("ICOUNT")?;
    Ok(machine)
}

/// QEMU options as a shell would split them.
pub fn words(text: &str) -> Result<Vec<String>> {
    shlex::split(text).with_context(|| format!("QEMU={text}: a quote is not closed"))
}

/// A number from 0 on.
pub fn count(name: &str) -> Result<Option<u64>> {
    let parse = |text: String| text.parse().ok();
    match var(name)? {
        None => Ok(None),
        Some(text) => match parse(text.clone()) {
            Some(number) => Ok(Some(number)),
            None => bail!("{name}={text}: write a number"),
        },
    }
}

fn number(name: &str, text: &str) -> Result<u32> {
    match text.parse() {
        Ok(n) if n > 0 => Ok(n),
        _ => bail!("{name}={text}: write a number from 1 on"),
    }
}

/// FILES, separated by white space.
pub fn files() -> Result<Vec<PathBuf>> {
    let text = var("FILES")?.unwrap_or_default();
    let files: Vec<PathBuf> = text.split_whitespace().map(PathBuf::from).collect();
    for file in &files {
        if !file.is_file() {
            bail!("FILES: {} is not a file on this machine", file.display());
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_checked() {
        let spec = parse_spec(None, None).unwrap();
        assert_eq!((spec.series.as_str(), spec.imp), ("7.3", Impl::Rust));
        assert_eq!(parse_spec(Some("7.2"), Some("c")).unwrap().imp, Impl::C);
        let error = parse_spec(Some("6.1"), None).unwrap_err().to_string();
        assert!(error.contains("6.1") && error.contains("7.3"), "{error}");
        assert!(parse_spec(None, Some("go")).is_err());
    }

    #[test]
    fn qemu_words_are_split_like_a_shell_does() {
        assert_eq!(words("-a 'b c' -d").unwrap(), ["-a", "b c", "-d"]);
        assert!(words("'").is_err());
        assert!(number("CPUS", "0").is_err());
    }
}
