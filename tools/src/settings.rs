// SPDX-License-Identifier: GPL-2.0
//! The variables of `make`, read from the environment; empty means unset.

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{anyhow, bail, Context, Error, Result};

use crate::arch::{Arch, Pages};
use crate::commands::{Uses, COMMANDS};
use crate::spec::{Impl, Spec, Toolchain, SERIES};

pub const DEFAULT_MEM: &str = "6G";
pub const DEFAULT_CPUS: u32 = 2;
/// 2 GiB of real RAM that the kernel takes for soft-reserved memory.
pub const DEFAULT_APPEND: &str = "memmap=2G%4G+0xefffffff";
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(120);

/// The values that a variable may have.
#[derive(Clone, Copy)]
enum Values {
    /// Any text. The function that reads the variable checks it.
    Any,
    Flag,
    /// One of some words. Errors call one of them by the noun.
    Of(&'static str, &'static [&'static str]),
}

const IMPLS: [&str; 3] = ["rust", "c", ALL];
const KERNELS: [&str; 3] = [SERIES[0], SERIES[1], ALL];
const ARCHES: [&str; 3] = ["x86", "arm64", "riscv"];
const PAGES: [&str; 3] = ["4k", "16k", "64k"];
const TOOLCHAINS: [&str; 3] = ["llvm", "gcc", "newest"];
/// The value of IMPL and KERNEL for both, where a command can do both.
const ALL: &str = "all";

/// The variables of all commands.
const VARIABLES: [(&str, Values); 32] = [
    ("ALLOW_SPLAT", Values::Flag),
    ("APPEND", Values::Any),
    ("ARCH", Values::Of("architecture", &ARCHES)),
    ("BUILTIN", Values::Flag),
    ("CMD", Values::Any),
    ("CONFIG", Values::Any),
    ("CPUS", Values::Any),
    ("DAX_DEPTH", Values::Any),
    ("DEBUG", Values::Flag),
    ("FILES", Values::Any),
    ("FIRST", Values::Any),
    ("ICOUNT", Values::Flag),
    ("IMPL", Values::Of("implementation", &IMPLS)),
    ("KDIR", Values::Any),
    ("KERNEL", Values::Of("series", &KERNELS)),
    ("KUNIT", Values::Flag),
    ("LLVM", Values::Any),
    ("MEM", Values::Any),
    ("ONLY", Values::Any),
    ("PAGES", Values::Of("size of a page", &PAGES)),
    ("QEMU", Values::Any),
    ("QUICK", Values::Flag),
    ("RANGES", Values::Any),
    ("REPLAY", Values::Any),
    ("REVISION", Values::Any),
    ("SECONDS", Values::Any),
    ("SEED", Values::Any),
    ("SEQUENCES", Values::Any),
    ("TIMEOUT", Values::Any),
    ("TOOLCHAIN", Values::Of("toolchain", &TOOLCHAINS)),
    ("TRANSCRIPTS", Values::Any),
    ("TRIM", Values::Any),
];

/// Variables that the programs that we start know.
const OTHERS: [&str; 14] = [
    "CARGO_HOME",
    "CARGO_TARGET_DIR",
    "HOME",
    "MAKEFLAGS",
    "PATH",
    "RUSTFLAGS",
    "SHELL",
    "SSL_CERT_FILE",
    "TERM",
    "TMPDIR",
    "XDG_CACHE_HOME",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];

/// The names of the variables on make's command line; the Makefile sets it.
const GIVEN: &str = "XTASK_GIVEN";

/// Checks the variables for a command before anything is done.
///
/// One on make's command line that the command does not use is refused: it would silently do
/// nothing. One of the environment may be meant for other programs or commands, and is not checked,
/// but for ARCH: with it, a command that knows only x86 would do something else than asked for.
pub fn check(uses: &Uses) -> Result<()> {
    for name in var(GIVEN)?.unwrap_or_default().split_whitespace() {
        if !OTHERS.contains(&name) {
            let values = values(name)?;
            check_use(uses, name)?;
            check_value(name, values, var(name)?.as_deref())?;
        }
    }
    check_arch(uses, var("ARCH")?.as_deref())
}

fn check_use(uses: &Uses, name: &str) -> Result<()> {
    if uses.has(name) {
        return Ok(());
    }
    let command = uses.command;
    match &uses.variables()[..] {
        [] => bail!("{name}: `make {command}` uses no variable"),
        all => bail!(
            "{name}: `make {command}` does not use it. It uses {}",
            all.join(", ")
        ),
    }
}

fn check_arch(uses: &Uses, arch: Option<&str>) -> Result<()> {
    let arch = parse_arch(arch)?;
    if uses.knows(arch) {
        return Ok(());
    }
    let all = COMMANDS.iter().filter(|uses| uses.knows(arch));
    let all: Vec<&str> = all.map(|uses| uses.command).collect();
    bail!(
        "ARCH={}: `make {}` does not know that architecture. These commands do: {}",
        arch.name(),
        uses.command,
        all.join(", ")
    )
}

/// The names of all variables.
#[cfg(test)]
pub fn names() -> Vec<&'static str> {
    VARIABLES.iter().map(|(name, _)| *name).collect()
}

fn values(name: &str) -> Result<Values> {
    let found = VARIABLES.iter().find(|(known, _)| *known == name);
    found.map(|(_, values)| *values).with_context(|| {
        let known = VARIABLES.map(|(known, _)| known);
        format!(
            "{name}: no such variable{} `make help` lists them",
            meant(name, &known)
        )
    })
}

fn check_value(name: &str, values: Values, value: Option<&str>) -> Result<()> {
    match (values, value) {
        (Values::Flag, value) => parse_flag(name, value).map(drop),
        (Values::Of(what, known), Some(value)) if !known.contains(&value) => {
            Err(unknown(name, value, what, known))
        }
        _ => Ok(()),
    }
}

/// The error about a value that a variable may not have. It names the value that was probably
/// meant.
pub fn unknown(name: &str, value: &str, what: &str, known: &[&str]) -> Error {
    anyhow!(
        "{name}={value}: no such {what}{} There are {}",
        meant(value, known),
        known.join(", ")
    )
}

/// The end of a sentence, and a question if one of the known words is near.
fn meant(word: &str, known: &[&str]) -> String {
    nearest(word, known).map_or(".".to_owned(), |near| format!(". Did you mean {near}?"))
}

/// The nearest known word, if less than half of it is wrong.
fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let lower = word.to_lowercase();
    let near = known.iter().map(|known| {
        let wrong = strsim::osa_distance(&lower, &known.to_lowercase());
        (wrong, *known)
    });
    near.min_by_key(|(wrong, _)| *wrong)
        .filter(|(wrong, known)| 2 * wrong < known.len())
        .map(|(_, known)| known)
}

