// SPDX-License-Identifier: GPL-2.0
//! The module's floors, from the files that each file of src/ uses. A file may use its own floor
//! and those below, and no files may use each other in a circle.
//!
//! A file uses another if it names it by `crate::`, `super::` or `self::`, in a `use` or elsewhere.
//! Test modules are ignored: they may use anything.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result};
use walkdir::WalkDir;

use crate::cache;
use crate::report::TestResult;
use crate::rust_code::{self, Token};

/// The floors from the top, as in the head of src/dax.rs. Each may use itself and those below.
const FLOORS: [&str; 6] = ["dax", "exports", "driver", "sys", "ranges", "prelude"];

/// The crate's root.
const ROOT: &str = "dax.rs";

/// The one allowed arrow upwards: `module!` puts the module's parameters into the crate's root.
const UP: (&str, &str) = ("driver/params.rs", ROOT);

/// The one allowed circle: a region makes its devices, and a device gives memory back to its
/// region.
const CIRCLE: [&str; 2] = ["driver/device.rs", "driver/region.rs"];

/// Each file, as `driver/region.rs`, and the files that it uses.
struct Floors(BTreeMap<String, BTreeSet<String>>);

/// Checks the rule.
pub fn result(repo: &Path) -> Result<TestResult> {
    let name = "the module's floors";
    let floors = Floors::read(repo)?;
    let wrong = floors.wrong();
    if wrong.is_empty() {
        return Ok(TestResult::passed(name));
    }
    let text = format!("{}\n\n{}", wrong.join("\n"), floors.drawing());
    Ok(TestResult::failed(name, &text))
}

/// The drawing, for `make floors`.
pub fn drawing(repo: &Path) -> Result<String> {
    Floors::read(repo).map(|floors| floors.drawing())
}

impl Floors {
    fn read(repo: &Path) -> Result<Self> {
        let src = repo.join("src");
        let mut texts = Vec::new();
        for entry in WalkDir::new(&src) {
            let entry = entry.with_context(|| format!("cannot list {}", src.display()))?;
            let path = entry.path();
            if path.extension().is_some_and(|e| e == "rs") {
                let name = path.strip_prefix(&src).unwrap_or(path);
                texts.push((name.display().to_string(), cache::read_text(path)?));
            }
        }
        Self::new(&texts)
    }

    fn new(texts: &[(String, String)]) -> Result<Self> {
        let names: BTreeSet<&str> = texts.iter().map(|(name, _)| name.as_str()).collect();
        let mut uses = BTreeMap::new();
        for (name, text) in texts {
            let module = module(name);
            let items = rust_code::items(text).with_context(|| format!("src/{name}"))?;
            let tokens: Vec<Token> = items.iter().flat_map(rust_code::tokens).collect();
            let paths = paths(&tokens).into_iter();
            let mut used: BTreeSet<String> = paths
                .filter_map(|path| file(&names, &resolve(&module, &path)?))
                .collect();
            used.remove(name);
            uses.insert(name.clone(), used);
        }
        Ok(Self(uses))
    }

    /// The breaches of the rule, a line each.
    fn wrong(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for (name, used) in &self.0 {
            let Some(own) = height(name) else {
                wrong.push(format!("src/{name}: on none of the floors"));
                continue;
            };
            let up = used
                .iter()
                .filter(|to| height(to).is_some_and(|h| h < own) && !is_excused(name, to));
            wrong.extend(up.map(|to| {
                format!(
                    "src/{name} uses {to}: {} is above {}",
                    floor(to),
                    floor(name)
                )
            }));
        }
        let circles = self.circles().into_iter();
        let others = circles.filter(|circle| !circle.iter().eq(CIRCLE.iter()));
        wrong.extend(others.map(|circle| {
            let arrows = circle.iter().flat_map(|from| {
                let used = self.0.get(*from).into_iter().flatten();
                used.filter(|to| circle.contains(&to.as_str()))
                    .map(move |to| format!("{from} -> {to}"))
            });
            let arrows: Vec<String> = arrows.collect();
            format!("a circle: {}", arrows.join(", "))
        }));
        wrong
    }

