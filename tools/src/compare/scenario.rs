// SPDX-License-Identifier: GPL-2.0
//! A group of guest tests on both kernels: every write and every program that a test runs, and
//! the state after it.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{bail, Context, Result};
use dax_protocol::compare::{Observed, OBSERVED};

use super::guests::{Pair, Ran};
use super::judge::describe;
use super::rules;
use super::transcript::{apply, State, Step};
use crate::groups::{self, Group};
use crate::progress;
use crate::settings;
use crate::spec::Impl;

const LOAD: &str = "modprobe device_dax; modprobe kmem; modprobe dax_hmem region_idle=1";

/// One process of a test: the state at its first action, and its actions.
#[derive(Debug, Default)]
struct Part {
    base: State,
    steps: Vec<Step>,
    errors: Vec<String>,
}

/// A test: how it ended, and the processes that acted.
#[derive(Debug, Default)]
struct Test {
    verdict: String,
    parts: Vec<Part>,
}

/// The result of the comparison of a group.
#[derive(Default)]
struct Tally {
    tests: u64,
    agreed: u64,
    actions: u64,
    explained: BTreeMap<&'static str, u64>,
    cut: BTreeMap<&'static str, u64>,
    left_out: Vec<String>,
    differing: u64,
}

pub fn main(pair: &Pair<'_>, list: &[Group], name: &str) -> Result<ExitCode> {
    let Some(group) = list.iter().find(|group| group.group == name) else {
        let names: Vec<&str> = list.iter().map(|group| group.group.as_str()).collect();
        return Err(settings::unknown("ONLY", name, "group", &names));
    };
    if !group.is_for(Impl::C) || !group.is_for(Impl::Rust) {
        bail!("ONLY={name}: the group is for one of the drivers only");
    }
    let mut machine = groups::machine(group)?;
    machine.timeout *= 4;
    let step = progress::Step::start(format!("group {name}, C and Rust"), 0);
    let quoted = shlex::try_quote(name)?;
    // What loading brings differs: rows "modules" and "bus" of docs/deviations.md.
    let command = format!("{LOAD}; DAX_OBSERVE=1 /dax-guest test {quoted}");
    let ran = pair.run(name, &machine, &command, &[], &step)?;
    step.done();
    let [c, rust] = [parse(&ran[0].text)?, parse(&ran[1].text)?];
    let mut tally = Tally::default();
    for (test, c) in &c {
        match rust.get(test) {
            Some(rust) => tally.compare(test, c, rust),
            None => tally.left_out.push(format!("{test}: not run on Rust")),
        }
    }
    let only_rust = rust.keys().filter(|test| !c.contains_key(*test));
    tally
        .left_out
        .extend(only_rust.map(|test| format!("{test}: not run on C")));
    let mut failed = tally.report(name);
    for trouble in ran.iter().filter_map(Ran::trouble) {
        failed = true;
        println!("trouble: {trouble}");
    }
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// The tests in a group's output, by name.
fn parse(text: &str) -> Result<BTreeMap<String, Test>> {
    let mut tests = BTreeMap::new();
    let mut test = Test::default();
    for line in text.lines() {
        if let Some(json) = line.strip_prefix(OBSERVED) {
            let observed = serde_json::from_str(json)
                .with_context(|| format!("not a line of a transcript: {line}"))?;
            test.add(observed);
        } else if let Some((verdict, name)) = verdict(line) {
            test.verdict = verdict;
            tests.insert(name, std::mem::take(&mut test));
        }
    }
    if tests.is_empty() {
        bail!("no test reported a result; it printed:\n{text}");
    }
    Ok(tests)
}

/// `ok 3 name # SKIP why`: `ok # SKIP why` and the name.
fn verdict(line: &str) -> Option<(String, String)> {
    let (verdict, rest) = ["ok ", "not ok "]
        .iter()
        .find_map(|verdict| Some((verdict.trim_end(), line.strip_prefix(verdict)?)))?;
    let (_, name) = rest.split_once(' ')?;
    let (name, skip) = name.split_once(" # ").unwrap_or((name, ""));
    Some((
        format!("{verdict} {skip}").trim_end().to_owned(),
        name.to_owned(),
    ))
}

impl Test {
    fn add(&mut self, observed: Observed) {
        if let Observed::Base(base) = observed {
            self.parts.push(Part {
                base,
                ..Part::default()
            });
            return;
        }
        if self.parts.is_empty() {
            self.parts.push(Part::default());
        }
        match (observed, self.parts.last_mut()) {
            (Observed::Step(step), Some(part)) => part.steps.push(step),
            (Observed::Error(error), Some(part)) => part.errors.push(error),
            _ => {}
        }
    }

    fn skipped(&self) -> bool {
        self.verdict.contains("SKIP")
    }
}

impl Tally {
    fn compare(&mut self, name: &str, c: &Test, rust: &Test) {
        if c.skipped() || rust.skipped() {
            self.left_out
                .push(format!("{name}: C {}, Rust {}", c.verdict, rust.verdict));
            return;
        }
        self.tests += 1;
        match self.parts(c, rust) {
            Ok(None) => self.agreed += 1,
            Ok(Some(rule)) => *self.cut.entry(rule).or_default() += 1,
            Err(text) => {
                self.differing += 1;
                println!("--- {name} differs:\n{text}");
            }
        }
    }

    /// The rule that ended the comparison early, if one did.
    fn parts(&mut self, c: &Test, rust: &Test) -> Result<Option<&'static str>, String> {
        if c.verdict != rust.verdict {
            return Err(format!("verdict: C {}, Rust {}\n", c.verdict, rust.verdict));
        }
        for (part, other) in c.parts.iter().zip(&rust.parts) {
            if part.base != other.base {
                return Err(bases(&part.base, &other.base));
            }
            let mut state = part.base.clone();
            let mut theirs = other.steps.iter();
            for step in &part.steps {
                self.actions += 1;
                let mut other = theirs.next();
                while let Some(more) = other.filter(|other| other.op != step.op) {
                    let Some(rule) = rules::left_out_on_c(&state, more) else {
                        break;
                    };
                    *self.explained.entry(rule).or_default() += 1;
                    other = theirs.next();
                }
                let Some(other) = other else {
                    return Err(format!("only on C: {}\n", step.op));
                };
                if step != other {
                    let Some(rule) = rules::explain(&state, step, other) else {
                        return Err(describe(step, other));
                    };
                    *self.explained.entry(rule.name).or_default() += 1;
                    if step.hash != other.hash || step.op != other.op {
                        return Ok(Some(rule.name));
                    }
                }
                apply(&mut state, &step.changed);
            }
            if let Some(more) = theirs.next() {
                return Err(format!("only on Rust: {}\n", more.op));
            }
            if part.errors != other.errors {
                let (c, rust) = (&part.errors, &other.errors);
                return Err(format!("errors: C {c:?}, Rust {rust:?}\n"));
            }
        }
        if c.parts.len() != rust.parts.len() {
            let (c, rust) = (c.parts.len(), rust.parts.len());
            return Err(format!("processes that acted: C {c}, Rust {rust}\n"));
        }
        Ok(None)
    }

    /// Says how it went; whether it failed.
    fn report(&self, group: &str) -> bool {
        println!("\nC and Rust side by side, group {group}");
        println!("{:7} tests, {} actions compared", self.tests, self.actions);
        println!("{:7} agreed to their end", self.agreed);
        for (what, rules) in [
            ("cut short by", &self.cut),
            ("explained by", &self.explained),
        ] {
            for (rule, count) in rules {
                println!("{count:7} {what} {rule}");
            }
        }
        println!("{:7} left out", self.left_out.len());
        for why in &self.left_out {
            println!("        {why}");
        }
        println!("{:7} differ without an explanation", self.differing);
        self.differing > 0 || self.agreed == 0 || self.actions == 0
    }
}