/// The value of a variable, if it is set and not empty.
pub fn var(name: &str) -> Result<Option<String>> {
    match env::var(name) {
        Ok(value) if value.is_empty() => Ok(None),
        Ok(value) => Ok(Some(value)),
        Err(env::VarError::NotPresent) => Ok(None),
        Err(env::VarError::NotUnicode(_)) => bail!("{name} is not UTF-8"),
    }
}

pub fn flag(name: &str) -> Result<bool> {
    parse_flag(name, var(name)?.as_deref())
}

fn parse_flag(name: &str, value: Option<&str>) -> Result<bool> {
    match value {
        None | Some("0") => Ok(false),
        Some("1") => Ok(true),
        Some(other) => bail!("{name}={other}: write {name}=1, or leave it out"),
    }
}

pub fn spec() -> Result<Spec> {
    let spec = parse_spec(var("KERNEL")?.as_deref(), var("IMPL")?.as_deref())?;
    spec_for(&spec.series, spec.imp)
}

/// The one series that KERNEL names, or else the usual one.
pub fn series() -> Result<&'static str> {
    match all_series(&SERIES[..1])?[..] {
        [one] => Ok(one),
        _ => Err(unknown("KERNEL", ALL, "series", &SERIES)),
    }
}

/// The architecture that ARCH names, or x86.
pub fn arch() -> Result<Arch> {
    parse_arch(var("ARCH")?.as_deref())
}

/// The kernel of a series and an implementation, with all else as the variables say.
pub fn spec_for(series: &str, imp: Impl) -> Result<Spec> {
    Ok(Spec {
        debug: flag("DEBUG")?,
        builtin: flag("BUILTIN")?,
        toolchain: parse_toolchain(var("TOOLCHAIN")?.as_deref())?,
        arch: parse_arch(var("ARCH")?.as_deref())?,
        pages: parse_pages(var("ARCH")?.as_deref(), var("PAGES")?.as_deref())?,
        ..Spec::new(series, imp)
    })
}

fn parse_arch(name: Option<&str>) -> Result<Arch> {
    let name = name.unwrap_or(Arch::X86.name());
    let found = Arch::ALL.into_iter().find(|a| a.name() == name);
    found.ok_or_else(|| unknown("ARCH", name, "architecture", &ARCHES))
}

