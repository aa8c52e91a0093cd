// SPDX-License-Identifier: GPL-2.0
//! `make bench`: the C and the Rust driver measured by one program, and the goals of the Rust
//! driver judged. A run of all of it writes docs/results/performance.md, the JSON and the charts
//! beside it; ONLY and RANGES pick some.

mod beside;
mod chart;
mod document;
mod figures;
mod goals;
mod guests;
mod operations;
mod smoke;

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{bail, Context, Result};
use serde::Serialize;
use serde_json::json;

use crate::arch::Arch;
use crate::cache;
use crate::cargo::Cargo;
use crate::exec;
use crate::progress::human;
use crate::settings;
use crate::spec::Spec;
use crate::table;
use figures::{Driver, Figures};
use goals::Verdict;
use guests::{unit, Guests, Mode, Task};
use operations::{Kind, OPERATIONS};

pub use smoke::results as smoke;

pub const DOCUMENT: &str = "docs/results/performance.md";
const JSON: &str = "docs/results/performance.json";
const CHARTS: &str = "docs/results/charts";

/// The numbers of ranges that are measured if RANGES= is not set.
const RANGES: [u64; 5] = [1, 16, 256, 1024, 4096];
/// Number of guests that each driver has, in turns, where real time is measured.
const ALTERNATIONS: usize = 3;
/// Number of guests that each driver has where two CPUs work at once: there, guests of one driver
/// differ more than the drivers.
const PAIRS: usize = 11;

/// The source of the figures.
#[derive(Debug, Serialize)]
pub struct Origin {
    machine: String,
    kernel: String,
    commit: String,
}

impl Origin {
    fn new(repo: &Path) -> Result<Self> {
        Ok(Self {
            machine: machine()?,
            kernel: String::new(),
            commit: commit(repo)?,
        })
    }

    fn sentence(&self) -> String {
        format!(
            "Commit {}, Linux {}, on {}.",
            self.commit, self.kernel, self.machine
        )
    }
}

/// The ranges and operations that are asked for.
struct Wanted {
    ranges: Vec<u64>,
    /// Names of operations; all if there are none.
    only: Vec<String>,
}

impl Wanted {
    fn read() -> Result<Self> {
        let only: Vec<String> = words(&settings::var("ONLY")?.unwrap_or_default())
            .map(str::to_owned)
            .collect();
        if let Some(name) = only.iter().find(|name| operations::named(name).is_none()) {
            let names = OPERATIONS.map(|operation| operation.name);
            return Err(settings::unknown("ONLY", name, "operation", &names));
        }
        let ranges = match settings::var("RANGES")? {
            None => RANGES.to_vec(),
            Some(text) => parse(&text)?,
        };
        Ok(Self { ranges, only })
    }

    /// Whether nothing was left out.
    fn is_complete(&self) -> bool {
        self.only.is_empty() && RANGES.iter().all(|n| self.ranges.contains(n))
    }

    /// The wanted operations of some kinds.
    fn of(&self, kinds: &[Kind]) -> Vec<&'static str> {
        let kind = OPERATIONS.iter().filter(|o| kinds.contains(&o.kind));
        let wanted = kind.filter(|o| self.only.is_empty() || self.only.iter().any(|n| n == o.name));
        wanted.map(|o| o.name).collect()
    }
}

/// Words with commas or spaces between them.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split([',', ' ']).filter(|word| !word.is_empty())
}

/// Numbers of ranges, each once, in ascending order.
fn parse(text: &str) -> Result<Vec<u64>> {
    let numbers: Result<Vec<u64>, _> = words(text).map(str::parse).collect();
    match numbers {
        Ok(mut numbers) if !numbers.is_empty() && !numbers.contains(&0) => {
            numbers.sort_unstable();
            numbers.dedup();
            Ok(numbers)
        }
        _ => bail!("RANGES={text}: write numbers from 1 on, as in RANGES=1,256"),
    }
}

pub fn main(repo: &Path) -> Result<ExitCode> {
    let start = Instant::now();
    let wanted = Wanted::read()?;
    let spec = settings::spec()?;
    let usual = Spec::new(&spec.series, spec.imp).on(spec.arch);
    if spec != usual {
        bail!("the benchmark is of the usual kernels: leave DEBUG, BUILTIN and TOOLCHAIN out");
    }
    let mut origin = Origin::new(repo)?;
    let guests = Guests::new(repo, &Cargo::find(repo)?, &spec)?;
    guests.build()?;
    let tasks: Vec<Task<'_>> = tasks(&wanted)
        .into_iter()
        .filter(|task| spec.arch == Arch::X86 || task.mode == Mode::Count)
        .collect();
    let mut figures = Figures::default();
    eprintln!("{} guests, one after the other", tasks.len());
    for (number, task) in (1..).zip(&tasks) {
        let label = format!(
            "{number} of {}, after {}: {}, {}",
            tasks.len(),
            human(start.elapsed()),
            task.driver.name(),
            unit(task.mode)
        );
        origin.kernel = figures.add(task.driver, &guests.run(task, &label)?)?;
    }
    match spec.arch {
        Arch::X86 => report(repo, &wanted, &origin, &figures),
        arch => beside::report(repo, arch, wanted.is_complete(), &origin, &figures),
    }
}

