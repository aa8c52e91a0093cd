// SPDX-License-Identifier: GPL-2.0
//! `make compare`: a C and a Rust guest do the same; everything that a user can see is compared.

mod guests;
mod judge;
mod rules;
mod scenario;
mod shrink;
mod transcript;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use serde::Serialize;
use serde_json::{json, Value};

use crate::cache;
use crate::cargo::Cargo;
use crate::groups;
use crate::progress::{human, Step};
use crate::report::TestResult;
use crate::settings;
use crate::spec::Spec;
use crate::testrun::C_ON_DEBUG;
use guests::{machine, Pair, Ran};
use judge::{judge, Difference, Outcome};
use transcript::{Operation, Transcript};

/// Sequences for one guest of each kind.
const BATCH: u64 = 250;
/// Lines of both transcripts for one sequence, about.
const LINES: u64 = 2 * 22;
/// The longest that a guest may take for its batch.
pub const BATCH_TIMEOUT: Duration = Duration::from_secs(1800);
/// Differences that are shrunk; the others are only counted and written down.
const SHRUNK: usize = 5;

/// Sequences in `make test`.
const SHARE: u64 = 60;

/// The result of the whole comparison.
#[derive(Default, Serialize)]
pub struct Tally {
    pub sequences: u64,
    pub operations: usize,
    pub agreed: u64,
    /// Sequences that agreed, without any explained difference in them.
    pub without_difference: u64,
    /// Number of differences that each rule explained.
    pub explained: BTreeMap<&'static str, u64>,
    /// Number of sequences that could not be compared any further, for each rule.
    pub cut: BTreeMap<&'static str, u64>,
    pub unexplained: u64,
    /// Operations by kind and answer, as the C driver gave it.
    pub answers: BTreeMap<String, u64>,
    #[serde(skip)]
    differences: Vec<(u64, Difference)>,
    /// Failures of guests.
    pub trouble: Vec<String>,
}

pub fn main(repo: &Path) -> Result<ExitCode> {
    let spec = settings::spec()?;
    if spec.debug {
        bail!("DEBUG=1: no debug kernel runs the C driver, which is one side of the comparison. {C_ON_DEBUG}");
    }
    let cargo = Cargo::find(repo)?;
    let pair = Pair::new(repo, &cargo, &spec)?;
    eprintln!("transcripts: {}", pair.dir.display());
    if let Some(file) = settings::var("REPLAY")? {
        return replay(&pair, Path::new(&file));
    }
    if let Some(group) = settings::var("ONLY")? {
        // A program for another machine cannot print its groups on this one.
        let groups = groups::list(&cargo.build_static("dax-guest")?)?;
        return scenario::main(&pair, &groups, &group);
    }
    let seed = settings::count("SEED")?.unwrap_or(1);
    let count = settings::count("SEQUENCES")?.unwrap_or(2000);
    let start = Instant::now();
    let tally = match settings::var("TRANSCRIPTS")? {
        Some(dir) => saved(Path::new(&dir))?,
        None => sequences(&pair, seed, settings::count("FIRST")?.unwrap_or(0), count)?,
    };
    let mut failed = tally.unexplained > 0 || !tally.trouble.is_empty();
    let mut shown = Vec::new();
    for (number, found) in tally.differences.iter().take(SHRUNK) {
        let short = shrink::shrink(&pair, &format!("s{seed}-{number}"), found)?;
        let file = pair.dir.join(format!("difference-{number}.json"));
        write_json(&file, &json!([short.operations]))?;
        println!("\n--- sequence {number} of seed {seed} differs; the shortest that was found:");
        for operation in &short.operations {
            println!("  {operation}");
        }
        print!("{}", short.text);
        println!("again: make compare REPLAY={}", file.display());
        shown.push(json!({"sequence": number, "operations": short.operations, "text": short.text}));
    }
    for (number, found) in tally.differences.iter().skip(SHRUNK) {
        println!(
            "\n--- sequence {number} of seed {seed} differs as well:\n{}",
            found.text
        );
    }
    report(&tally, &spec, seed, start.elapsed());
    let result = json!({
        "kernel": spec.flavour(),
        "seed": seed,
        "seconds": start.elapsed().as_secs(),
        "tally": tally,
        "differences": shown,
    });
    write_json(&pair.dir.join("result.json"), &result)?;
    failed |= tally.agreed == 0;
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// The share of `make test`: one result for each thing that can go wrong.
pub fn share(repo: &Path, cargo: &Cargo, spec: &Spec) -> Result<Vec<TestResult>> {
    let pair = Pair::new(repo, cargo, spec)?;
    let tally = sequences(&pair, 1, 0, SHARE)?;
    let differences = tally.differences.iter();
    let texts = differences.map(|(number, found)| format!("sequence {number}: {}", found.text));
    let cut: u64 = tally.cut.values().sum();
    let all = tally.sequences == SHARE;
    let most = tally.agreed * 10 >= SHARE * 9;
    let transcripts = format!("transcripts: {}", pair.dir.display());
    let result = |name: &str, good: bool, why: String| {
        if good {
            TestResult::passed(name)
        } else {
            TestResult::failed(name, &format!("{why}\n{transcripts}"))
        }
    };
    Ok(vec![
        result(
            "compare: nothing differs without an explanation",
            tally.unexplained == 0,
            texts.collect::<Vec<_>>().join("\n"),
        ),
        result(
            "compare: both guests end well and their kernels are quiet",
            tally.trouble.is_empty(),
            tally.trouble.join("\n"),
        ),
        result(
            "compare: every sequence was run",
            all,
            format!("{} of {SHARE}", tally.sequences),
        ),
        result(
            "compare: nine in ten sequences run to their end",
            most,
            format!("{} of {SHARE}, {cut} cut short", tally.agreed),
        ),
    ])
}

/// Compares the transcripts of earlier runs once more: by rules that are new, say.
fn saved(dir: &Path) -> Result<Tally> {
    let list = fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))?;
    let mut files: Vec<_> = list.flatten().map(|entry| entry.path()).collect();
    files.sort_unstable();
    let mut tally = Tally::default();
    for file in files {
        let name = file
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if !name.contains("-from") || !name.ends_with(".c") {
            continue;
        }
        let c = Transcript::parse(&cache::read_text(&file)?)?;
        let rust = Transcript::parse(&cache::read_text(&file.with_extension("rust"))?)?;
        tally.compare_bases(&c, &rust);
        tally.add(&c, &rust);
    }
    Ok(tally)
}

