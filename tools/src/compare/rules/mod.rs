// SPDX-License-Identifier: GPL-2.0
//! The differences that are intended. Each rule belongs to a row of docs/deviations.md, and allows,
//! for an operation and the state before it, exactly what the row says.

mod text;

use std::collections::BTreeMap;

use super::transcript::{apply, Operation, State, Step};
use text::{hexadecimal, number, parse, ranges};

/// The smallest piece of a device.
const UNIT: u64 = 2 << 20;

/// A difference that a rule judges.
pub struct Case<'a> {
    /// The state before, which both drivers had.
    pub state: &'a State,
    pub c: &'a Step,
    pub rust: &'a Step,
    /// The write, if the operation is one.
    write: Option<Write<'a>>,
}

struct Write<'a> {
    /// The attribute's directory, without links.
    dir: String,
    attribute: &'a str,
    text: &'a str,
}

/// A difference that is intended.
pub struct Rule {
    pub name: &'static str,
    /// The row: its first column, and words from another column. A test looks it up.
    #[cfg_attr(not(test), allow(dead_code))]
    row: (&'static str, &'static str),
    explains: fn(&Case<'_>) -> bool,
}

const MAPPING_OF_BOUND: &str = "mapping of a bound device";

const RULES: &[Rule] = &[
    Rule {
        name: MAPPING_OF_BOUND,
        row: ("A3", "`mapping` can be written while a driver is bound"),
        explains: mapping_of_bound,
    },
    Rule {
        name: "mapping of no or misaligned length",
        row: ("A13", "`mapping` of misaligned or no length"),
        explains: mapping_of_misaligned_length,
    },
    Rule {
        name: "mapping with misaligned start",
        row: ("A13", "`mapping` with a misaligned start"),
        explains: mapping_with_misaligned_start,
    },
    Rule {
        name: "mapping reversed",
        row: ("A13", "`mapping` reversed"),
        explains: mapping_reversed,
    },
    Rule {
        name: "mapping outside the region",
        row: ("A13", "`mapping` outside the region"),
        explains: mapping_outside,
    },
    Rule {
        name: "mapping that is taken",
        row: ("A13", "`mapping` that is taken"),
        explains: mapping_taken,
    },
    Rule {
        name: "growth into misaligned holes",
        row: (
            "A14",
            "growth may end in ranges that are smaller than `align`",
        ),
        explains: misaligned_growth,
    },
    Rule {
        name: "align of misplaced ranges",
        row: ("A1", "`align` is accepted for misplaced ranges"),
        explains: misplaced_align,
    },
    Rule {
        name: "align of text that is no number",
        row: ("A28", "`align` of text that is no number"),
        explains: align_malformed,
    },
    Rule {
        name: "mmap at a misaligned offset",
        row: ("", "mmap at an offset that is no multiple of `align`"),
        explains: misaligned_offset,
    },
    Rule {
        name: "order of a region's devices when it goes",
        row: (
            "region teardown",
            "one devres action a device and a mapping",
        ),
        explains: teardown_order,
    },
];

/// The rule about the dependencies between the family's modules.
const MODULES: Rule = Rule {
    name: "modules",
    row: (
        "modules",
        "the bus is in device_dax, which its consumers pin",
    ),
    explains: |_| false,
};

type Users = BTreeMap<String, Vec<String>>;

/// The rule that explains a difference between the loaded modules, if there is a difference. In C
/// no module uses device_dax; in Rust all others of the family do.
pub fn modules(c: &Users, rust: &Users) -> Result<Option<&'static str>, String> {
    if c == rust {
        return Ok(None);
    }
    let mut expected = c.clone();
    let consumers = c
        .keys()
        .filter(|name| *name != "device_dax")
        .cloned()
        .collect();
    expected.insert("device_dax".to_owned(), consumers);
    if expected == *rust {
        Ok(Some(MODULES.name))
    } else {
        Err(format!("modules and their users: C {c:?}, Rust {rust:?}"))
    }
}

