// SPDX-License-Identifier: GPL-2.0
//! The variables of make that each command uses.

use crate::arch::Arch;

/// A command of `make`, and the groups of variables that it uses.
pub struct Uses {
    pub command: &'static str,
    groups: &'static [&'static [&'static str]],
}

/// The kernel of a command that fixes the implementation itself.
const KERNEL: &[&str] = &["BUILTIN", "DEBUG", "KERNEL", "TOOLCHAIN"];
const IMPL: &[&str] = &["IMPL"];
/// The architecture. Commands that do not have it are for x86.
const ARCH: &[&str] = &["ARCH", "PAGES"];
/// Commands that know x86 and arm64 alone.
const NOT_FOR_RISCV: [&str; 4] = ["bench", "compare", "deb", "public"];
/// The guest, except its kernel and its command.
const MACHINE: &[&str] = &["APPEND", "CPUS", "ICOUNT", "MEM", "QEMU", "TIMEOUT"];
const ONLY: &[&str] = &["ONLY"];
const SEED: &[&str] = &["SEED"];
const SECONDS: &[&str] = &["SECONDS"];
/// The depth to which the host tests search.
const DEPTH: &[&str] = &["DAX_DEPTH"];
const SPLAT: &[&str] = &["ALLOW_SPLAT"];

/// All commands that use this tool, in the order of their names.
pub const COMMANDS: [Uses; 21] = [
    uses("architectures", &[KERNEL, IMPL, ARCH, ONLY]),
    uses("bench", &[ONLY, &["ARCH", "KERNEL", "RANGES"]]),
    uses("check", &[DEPTH]),
    uses("clients", &[KERNEL, IMPL, ONLY]),
    uses("colours", &[KERNEL, IMPL, SEED]),
    uses(
        "compare",
        &[
            KERNEL,
            ARCH,
            ONLY,
            SEED,
            &["FIRST", "REPLAY", "SEQUENCES", "TRANSCRIPTS"],
        ],
    ),
    uses(
        "deb",
        &[ARCH, ONLY, &["CONFIG", "KERNEL", "REVISION", "TRIM"]],
    ),
    uses("defects", &[KERNEL, ONLY]),
    uses("floors", &[]),
    uses(
        "guest",
        &[
            KERNEL,
            IMPL,
            ARCH,
            MACHINE,
            SPLAT,
            &["CMD", "FILES", "KUNIT"],
        ],
    ),
    uses("kernel", &[KERNEL, IMPL, ARCH]),
    uses("matrix", &[KERNEL, IMPL, ONLY]),
    uses("model", &[SECONDS, SEED, &["ARCH"]]),
    uses("module", &[&["KDIR", "LLVM"]]),
    uses("mutants", &[ONLY, DEPTH]),
    uses("public", &[IMPL, ONLY, &["ARCH", "KERNEL"]]),
    uses("run", &[KERNEL, IMPL, ARCH, MACHINE, SPLAT]),
    uses("shell", &[KERNEL, IMPL, ARCH, MACHINE, SPLAT, &["FILES"]]),
    uses("stress", &[KERNEL, IMPL, MACHINE, SPLAT, SECONDS, SEED]),
    uses("system", &[MACHINE, &["CONFIG", "KERNEL"]]),
    uses("test", &[KERNEL, IMPL, ARCH, ONLY, DEPTH, &["QUICK"]]),
];

const fn uses(command: &'static str, groups: &'static [&'static [&'static str]]) -> Uses {
    Uses { command, groups }
}

impl Uses {
    pub fn named(command: &str) -> Option<&'static Self> {
        COMMANDS.iter().find(|uses| uses.command == command)
    }

    /// The variables, sorted.
    pub fn variables(&self) -> Vec<&'static str> {
        let mut names = self.groups.concat();
        names.sort_unstable();
        names
    }

    /// Whether the command has an architecture to work on. x86 has all commands.
    pub fn knows(&self, arch: Arch) -> bool {
        match arch {
            Arch::X86 => true,
            Arch::Arm64 => self.has("ARCH"),
            Arch::Riscv => self.has("ARCH") && !NOT_FOR_RISCV.contains(&self.command),
        }
    }

    pub fn has(&self, variable: &str) -> bool {
        self.groups.iter().any(|group| group.contains(&variable))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::CommandFactory;
    use regex::Regex;

    use super::*;
    use crate::Args;

    /// The names of all commands.
    fn names() -> Vec<&'static str> {
        COMMANDS.iter().map(|uses| uses.command).collect()
    }

    #[test]
    fn the_list_has_the_commands_of_the_program_and_of_the_makefile() {
        let args = Args::command();
        let shown = args.get_subcommands().filter(|c| !c.is_hide_set());
        let mut shown: Vec<&str> = shown.map(clap::Command::get_name).collect();
        shown.sort_unstable();
        assert_eq!(names(), shown);

        let makefile = include_str!("../../Makefile");
        let line = makefile
            .lines()
            .find_map(|line| line.strip_prefix("COMMANDS := "));
        let mut targets: Vec<&str> = line.unwrap().split(' ').collect();
        targets.sort_unstable();
        assert_eq!(names(), targets);
    }

    #[test]
    fn each_variable_is_of_a_command_and_named_once() {
        let mut all = BTreeSet::new();
        for uses in COMMANDS {
            let variables = uses.variables();
            assert!(
                variables.windows(2).all(|pair| pair[0] != pair[1]),
                "{}",
                uses.command
            );
            all.extend(variables);
        }
        let known: BTreeSet<&str> = crate::settings::names().into_iter().collect();
        assert_eq!(all, known);
    }

    /// The variables in the text of each command, up to the general list of variables.
    #[test]
    fn help_names_each_command_and_only_variables_that_it_uses() {
        let help = include_str!("../help.txt");
        let (commands, _) = help.split_once("\n\n").unwrap();
        let variable = Regex::new(r"\b([A-Z][A-Z_]+)=").unwrap();
        // Such text is of another command.
        let quoted = Regex::new(r"`[^`]*`").unwrap();
        let mut named = BTreeSet::new();
        let mut uses = None;
        for line in commands.lines() {
            if let Some(rest) = line.strip_prefix("make ") {
                let command = rest.split(' ').next().unwrap();
                uses = Uses::named(command);
                assert!(uses.is_some() || command == "clean", "{line}");
                named.insert(command);
            }
            for found in variable.captures_iter(&quoted.replace_all(line, "")) {
                assert!(uses.unwrap().has(&found[1]), "{line}");
            }
        }
        named.remove("clean");
        assert_eq!(names(), named.into_iter().collect::<Vec<_>>());
    }

    /// The general list: an indented line begins with a variable, or goes on with the one above.
    #[test]
    fn help_lists_every_variable() {
        let help = include_str!("../help.txt");
        let (_, list) = help.split_once("\n\nVariables, ").unwrap();
        let (list, _) = list.split_once("\n\n").unwrap();
        let lines = list.lines().filter_map(|line| line.strip_prefix("  "));
        let lines = lines.filter(|line| !line.starts_with(' '));
        let words = lines.flat_map(|line| line.split([' ', ',']));
        let variable = Regex::new(r"^([A-Z][A-Z_]+)=").unwrap();
        let listed: BTreeSet<String> = words
            .filter_map(|word| Some(variable.captures(word)?[1].to_owned()))
            .collect();
        let known: BTreeSet<String> = crate::settings::names()
            .into_iter()
            .map(str::to_owned)
            .collect();
        assert_eq!(listed, known);
    }
}