/// The guests, in the order in which they run.
fn tasks(wanted: &Wanted) -> Vec<Task<'_>> {
    let mut tasks = Vec::new();
    let mut add = |driver, mode, mut only: Vec<&'static str>| {
        let is_new = |name: &str| operations::named(name).is_some_and(|o| o.rust_only);
        if driver == Driver::C {
            only.retain(|name| !is_new(name));
        }
        if !only.is_empty() {
            tasks.push(Task {
                driver,
                mode,
                ranges: &wanted.ranges,
                only,
            });
        }
    };
    let counted = wanted.of(&[Kind::Count, Kind::Around]);
    add(Driver::C, Mode::Count, counted.clone());
    add(Driver::Rust, Mode::Count, counted);
    add(Driver::RustAround, Mode::Count, wanted.of(&[Kind::Around]));
    let waiting = wanted.of(&[Kind::Turns]);
    add(Driver::C, Mode::Turns, waiting.clone());
    add(Driver::Rust, Mode::Turns, waiting);
    for _ in 0..ALTERNATIONS {
        let timed = wanted.of(&[Kind::Wall]);
        add(Driver::C, Mode::Wall, timed.clone());
        add(Driver::Rust, Mode::Wall, timed);
    }
    for _ in 0..PAIRS {
        let pairs = wanted.of(&[Kind::Pair, Kind::PairAround]);
        add(Driver::C, Mode::Wall, pairs.clone());
        add(Driver::Rust, Mode::Wall, pairs);
        add(
            Driver::RustAround,
            Mode::Wall,
            wanted.of(&[Kind::PairAround]),
        );
    }
    tasks
}

/// Writes and prints the figures. If a goal is missed, the command fails at the end.
fn report(repo: &Path, wanted: &Wanted, origin: &Origin, figures: &Figures) -> Result<ExitCode> {
    let rows = goals::judge(figures);
    let section = document::section(origin, &rows, figures);
    println!("{section}");
    let all = json!({"origin": origin, "goals": rows, "figures": figures.all});
    let all = serde_json::to_string_pretty(&all).context("cannot write JSON")? + "\n";
    if wanted.is_complete() {
        cache::write_whole(&repo.join(JSON), all.as_bytes())?;
        let charts = repo.join(CHARTS);
        cache::mkdir(&charts)?;
        chart::write_all(&charts, figures)?;
        table::replace(&repo.join(DOCUMENT), "figures", &section)?;
        eprintln!("{DOCUMENT}, {JSON} and {CHARTS} written");
    } else {
        let dir = cache::dir().join("bench");
        cache::mkdir(&dir)?;
        let file = dir.join("figures.json");
        fs::write(&file, all).with_context(|| format!("cannot write {}", file.display()))?;
        eprintln!("{DOCUMENT} is not written: only a run of everything writes it");
        eprintln!("JSON: {}", file.display());
    }
    let count = |verdict| rows.iter().filter(|row| row.verdict == verdict).count();
    let missed = count(Verdict::Missed);
    let open = count(Verdict::NotMeasured);
    println!(
        "{} goals met, {} level with C, {missed} missed, {open} not measured",
        count(Verdict::Met),
        count(Verdict::Level)
    );
    let failed = missed > 0 || (open > 0 && wanted.is_complete());
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// The checkout's commit, and `with changes` if files other than documents differ from it.
pub fn commit(repo: &Path) -> Result<String> {
    let git = |args: &[&str]| -> Result<String> {
        let out = exec::output(Command::new("git").arg("-C").arg(repo).args(args))?;
        Ok(String::from_utf8_lossy(&out).trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changed = git(&[
        "status",
        "--porcelain",
        "--",
        "src",
        "daxlayout",
        "patches",
        "tests",
        "tools",
    ])?;
    Ok(if changed.is_empty() {
        commit
    } else {
        format!("{commit} with changes")
    })
}

/// The processor and how many of it.
fn machine() -> Result<String> {
    let cpuinfo = cache::read_text(Path::new("/proc/cpuinfo"))?;
    let models = cpuinfo
        .lines()
        .filter_map(|line| line.strip_prefix("model name"));
    let models: Vec<&str> = models
        .map(|text| text.trim_matches([' ', '\t', ':']))
        .collect();
    let load = cache::read_text(Path::new("/proc/loadavg"))?;
    let load = load.split(' ').next().unwrap_or_default();
    let model = models.first().unwrap_or(&"an unknown processor");
    Ok(format!(
        "{} x {model}, load {load} at the start",
        models.len()
    ))
}