/// The rule for an operation that tests do not put the C driver through.
pub fn left_out_on_c(state: &State, rust: &Step) -> Option<&'static str> {
    let case = Case {
        state,
        c: rust,
        rust,
        write: write_of(state, &rust.op),
    };
    let of_bound = RULES.iter().find(|rule| rule.name == MAPPING_OF_BOUND)?;
    (of_bound.explains)(&case).then_some(of_bound.name)
}

/// The rule that explains a difference.
pub fn explain(state: &State, c: &Step, rust: &Step) -> Option<&'static Rule> {
    let case = Case {
        state,
        c,
        rust,
        write: write_of(state, &c.op),
    };
    RULES.iter().find(|rule| (rule.explains)(&case))
}

fn write_of<'a>(state: &State, op: &'a Operation) -> Option<Write<'a>> {
    let Operation::Write { path, text } = op else {
        return None;
    };
    let (dir, attribute) = path.rsplit_once('/')?;
    // The links in /sys/bus/dax/devices go up to /sys and down again.
    let link = state
        .get(dir)
        .and_then(|to| to.strip_prefix("-> ../../../"));
    let dir = link.map_or_else(|| dir.to_owned(), |to| format!("/sys/{to}"));
    Some(Write {
        dir,
        attribute,
        text,
    })
}

impl Case<'_> {
    /// The directory and the text, if the operation writes an attribute of that name.
    fn writes(&self, attribute: &str) -> Option<(&str, &str)> {
        let write = self.write.as_ref()?;
        (write.attribute == attribute).then_some((write.dir.as_str(), write.text))
    }

    /// Whether the drivers answered like that, and are equal in all else.
    fn only_answers(&self, c: &str, rust: &str) -> bool {
        self.c.result == c && self.rust.result == rust && self.same_but_for_the_answer()
    }

    fn same_but_for_the_answer(&self) -> bool {
        let mut rust = self.rust.clone();
        rust.result.clone_from(&self.c.result);
        *self.c == rust
    }

    /// Whether the Rust driver refused with that error and changed nothing.
    fn rust_refused(&self, answer: &str) -> bool {
        self.rust.result == answer
            && self.rust.changed.is_empty()
            && self.rust.uevents.is_empty()
            && self.rust.log.is_empty()
    }

    /// Whether the C driver took the whole text.
    fn c_took(&self, text: &str) -> bool {
        self.c.result == format!("wrote {}", text.len())
    }

    fn unit(&self, dir: &str) -> u64 {
        number(self.state, &format!("{dir}/align"))
            .unwrap_or(0)
            .max(UNIT)
    }

    /// The first and last byte that are written to `mapping`, with the device's directory and unit.
    fn mapping(&self) -> Option<Mapping> {
        let (dir, text) = self.writes("mapping")?;
        let (start, end) = text.split_once('-')?;
        let (start, end) = (hexadecimal(start)?, hexadecimal(end)?);
        Some(Mapping {
            start,
            end,
            unit: self.unit(dir),
        })
    }

    /// Whether both addresses lie in one region.
    fn in_a_region(&self, first: u64, last: u64) -> bool {
        let spans = self.state.get("regions").map_or("", String::as_str);
        spans.split(' ').filter_map(|span| span.split_once('-')).any(|(start, end)| {
            matches!((parse(start), parse(end)), (Some(s), Some(e)) if s <= first && last <= e)
        })
    }
}

struct Mapping {
    start: u64,
    end: u64,
    unit: u64,
}

impl Mapping {
    fn reversed(&self) -> bool {
        self.end.wrapping_add(1) < self.start
    }

    fn misaligned_length(&self) -> bool {
        let len = self.end.wrapping_sub(self.start).wrapping_add(1);
        len == 0 || len % self.unit != 0
    }
}

fn mapping_of_bound(case: &Case<'_>) -> bool {
    let Some((dir, _)) = case.writes("mapping") else {
        return false;
    };
    case.state.contains_key(&format!("{dir}/driver")) && case.rust_refused("EBUSY")
}