    /// The sets of files that use each other, directly or by way of others.
    fn circles(&self) -> BTreeSet<BTreeSet<&str>> {
        let all: BTreeMap<&str, BTreeSet<&str>> =
            self.0.keys().map(|n| (n.as_str(), self.below(n))).collect();
        let circle = |name: &str| -> BTreeSet<&str> {
            let back = |other: &&str| all.get(*other).is_some_and(|below| below.contains(name));
            let below = all.get(name).into_iter().flatten().copied();
            below.filter(back).collect()
        };
        let circles = all.keys().map(|name| circle(name));
        circles.filter(|circle| !circle.is_empty()).collect()
    }

    /// All files that a file uses, directly or by way of others. A file in a circle uses itself.
    fn below(&self, name: &str) -> BTreeSet<&str> {
        let mut below = BTreeSet::new();
        let mut next = vec![name];
        while let Some(from) = next.pop() {
            for to in self.0.get(from).into_iter().flatten() {
                if !is_excused(from, to) && below.insert(to.as_str()) {
                    next.push(to);
                }
            }
        }
        below
    }

    /// The files floor by floor; on each floor a file comes before those that it uses.
    fn drawing(&self) -> String {
        let mut text = String::new();
        let known = FLOORS.map(str::to_owned);
        let mut floors = known.to_vec();
        let others = self.0.keys().map(|name| floor(name).to_owned());
        floors.extend(
            others
                .filter(|f| !known.contains(f))
                .collect::<BTreeSet<_>>(),
        );
        for own in &floors {
            let drawn = |name: &&String| {
                floor(name) == own && (short(name) != "mod" || !self.0[*name].is_empty())
            };
            let mut files: Vec<&String> = self.0.keys().filter(drawn).collect();
            files.sort_by_key(|name| (usize::MAX - self.below(name).len(), *name));
            if !files.is_empty() {
                text += &format!("{own}\n");
            }
            for name in files {
                let arrows: Vec<String> = floors
                    .iter()
                    .filter_map(|to| self.arrows(name, own, to))
                    .collect();
                let arrows = arrows.join(" | ");
                text += format!("  {:<12}{arrows}", short(name)).trim_end();
                text += "\n";
            }
        }
        for circle in self.circles() {
            let circle: Vec<&str> = circle.into_iter().collect();
            text += &format!("in a circle: {}\n", circle.join(" <-> "));
        }
        text
    }

    /// The names that a file uses of a floor, as text.
    fn arrows(&self, name: &str, own: &str, to: &str) -> Option<String> {
        let used = self.0.get(name).into_iter().flatten();
        let used: Vec<&str> = used.filter(|n| floor(n) == to).map(|n| short(n)).collect();
        let place = match to {
            _ if to == own => String::new(),
            // A floor of one file.
            _ if used == [to] => return Some(to.to_owned()),
            _ => format!("{to}: "),
        };
        (!used.is_empty()).then(|| place + &used.join(", "))
    }
}

fn is_excused(from: &str, to: &str) -> bool {
    (from, to) == UP
}

/// `driver` of `driver/region.rs`, `exports` of `exports.rs`.
fn floor(name: &str) -> &str {
    let first = name.split('/').next().unwrap_or(name);
    first.trim_end_matches(".rs")
}

/// The number of a file's floor, counted from the top.
fn height(name: &str) -> Option<usize> {
    FLOORS.iter().position(|known| *known == floor(name))
}

/// `region` of `driver/region.rs`.
fn short(name: &str) -> &str {
    let last = name.rsplit('/').next().unwrap_or(name);
    last.trim_end_matches(".rs")
}

/// The path of the module that a file is.
fn module(name: &str) -> Vec<String> {
    let path = name.trim_end_matches(".rs").split('/');
    let path = path.filter(|part| *part != "mod");
    match name {
        ROOT => Vec::new(),
        _ => path.map(str::to_owned).collect(),
    }
}