fn parse_pages(arch: Option<&str>, name: Option<&str>) -> Result<Pages> {
    let name = name.unwrap_or(Pages::Of4k.name());
    let found = Pages::ALL.into_iter().find(|p| p.name() == name);
    let pages = found.ok_or_else(|| unknown("PAGES", name, "size of a page", &PAGES))?;
    if pages != Pages::Of4k && parse_arch(arch)? != Arch::Arm64 {
        bail!("PAGES={name}: only ARCH=arm64 has pages of that size");
    }
    Ok(pages)
}

fn implementation(name: Option<&str>) -> Result<Impl> {
    match name {
        None | Some("rust") => Ok(Impl::Rust),
        Some("c") => Ok(Impl::C),
        Some(other) => Err(unknown(
            "IMPL",
            other,
            "implementation",
            &[Impl::Rust.name(), Impl::C.name()],
        )),
    }
}

fn parse_toolchain(name: Option<&str>) -> Result<Toolchain> {
    let name = name.unwrap_or(Toolchain::Llvm.name());
    let found = Toolchain::ALL.into_iter().find(|t| t.name() == name);
    found.ok_or_else(|| unknown("TOOLCHAIN", name, "toolchain", &TOOLCHAINS))
}

/// The usual kernel of a series and an implementation, both by name.
fn parse_spec(kernel: Option<&str>, imp: Option<&str>) -> Result<Spec> {
    let series = kernel.unwrap_or(SERIES[0]);
    if !SERIES.contains(&series) {
        return Err(unknown("KERNEL", series, "series", &SERIES));
    }
    Ok(Spec::new(series, implementation(imp)?))
}