/// Runs and compares `count` sequences of a seed.
pub fn sequences(pair: &Pair<'_>, seed: u64, first: u64, count: u64) -> Result<Tally> {
    let mut tally = Tally::default();
    let step = Step::start(
        format!("{count} sequences of seed {seed}, C and Rust"),
        count * LINES,
    );
    let mut next = first;
    while next < first + count {
        let batch = BATCH.min(first + count - next);
        let command = format!("/dax-guest sequences {seed} {next} {batch}");
        let label = format!("s{seed}-from{next}");
        let ran = pair.run(&label, &machine(BATCH_TIMEOUT)?, &command, &[], &step)?;
        let c = Transcript::parse(&ran[0].text).context("the C guest's transcript")?;
        let rust = Transcript::parse(&ran[1].text).context("the Rust guest's transcript")?;
        tally.trouble.extend(ran.iter().filter_map(Ran::trouble));
        if next == first {
            tally.compare_bases(&c, &rust);
        }
        let done = tally.add(&c, &rust);
        if done == 0 {
            let other = [c.other, rust.other].concat().join("\n");
            bail!("no sequence from {next} on was run: {other}");
        }
        // A guest that ended early did so in its last sequence: go on behind it.
        next += done;
    }
    step.done();
    Ok(tally)
}

impl Tally {
    /// Compares the two guests' states before anything was done.
    fn compare_bases(&mut self, c: &Transcript, rust: &Transcript) {
        if c.base != rust.base {
            let differ = |(key, value): &(&String, &String)| rust.base.get(*key) != Some(value);
            let only: Vec<_> = c.base.iter().filter(differ).collect();
            let back = |(key, value): &(&String, &String)| c.base.get(*key) != Some(value);
            let other: Vec<_> = rust.base.iter().filter(back).collect();
            self.trouble.push(format!(
                "before anything was done: C {only:?}, Rust {other:?}"
            ));
        }
        match rules::modules(&c.modules, &rust.modules) {
            Ok(None) => {}
            Ok(Some(rule)) => *self.explained.entry(rule).or_default() += 1,
            Err(text) => self.trouble.push(text),
        }
    }