fn mapping_of_misaligned_length(case: &Case<'_>) -> bool {
    let Some(m) = case.mapping() else {
        return false;
    };
    let text = case.writes("mapping").map_or("", |(_, text)| text);
    let c = format!("wrote {}", text.len());
    // The length of all 2^64 bytes is 0 in C, and the range is outside of every region.
    let rust = if (m.start, m.end) == (0, u64::MAX) {
        "ERANGE"
    } else {
        "EINVAL"
    };
    m.misaligned_length() && case.only_answers(&c, rust)
}

fn mapping_with_misaligned_start(case: &Case<'_>) -> bool {
    let (Some(m), Some((_, text))) = (case.mapping(), case.writes("mapping")) else {
        return false;
    };
    !m.reversed()
        && m.start % m.unit != 0
        && case.rust_refused("EINVAL")
        && (case.c_took(text) || case.only_answers("ENOMEM", "EINVAL"))
}

fn mapping_reversed(case: &Case<'_>) -> bool {
    case.mapping().is_some_and(|m| m.reversed()) && case.only_answers("ENOMEM", "EINVAL")
}

fn mapping_outside(case: &Case<'_>) -> bool {
    let Some(m) = case.mapping() else {
        return false;
    };
    !case.in_a_region(m.start, m.end) && case.only_answers("ENOMEM", "ERANGE")
}

fn mapping_taken(case: &Case<'_>) -> bool {
    let Some(m) = case.mapping() else {
        return false;
    };
    let overlap = |(start, end): (u64, u64)| start <= m.end && m.start <= end;
    ranges(case.state).any(|(_, span)| overlap(span)) && case.only_answers("ENOMEM", "EBUSY")
}

fn misaligned_growth(case: &Case<'_>) -> bool {
    let Some((dir, text)) = case.writes("size") else {
        return false;
    };
    let unit = case.unit(dir);
    let misaligned = |step: &Step| {
        let mut state = case.state.clone();
        apply(&mut state, &step.changed);
        let bad = ranges(&state)
            .filter(|(key, _)| key.starts_with(&format!("{dir}/")))
            .any(|(_, (start, end))| start % unit != 0 || (end + 1) % unit != 0);
        bad
    };
    unit > UNIT
        && case.c_took(text)
        && misaligned(case.c)
        && !misaligned(case.rust)
        && (case.rust_refused("ENOSPC") || case.rust.result == case.c.result)
}

fn misplaced_align(case: &Case<'_>) -> bool {
    let Some((dir, text)) = case.writes("align") else {
        return false;
    };
    let unit = parse(text.trim_end_matches(['\n', '\0']))
        .unwrap_or(0)
        .max(UNIT);
    let misplaced = ranges(case.state)
        .filter(|(key, _)| key.starts_with(&format!("{dir}/")))
        .any(|(_, (start, _))| start % unit != 0);
    misplaced && case.c_took(text) && case.rust_refused("EINVAL")
}

fn align_malformed(case: &Case<'_>) -> bool {
    let Some((_, text)) = case.writes("align") else {
        return false;
    };
    let text = text.split('\0').next().unwrap_or_default();
    let value = parse(text.strip_suffix('\n').unwrap_or(text));
    value.is_none()
        && (case.only_answers("ENXIO", "EINVAL") || case.only_answers("ENXIO", "ERANGE"))
}

fn misaligned_offset(case: &Case<'_>) -> bool {
    let Operation::Touch { device, offset, .. } = &case.c.op else {
        return false;
    };
    let suffix = format!("/{device}/align");
    let key = case.state.keys().find(|key| key.ends_with(&suffix));
    let align = key.and_then(|key| number(case.state, key)).unwrap_or(1);
    offset % align != 0 && case.rust.result == "mmap: EINVAL" && case.same_but_for_the_answer()
}

fn teardown_order(case: &Case<'_>) -> bool {
    let sorted = |step: &Step| {
        let mut step = step.clone();
        step.uevents.sort_unstable();
        step
    };
    matches!(&case.c.op, Operation::Write { path, .. } if path == "/sys/bus/platform/drivers/hmem/unbind")
        && sorted(case.c) == sorted(case.rust)
}

#[cfg(test)]
mod tests;