/// The series that KERNEL names; `unset` if it names none.
pub fn all_series(unset: &[&'static str]) -> Result<Vec<&'static str>> {
    match var("KERNEL")?.as_deref() {
        None => Ok(unset.to_vec()),
        Some(ALL) => Ok(SERIES.to_vec()),
        Some(one) => match SERIES.iter().find(|s| **s == one) {
            Some(known) => Ok(vec![*known]),
            None => Err(unknown("KERNEL", one, "series", &KERNELS)),
        },
    }
}

/// The implementations that IMPL names, or both.
pub fn all_impls() -> Result<Vec<Impl>> {
    match var("IMPL")?.as_deref() {
        None | Some(ALL) => Ok(vec![Impl::C, Impl::Rust]),
        name => Ok(vec![implementation(name)?]),
    }
}

/// The settings of a guest, except its kernel and its command.
#[derive(Clone, Debug)]
pub struct Machine {
    pub mem: String,
    pub cpus: u32,
    pub append: String,
    pub qemu: Vec<String>,
    pub timeout: Duration,
    /// Whether the guest's clock counts instructions: 1 ns each, however busy the host is.
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
    let pages = parse_pages(var("ARCH")?.as_deref(), var("PAGES")?.as_deref())?;
    match (var("APPEND")?, var("MEM")?.or(var("QEMU")?)) {
        (Some(append), _) => machine.append = append,
        (None, None) => pages.enlarge(&mut machine, 1)?,
        (None, Some(_)) if pages == Pages::Of64k => bail!(
            "MEM or QEMU without APPEND: with PAGES=64k the usual region has 16 GiB, and memory for \
             it is added. Write APPEND too, as in APPEND='memmap=16G%4G+0xefffffff' MEM=20G"
        ),
        (None, Some(_)) => {}
    }
    if let Some(qemu) = var("QEMU")? {
        machine.qemu.extend(words(&qemu)?);
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

/// SEED and SECONDS of a command that runs for a given time.
pub fn seed_and_seconds() -> Result<(u64, u64)> {
    let seconds = count("SECONDS")?.unwrap_or(60);
    if seconds == 0 {
        bail!("SECONDS=0: write a number from 1 on");
    }
    Ok((count("SEED")?.unwrap_or(1), seconds))
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
        assert!(
            error.contains("6.1") && error.contains("There are 7.3, 7.2"),
            "{error}"
        );
        assert!(parse_spec(None, Some("go")).is_err());
    }

    #[test]
    fn a_misspelt_variable_is_refused_and_the_right_one_named() {
        let error = |name| values(name).map(drop).unwrap_err().to_string();
        assert!(error("ONYL").contains("Did you mean ONLY?"));
        assert!(error("only").contains("Did you mean ONLY?"));
        assert!(error("TIMEOT").contains("Did you mean TIMEOUT?"));
        assert!(error("ZZZZZZZZ").ends_with("no such variable. `make help` lists them"));
        assert!(values("ONLY").is_ok());
    }

    #[test]
    fn a_variable_that_the_command_does_not_use_is_refused() {
        let uses = |command| Uses::named(command).unwrap();
        let error = |command, name| check_use(uses(command), name).unwrap_err().to_string();
        assert_eq!(
            error("check", "ONLY"),
            "ONLY: `make check` does not use it. It uses DAX_DEPTH"
        );
        assert_eq!(
            error("bench", "IMPL"),
            "IMPL: `make bench` does not use it. It uses ARCH, KERNEL, ONLY, RANGES"
        );
        assert_eq!(
            error("floors", "ONLY"),
            "ONLY: `make floors` uses no variable"
        );
        assert!(check_use(uses("mutants"), "SEED").is_err());
        check_use(uses("mutants"), "ONLY").unwrap();

        let error = check_arch(uses("matrix"), Some("riscv")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "ARCH=riscv: `make matrix` does not know that architecture. These commands do: \
             architectures, guest, kernel, model, run, shell, test"
        );
        for (command, arch) in [("matrix", "arm64"), ("public", "riscv"), ("bench", "arm")] {
            assert!(check_arch(uses(command), Some(arch)).is_err());
        }
        for (command, arch) in [
            ("matrix", None),
            ("matrix", Some("x86")),
            ("test", Some("arm64")),
            ("bench", Some("arm64")),
            ("test", Some("riscv")),
        ] {
            check_arch(uses(command), arch).unwrap();
        }
    }

    #[test]
    fn a_misspelt_value_is_refused_and_the_right_one_named() {
        let check = |name, value| check_value(name, values(name).unwrap(), Some(value));
        for (name, value, right) in [
            ("IMPL", "rsut", "Did you mean rust?"),
            ("KERNEL", "7.4", "Did you mean 7.3?"),
            ("TOOLCHAIN", "lvm", "Did you mean llvm?"),
            ("TOOLCHAIN", "clang", "There are llvm, gcc, newest"),
            ("DEBUG", "yes", "write DEBUG=1"),
            ("BUILTIN", "2", "write BUILTIN=1"),
            ("ALLOW_SPLAT", "true", "write ALLOW_SPLAT=1"),
            ("ICOUNT", "on", "write ICOUNT=1"),
        ] {
            let error = check(name, value).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{name}={value}: ")), "{error}");
            assert!(error.contains(right), "{error}");
        }
        for (name, value) in [
            ("IMPL", "c"),
            ("KERNEL", "all"),
            ("DEBUG", "0"),
            ("CMD", "x y"),
        ] {
            check(name, value).unwrap();
        }
        let error = unknown("ONLY", "mmpa", "group", &["kmem", "mmap"]).to_string();
        assert_eq!(
            error,
            "ONLY=mmpa: no such group. Did you mean mmap? There are kmem, mmap"
        );
    }

    #[test]
    fn the_tables_are_whole() {
        assert_eq!(TOOLCHAINS, Toolchain::ALL.map(Toolchain::name));
        assert_eq!(ARCHES, Arch::ALL.map(Arch::name));
        assert_eq!(PAGES, Pages::ALL.map(Pages::name));
        assert!(VARIABLES.is_sorted_by_key(|(name, _)| *name));
    }

    /// The variables that make passes on, with the repository's Makefile and another recipe.
    fn passed(args: &[&str], envs: &[(&str, &str)]) -> String {
        let dir = tempfile::tempdir().unwrap();
        let more = dir.path().join("more");
        let recipe = "print:\n\tprintf '%s|' \"$$XTASK_GIVEN\" \"$$CMD\" \"$${LLVM-unset}\"\n";
        std::fs::write(&more, recipe).unwrap();
        let repo = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
        let mut make = std::process::Command::new("make");
        make.current_dir(repo);
        make.args(["-f", "Makefile", "-f"]).arg(more);
        for name in ["MAKEFLAGS", "MAKELEVEL", "MFLAGS", GIVEN, "CMD", "LLVM"] {
            make.env_remove(name);
        }
        let out = make
            .arg("print")
            .args(args)
            .envs(envs.iter().copied())
            .output();
        String::from_utf8(out.unwrap().stdout).unwrap()
    }

    #[test]
    fn make_passes_names_and_values_on() {
        let command = "CMD=echo \"a b\" X=1 $$HOME";
        assert_eq!(passed(&[command], &[]), "CMD|echo \"a b\" X=1 $HOME|unset|");
        let command = [("CMD", "echo $HOME $(x) ${y}")];
        assert_eq!(passed(&[], &command), "|echo $HOME $(x) ${y}|unset|");
        assert_eq!(passed(&["LLVM="], &command[..0]), "LLVM|||");
    }

    #[test]
    fn qemu_words_are_split_like_a_shell_does() {
        assert_eq!(words("-a 'b c' -d").unwrap(), ["-a", "b c", "-d"]);
        assert!(words("'").is_err());
        assert!(number("CPUS", "0").is_err());
    }
}