/// The differences of two states, as text.
fn bases(c: &State, rust: &State) -> String {
    let mut text = "before its first action\n".to_owned();
    for key in c
        .keys()
        .chain(rust.keys().filter(|key| !c.contains_key(*key)))
    {
        if c.get(key) != rust.get(key) {
            text += &format!(
                "{key}\n  C    {:?}\n  Rust {:?}\n",
                c.get(key),
                rust.get(key)
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r##"KTAP version 1
#observe {"base":{"a":"1"}}
#observe {"step":{"op":{"write":"p","text":"t"},"result":"wrote 1","changed":{"a":"2"},"uevents":[],"log":[],"hash":"h"}}
ok 1 first
ok 2 second # SKIP no
"##;

    fn compared(rust: &str) -> Tally {
        let (c, rust) = (parse(TEXT).unwrap(), parse(rust).unwrap());
        let mut tally = Tally::default();
        for (name, test) in &c {
            tally.compare(name, test, &rust[name]);
        }
        tally
    }

    #[test]
    fn a_group_agrees_with_itself() {
        let tally = compared(TEXT);
        assert_eq!((tally.tests, tally.agreed, tally.actions), (1, 1, 1));
        assert_eq!(tally.left_out.len(), 1);
    }

    #[test]
    fn differences_are_seen() {
        for (from, to) in [
            ("wrote 1", "EINVAL"),
            ("\"2\"", "\"3\""),
            ("\"h\"", "\"i\""),
            ("\"a\":\"1\"", "\"a\":\"0\""),
            ("ok 1", "not ok 1"),
        ] {
            let tally = compared(&TEXT.replacen(from, to, 1));
            assert_eq!((tally.agreed, tally.differing), (0, 1), "{from}");
        }
    }
}