/// The path from the crate's root, if it stays in the crate.
fn resolve(module: &[String], path: &[String]) -> Option<Vec<String>> {
    let mut found = module.to_vec();
    for (at, part) in path.iter().enumerate() {
        match part.as_str() {
            "crate" if at == 0 => found.clear(),
            "self" => {}
            "super" => drop(found.pop()?),
            part => found.push(part.to_owned()),
        }
    }
    Some(found)
}

/// The file that defines `path`: the file of the innermost module that has one.
fn file(names: &BTreeSet<&str>, path: &[String]) -> Option<String> {
    let mut path = path.to_vec();
    while !path.is_empty() {
        let name = path.join("/");
        let candidates = [format!("{name}.rs"), format!("{name}/mod.rs")];
        if let Some(found) = candidates.into_iter().find(|c| names.contains(c.as_str())) {
            return Some(found);
        }
        path.pop();
    }
    names.contains(ROOT).then(|| ROOT.to_owned())
}

/// All paths that begin with `crate`, `super` or `self`. Braces are expanded to one path each.
fn paths(tokens: &[Token]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(word) = text(tokens, at) {
        let begins = matches!(word, "crate" | "super" | "self");
        if begins && text(tokens, at + 1) == Some("::") {
            at = tree(tokens, at, &[], &mut found);
        } else {
            at += 1;
        }
    }
    found
}

/// Reads one path, or one tree of a `use`, and returns where it ends.
fn tree(tokens: &[Token], mut at: usize, before: &[String], found: &mut Vec<Vec<String>>) -> usize {
    let mut path = before.to_vec();
    loop {
        match text(tokens, at) {
            Some("{") => {
                at += 1;
                while !matches!(text(tokens, at), None | Some("}")) {
                    let end = tree(tokens, at, &path, found);
                    // Skips `as b` and the comma after a name.
                    let rest = tokens[end..]
                        .iter()
                        .position(|t| t.text == "," || t.text == "}");
                    at = rest.map_or(tokens.len(), |n| end + n);
                    at += usize::from(text(tokens, at) == Some(","));
                }
                return at + 1;
            }
            Some(word) if is_word(word) => {
                path.push(word.to_owned());
                at += 1;
            }
            _ => break,
        }
        match text(tokens, at) {
            Some("::") => at += 1,
            _ => break,
        }
    }
    found.push(path);
    at
}

