// SPDX-License-Identifier: GPL-2.0
//! `generate`: man pages and completions, from the definitions of the command line.

use std::path::Path;

use clap::CommandFactory;
use clap_complete::{generate_to, Shell};

use crate::cli::{Cli, Generated};
use crate::error::{Error, Result};

/// Writes the files into `dir`.
pub fn generate(what: Generated, dir: &Path) -> Result<()> {
    let mut command = Cli::command();
    let done = match what {
        Generated::Man => clap_mangen::generate_to(command, dir),
        Generated::Completions => [Shell::Bash, Shell::Zsh, Shell::Fish]
            .into_iter()
            .try_for_each(|shell| generate_to(shell, &mut command, "daxlayout", dir).map(|_| ())),
    };
    done.map_err(|source| Error::Output {
        what: format!("into {}", dir.display()),
        source,
    })
}
