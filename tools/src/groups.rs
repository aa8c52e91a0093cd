// SPDX-License-Identifier: GPL-2.0
//! The groups of guest tests, as `dax-guest list` prints them. Each group has a guest of its own,
//! with the settings that it asks for.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{bail, Context, Result};
pub use dax_protocol::Group;

use crate::exec;
use crate::settings::{words, Machine};

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

/// The settings of a group's guest.
pub fn machine(group: &Group) -> Result<Machine> {
    Ok(Machine {
        mem: group.mem.clone(),
        cpus: group.cpus,
        append: group.append.clone(),
        qemu: words(&group.qemu)?,
        timeout: Duration::from_secs(group.timeout),
        ..Machine::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use dax_protocol::Impl;

    #[test]
    fn settings_of_a_group() {
        let group = Group {
            group: "numa".to_owned(),
            append: String::new(),
            mem: "8G".to_owned(),
            cpus: 4,
            qemu: "-numa 'node,nodeid=0'".to_owned(),
            implementations: vec![Impl::Rust],
            timeout: 9,
            consumer: None,
        };
        let groups = parse(&format!("{group}\n\n")).unwrap();
        assert_eq!(groups.len(), 1);
        let machine = machine(&groups[0]).unwrap();
        assert_eq!((machine.mem.as_str(), machine.cpus), ("8G", 4));
        assert_eq!(machine.append, "");
        assert_eq!(machine.qemu, ["-numa", "node,nodeid=0"]);
        assert_eq!(machine.timeout, Duration::from_secs(9));
        assert!(parse("nonsense").is_err());
    }
}