fn text(tokens: &[Token], at: usize) -> Option<&str> {
    tokens.get(at).map(|token| token.text.as_str())
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floors(texts: &[(&str, &str)]) -> Floors {
        let owned = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
        Floors::new(&texts.iter().map(owned).collect::<Vec<_>>()).unwrap()
    }

    fn used(floors: &Floors, name: &str) -> Vec<String> {
        floors.0[name].iter().cloned().collect()
    }

    #[test]
    fn all_ways_to_name_a_file_are_read() {
        let text = "// use crate::exports;\n\
             use crate::{ranges::{range::{Align, PhysRange as R}, layout}, sys::ids};\n\
             pub(crate) use super::region::Region;\n\
             use self::inner::X; use kernel::prelude::*;\n\
             fn f(self) { crate::g(); super::super::sys::task::sleep::<u8>(\"crate::exports\") }\n\
             #[cfg(test)]\nmod tests { use crate::exports::*; }\n";
        let floors = floors(&[
            ("dax.rs", ""),
            ("exports.rs", ""),
            ("driver/device.rs", text),
            ("driver/region.rs", ""),
            ("ranges/layout.rs", ""),
            ("ranges/mod.rs", ""),
            ("ranges/range.rs", ""),
            ("sys/ids.rs", ""),
            ("sys/mod.rs", ""),
            ("sys/task.rs", ""),
        ]);
        let expected = [
            "dax.rs",
            "driver/region.rs",
            "ranges/layout.rs",
            "ranges/range.rs",
            "sys/ids.rs",
            "sys/task.rs",
        ];
        assert_eq!(used(&floors, "driver/device.rs"), expected);
    }

    #[test]
    fn arrows_go_down() {
        for (name, text, why) in [
            (
                "ranges/a.rs",
                "use crate::sys::b::X;",
                "sys is above ranges",
            ),
            (
                "ranges/a.rs",
                "use crate::driver::b::X;",
                "driver is above ranges",
            ),
            ("sys/a.rs", "use crate::{driver::b};", "driver is above sys"),
            (
                "sys/a.rs",
                "fn f() { crate::exports::g() }",
                "exports is above sys",
            ),
            (
                "driver/a.rs",
                "use crate::exports::X;",
                "exports is above driver",
            ),
            (
                "driver/a.rs",
                "use super::super::exports;",
                "exports is above driver",
            ),
            ("driver/a.rs", "use crate::f;", "dax is above driver"),
            (
                "prelude.rs",
                "use crate::ranges::a;",
                "ranges is above prelude",
            ),
            ("other/a.rs", "", "on none of the floors"),
        ] {
            let files = [
                "dax.rs",
                "exports.rs",
                "driver/b.rs",
                "sys/b.rs",
                "ranges/mod.rs",
            ];
            let mut texts = files.map(|file| (file, "")).to_vec();
            texts.push((name, text));
            let wrong = floors(&texts).wrong();
            assert!(
                wrong.len() == 1 && wrong[0].contains(why),
                "{name}: {wrong:?}"
            );
        }
        let right = floors(&[
            ("dax.rs", "use crate::driver::params::F;"),
            (
                "driver/params.rs",
                "use crate::sys::b::X; use crate::ranges::a; fn f() { crate::f() }",
            ),
            ("sys/b.rs", "use crate::ranges::a::X; use super::c;"),
            ("sys/c.rs", ""),
            ("ranges/a.rs", "use crate::prelude::EINVAL;"),
            ("prelude.rs", ""),
        ]);
        assert_eq!(right.wrong(), [""; 0]);
    }

    #[test]
    fn circles_are_found() {
        let known = [
            ("driver/device.rs", "use crate::driver::region::Region;"),
            ("driver/region.rs", "use crate::driver::device::DevDax;"),
        ];
        assert_eq!(floors(&known).wrong(), [""; 0]);
        let long = floors(&[
            ("sys/a.rs", "use super::b::B;"),
            ("sys/b.rs", "use super::c::C;"),
            ("sys/c.rs", "use super::a::A;"),
            ("sys/d.rs", "use super::a::A;"),
        ]);
        let arrows = "a circle: sys/a.rs -> sys/b.rs, sys/b.rs -> sys/c.rs, sys/c.rs -> sys/a.rs";
        assert_eq!(long.wrong(), [arrows]);
        // The one that there may be must not grow.
        let grown = floors(&[
            ("driver/device.rs", "use crate::driver::region::Region;"),
            (
                "driver/region.rs",
                "use crate::driver::{device::DevDax, bus};",
            ),
            ("driver/bus.rs", "use crate::driver::device::DevDax;"),
        ]);
        assert_eq!(grown.wrong().len(), 1);
    }

    #[test]
    fn the_drawing_has_users_before_what_they_use() {
        let floors = floors(&[
            ("exports.rs", "use crate::driver::z::Z;"),
            (
                "driver/a.rs",
                "use crate::sys::s; use crate::sys::t::T; use crate::prelude::X;",
            ),
            ("driver/z.rs", "use super::a::A;"),
            ("sys/s.rs", ""),
            ("sys/t.rs", ""),
            ("prelude.rs", ""),
        ]);
        let lines = [
            "exports",
            "  exports     driver: z",
            "driver",
            "  z           a",
            "  a           sys: s, t | prelude",
            "sys",
            "  s",
            "  t",
            "prelude",
            "  prelude",
        ];
        assert_eq!(floors.drawing().lines().collect::<Vec<_>>(), lines);
    }

    #[test]
    fn the_module_is_as_it_should_be() {
        let floors = Floors::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..")).unwrap();
        assert_eq!(floors.wrong(), [""; 0]);
        assert!(used(&floors, "driver/region.rs").contains(&"driver/device.rs".to_owned()));
    }
}
