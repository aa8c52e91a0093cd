// SPDX-License-Identifier: GPL-2.0
//! Applies the kernel's clippy rules to our module without building a kernel: Kbuild recorded the
//! rustc command, and clippy-driver takes the same arguments.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result};

use crate::cache;
use crate::in_tree::DIRECTORY;
use crate::kernel::{in_tree, Kernel, TREE};
use crate::report::TestResult;
use crate::spec::{Impl, Spec, SERIES};

const NAME: &str = "clippy on the module";

pub fn module(repo: &Path) -> Result<TestResult> {
    let spec = Spec::new(SERIES[0], Impl::Rust);
    let Some((root, dir)) = Kernel::existing(repo, &spec)? else {
        return Ok(TestResult::skipped(
            NAME,
            "the Rust kernel is not built (make kernel)",
        ));
    };
    let tree = dir.join("linux");
    let Some(recorded) = recorded(&tree)? else {
        return Ok(TestResult::skipped(
            NAME,
            "the Rust kernel's build did not get as far as the module",
        ));
    };
    // The bindings to C are those of the last build.
    let built_from = cache::read_text(&tree.join(DIRECTORY).join("src/glue.h"))?;
    if built_from != cache::read_text(&repo.join("src/glue.h"))? {
        return Ok(TestResult::skipped(
            NAME,
            "the Rust kernel was built from another glue.h (make kernel)",
        ));
    }
    // Put the sources of this checkout where those of the last build are.
    let mut command = in_tree(&root, &tree, &recorded)
        .bind(
            &repo.join("src"),
            Path::new(TREE).join(DIRECTORY).join("src"),
        )
        .env("CLIPPY_CONF_DIR", TREE)
        .env("RUSTC_BOOTSTRAP", "1")
        .build()?;
    let out = command
        .stdin(Stdio::null())
        .output()
        .context("cannot run clippy-driver")?;
    if out.status.success() {
        return Ok(TestResult::passed(NAME));
    }
    Ok(TestResult::failed(
        NAME,
        &String::from_utf8_lossy(&[out.stdout, out.stderr].concat()),
    ))
}

/// The recorded rustc command as a script that runs clippy.
fn recorded(tree: &Path) -> Result<Option<String>> {
    let path: PathBuf = tree.join(DIRECTORY).join("src/.dax.o.cmd");
    if !path.exists() {
        return Ok(None);
    }
    Ok(script(&cache::read_text(&path)?))
}

fn script(text: &str) -> Option<String> {
    let line = text.lines().find(|l| l.starts_with("savedcmd_"))?;
    let command = line.split_once(" := ")?.1;
    // After rustc the command runs objtool, on an object that clippy does not make.
    let command = command.split(" ; ").next()?;
    let words: Vec<&str> = command.split(' ').collect();
    let rustc = words
        .iter()
        .position(|w| w.rsplit('/').next() == Some("rustc"))?;
    let words = words.iter().enumerate().map(|(at, word)| match *word {
        _ if at == rustc => "clippy-driver".to_owned(),
        // Not /dev/null: rustc renames its output, and would replace the device node.
        w if w.starts_with("--emit=") => "--emit=metadata=/tmp/device_dax.rmeta".to_owned(),
        w => w.to_owned(),
    });
    Some(format!(
        "{} -Dwarnings",
        words.collect::<Vec<_>>().join(" ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rustc_becomes_clippy() {
        let text = "savedcmd_drivers/dax/rust/src/dax.o := OBJTREE=/usr/src/linux RUST_MODFILE=x rustc --edition=2021 \
            -Dunsafe_op --emit=dep-info=a,obj=b.o drivers/dax/rust/src/dax.rs ; ./tools/objtool/objtool b.o\n\nsource_x := y\n";
        assert_eq!(
            script(text).unwrap(),
            "OBJTREE=/usr/src/linux RUST_MODFILE=x clippy-driver --edition=2021 -Dunsafe_op \
             --emit=metadata=/tmp/device_dax.rmeta drivers/dax/rust/src/dax.rs -Dwarnings"
        );
    }
}