    /// Compares a batch; the number of sequences that both came to.
    fn add(&mut self, c: &Transcript, rust: &Transcript) -> u64 {
        let mut done = 0;
        for (number, c_sequence) in &c.sequences {
            let Some(rust_sequence) = rust.sequences.get(number) else {
                break;
            };
            done += 1;
            self.sequences += 1;
            let judgement = judge(&c.base, c_sequence, rust_sequence);
            self.operations += judgement.operations;
            for rule in &judgement.explained {
                *self.explained.entry(rule).or_default() += 1;
            }
            for step in c_sequence.steps.iter().take(judgement.operations) {
                *self
                    .answers
                    .entry(answer(&step.op, &step.result))
                    .or_default() += 1;
            }
            match judgement.outcome {
                Outcome::Agreed => {
                    self.agreed += 1;
                    self.without_difference += u64::from(judgement.explained.is_empty());
                }
                Outcome::Cut(rule) => *self.cut.entry(rule).or_default() += 1,
                Outcome::Unexplained(difference) => {
                    self.unexplained += 1;
                    self.differences.push((*number, *difference));
                }
            }
        }
        done
    }
}

/// The operation and its answer, without names and figures.
fn answer(op: &Operation, result: &str) -> String {
    let what = match op {
        Operation::Write { path, .. } => path.rsplit('/').next().unwrap_or_default(),
        Operation::Run { words } => words.get(1).map_or("", String::as_str),
        Operation::Touch { .. } => "(touch)",
        Operation::TouchAcrossUnbind { .. } => "(touch, unbind, bind, touch)",
    };
    let first = result.split(['\n', ',', ';']).next().unwrap_or_default();
    let first = if first.starts_with("wrote ") {
        "ok"
    } else {
        first
    };
    format!("{what}: {first}")
}

fn report(tally: &Tally, spec: &Spec, seed: u64, took: Duration) {
    println!(
        "\nC and Rust side by side, {}, seed {seed}, {}",
        spec.flavour(),
        human(took)
    );
    println!(
        "{:7} sequences, {} operations compared",
        tally.sequences, tally.operations
    );
    println!(
        "{:7} agreed to their end, {} of them without any difference",
        tally.agreed, tally.without_difference
    );
    println!(
        "{:7} cut short by an explained difference",
        tally.cut.values().sum::<u64>()
    );
    for (rule, count) in &tally.cut {
        println!("  {count:7} {rule}");
    }
    println!(
        "{:7} differences explained",
        tally.explained.values().sum::<u64>()
    );
    for (rule, count) in &tally.explained {
        println!("  {count:7} {rule}");
    }
    println!(
        "{:7} sequences with an unexplained difference",
        tally.unexplained
    );
    for trouble in &tally.trouble {
        println!("trouble: {trouble}");
    }
}

/// Runs one file of operations again and says what differs.
fn replay(pair: &Pair<'_>, file: &Path) -> Result<ExitCode> {
    let text = cache::read_text(file)?;
    let lists: Vec<Vec<Operation>> = serde_json::from_str(&text)
        .with_context(|| format!("{}: no array of arrays of operations", file.display()))?;
    let mut differing = 0;
    let (ran, trouble) = shrink::replay(pair, "replay", &lists)?;
    for (number, (c, rust, base)) in ran.iter().enumerate() {
        let judgement = judge(&base.base, c, rust);
        println!("sequence {number}: explained {:?}", judgement.explained);
        match judgement.outcome {
            Outcome::Agreed => println!("agreed"),
            Outcome::Cut(rule) => println!("cut short: {rule}"),
            Outcome::Unexplained(difference) => {
                differing += 1;
                print!("differs:\n{}", difference.text);
            }
        }
    }
    for trouble in &trouble {
        println!("trouble: {trouble}");
    }
    Ok(
        if differing == 0 && trouble.is_empty() && ran.len() == lists.len() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        },
    )
}

fn write_json(file: &Path, value: &Value) -> Result<()> {
    let text = serde_json::to_string_pretty(value).context("cannot write JSON")?;
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}
