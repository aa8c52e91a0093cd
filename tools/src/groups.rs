// SPDX-License-Identifier: GPL-2.0
//! The groups of guest tests, as the test program itself lists them: each has a
//! guest of its own with the settings it asks for.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{bail, Context, Result};
use serde::Deserialize;

use crate::exec;
use crate::settings::{words, Machine};
use crate::spec::Impl;

/// One line of `dax-guest list`. What it leaves out has the usual value.
#[derive(Debug, Deserialize)]
pub struct Group {
    pub group: String,
    append: Option<String>,
    mem: Option<String>,
    cpus: Option<u32>,
    qemu: Option<String>,
    #[serde(rename = "impl")]
    impls: Option<Vec<String>>,
    timeout: Option<u64>,
    /// What is exercised, if the group is about a consumer of the driver.
    pub consumer: Option<String>,
}

pub fn list(program: &Path) -> Result<Vec<Group>> {
    let text = exec::output(Command::new(program).arg("list"))?;
    let groups = parse(&String::from_utf8_lossy(&text))?;
    if groups.is_empty() {
        bail!("{} list: no group of guest tests", program.display());
    }
    Ok(groups)
}

fn parse(text: &str) -> Result<Vec<Group>> {
    let lines = text.lines().filter(|l| !l.trim().is_empty());
    lines
        .map(|line| {
            serde_json::from_str(line)
                .with_context(|| format!("dax-guest list: not a group: {line}"))
        })
        .collect()
}

impl Group {
    pub fn is_for(&self, imp: Impl) -> bool {
        self.impls
            .as_ref()
            .is_none_or(|impls| impls.iter().any(|i| i == imp.name()))
    }

    pub fn machine(&self) -> Result<Machine> {
        let usual = Machine::default();
        let text = |own: &Option<String>, usual: String| {
            own.clone().filter(|t| !t.is_empty()).unwrap_or(usual)
        };
        Ok(Machine {
            mem: text(&self.mem, usual.mem),
            cpus: self.cpus.filter(|&n| n > 0).unwrap_or(usual.cpus),
            append: self.append.clone().unwrap_or(usual.append),
            qemu: words(self.qemu.as_deref().unwrap_or_default())?,
            timeout: self
                .timeout
                .filter(|&n| n > 0)
                .map_or(usual.timeout, Duration::from_secs),
            counted: usual.counted,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_a_group() {
        let groups = parse(
            "{\"group\":\"sysfs\"}\n\n{\"group\":\"numa\",\"append\":\"\",\"mem\":\"8G\",\"cpus\":4,\
             \"qemu\":\"-numa 'node,nodeid=0'\",\"impl\":[\"rust\"],\"timeout\":9}\n",
        )
        .unwrap();
        assert!(
            groups[0].is_for(Impl::C) && !groups[1].is_for(Impl::C) && groups[1].is_for(Impl::Rust)
        );
        assert_eq!(groups[0].machine().unwrap().mem, "6G");
        let machine = groups[1].machine().unwrap();
        assert_eq!((machine.append.as_str(), machine.cpus), ("", 4));
        assert_eq!(machine.qemu, ["-numa", "node,nodeid=0"]);
        assert_eq!(machine.timeout, Duration::from_secs(9));
        assert!(parse("nonsense").is_err());
    }
}
