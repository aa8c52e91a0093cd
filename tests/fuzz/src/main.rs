// SPDX-License-Identifier: GPL-2.0
//! Fuzzes src/ranges/parse.rs against a model of the C rules.
//!
//! - `dax-fuzz replay FOLDER` reads every text of the corpus.
//! - `dax-fuzz run FOLDER SECONDS SEED` makes texts from them, and adds those to the corpus that
//!   take the parsers where no text took them before.
//!
//! A text that is read differently, or ends in a panic, is left in the folder as `failed`.

#![deny(clippy::undocumented_unsafe_blocks, unsafe_op_in_unsafe_fn)]

mod coverage;
#[allow(dead_code, reason = "the driver uses all of it")]
#[path = "../../host/src/model.rs"]
mod model;
mod mutate;
#[allow(dead_code, reason = "the driver uses all of it")]
#[path = "../../../src/ranges/parse.rs"]
mod parse;
#[allow(dead_code, unused_macros, reason = "the other modules use the rest")]
#[path = "../../host/src/shim.rs"]
mod prelude;

use model::{model_i32, model_name, model_range, model_u64};
use mutate::{mutate, Random};
use parse::{parse_device_name, parse_i32, parse_range, parse_u64, Base};
use std::fs;
use std::io;
use std::panic;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How many texts until the clock is looked at.
const BATCH: u64 = 10_000;
/// From one line of progress to the next.
const TELL_EVERY: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let outcome = match args[..] {
        ["replay", folder] => replay(Path::new(folder)),
        ["run", folder, seconds, seed] => match (seconds.parse(), seed.parse()) {
            (Ok(seconds), Ok(seed)) => run(Path::new(folder), Duration::from_secs(seconds), seed),
            _ => Err("SECONDS and SEED are numbers".into()),
        },
        _ => Err("usage: dax-fuzz replay FOLDER | run FOLDER SECONDS SEED".into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("dax-fuzz: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Reads a text in every way that the driver reads text; panics if a parser or the model is wrong.
fn read(text: &[u8]) {
    let end = text.iter().position(|byte| *byte == 0);
    // The model reads what is UTF-8; other bytes are in no number and no name.
    let lossy = String::from_utf8_lossy(&text[..end.unwrap_or(text.len())]);
    for base in [Base::Auto, Base::Hex] {
        assert_eq!(parse_u64(text, base), model_u64(&lossy, base), "{base:?}");
    }
    assert_eq!(parse_i32(text), model_i32(&lossy));
    assert_eq!(parse_range(text), model_range(&lossy));
    let name = parse_device_name(text);
    assert_eq!(name.ok(), model_name(&lossy));
    if let Ok(name) = name {
        assert_eq!(parse_device_name(name.to_string().as_bytes()), Ok(name));
    }
}

/// Whether a text is read well; a panic says on stderr why it is not.
fn good(text: &[u8]) -> bool {
    panic::catch_unwind(|| read(text)).is_ok()
}

/// The corpus, in the order of its names.
fn corpus(folder: &Path) -> Result<Vec<Vec<u8>>, String> {
    let failed = |e: io::Error| format!("{}: {e}", folder.display());
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        paths.push(entry.map_err(failed)?.path());
    }
    paths.sort();
    paths
        .iter()
        .map(|path| fs::read(path).map_err(failed))
        .collect()
}

/// Reads every text of the corpus.
fn replay(folder: &Path) -> Result<(), String> {
    let texts = corpus(folder)?;
    if texts.is_empty() {
        return Err(format!("{}: no text in it", folder.display()));
    }
    for text in &texts {
        if !good(text) {
            return Err(format!("\"{}\" is read wrongly", text.escape_ascii()));
        }
    }
    println!("{} texts, all read as the model does", texts.len());
    Ok(())
}

/// What was seen of the code, by edge: a bit for each class of counts.
struct Seen(Vec<u8>);

impl Seen {
    /// Reads a text, and whether that went where none went before.
    fn add(&mut self, text: &[u8]) -> Result<bool, String> {
        coverage::clear();
        if !good(text) {
            return Err(format!("\"{}\" is read wrongly", text.escape_ascii()));
        }
        let mut new = false;
        for (edge, class) in coverage::taken() {
            new |= self.0[edge] & class == 0;
            self.0[edge] |= class;
        }
        Ok(new)
    }

    /// Edges that were taken.
    fn edges(&self) -> usize {
        self.0.iter().filter(|classes| **classes != 0).count()
    }
}

/// Makes texts, and keeps what is new.
fn run(folder: &Path, duration: Duration, seed: u64) -> Result<(), String> {
    let edges = coverage::edges();
    if edges == 0 {
        return Err("built without coverage: use make fuzz".into());
    }
    let mut texts = corpus(folder)?;
    let mut seen = Seen(vec![0; edges]);
    for text in &texts {
        seen.add(text)?;
    }
    let (start, mut told) = (Instant::now(), Instant::now());
    let mut random = Random(seed);
    let (mut count, before) = (0_u64, texts.len());
    let progress = |count: u64, seen: &Seen, texts: usize| {
        println!(
            "{} s: {count} texts, {} of {edges} edges of the program, {texts} in the corpus, {} new",
            start.elapsed().as_secs(),
            seen.edges(),
            texts - before
        );
    };
    while start.elapsed() < duration {
        for _ in 0..BATCH {
            let text = mutate(&texts, &mut random);
            let new = seen.add(&text).inspect_err(|_| {
                // The text is in the message as well.
                let _ = fs::write(folder.join("failed"), &text);
            })?;
            if new {
                let name = folder.join(name_of(&text));
                fs::write(&name, &text).map_err(|e| format!("{}: {e}", name.display()))?;
                texts.push(text);
            }
        }
        count += BATCH;
        if told.elapsed() > TELL_EVERY {
            progress(count, &seen, texts.len());
            told = Instant::now();
        }
    }
    progress(count, &seen, texts.len());
    Ok(())
}

/// A name that follows from the text: FNV-1a.
fn name_of(text: &[u8]) -> String {
    let hash = text.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    });
    format!("{hash:016x}")
}
