// SPDX-License-Identifier: GPL-2.0
//! Runs the kernel's checkpatch.pl on our C and Kconfig files and on our patches.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result};

use crate::cache;
use crate::cargo::REPO;
use crate::kernel::in_tree;
use crate::report::TestResult;
use crate::root::Root;

const NAME: &str = "checkpatch";

/// Complaints of checkpatch that do not apply here, and why.
const IGNORED: [(&str, &str); 4] = [
    (
        "AVOID_EXTERNS",
        "glue.c declares what the kernel exports without a header",
    ),
    (
        "EXPORT_SYMBOL",
        "glue.c exports functions that are in Rust, where the macro is not",
    ),
    (
        "INCLUDE_LINUX",
        "glue.c asks for what x86 alone has; linux/cpufeature.h is about matching drivers to CPUs",
    ),
    (
        "EMBEDDED_FILENAME",
        "a comment in Kbuild is about Kbuild, not a file's name in its head",
    ),
];

/// Checks each file by itself; checkpatch prints nothing about a correct file. A patch is read from
/// stdin, because checkpatch takes a file that git tracks for a source file. Patches here are not
/// signed off: whoever commits a patch to a kernel tree signs it off.
const SCRIPT: &str = r#"
check() {
	perl scripts/checkpatch.pl --terse --show-types --no-summary --color=never \
		--ignore="$ignored" "$@"
}
ignored=$1 repo=$2
shift 2
for file; do
	case $file in
	*.patch) check --no-signoff - <"$repo/$file" | sed "s|^-:|$file:|" ;;
	*) check --file "$repo/$file" | sed "s|^$repo/||" ;;
	esac || true
done
"#;

pub fn result(repo: &Path) -> Result<TestResult> {
    let root = Root::locate(repo)?;
    let tree = tree(&cache::dir().join("kernel")).filter(|_| root.path.exists());
    let Some(tree) = tree else {
        return Ok(TestResult::skipped(
            NAME,
            "no kernel is in the cache, whose tree has it (make kernel)",
        ));
    };
    let ignored = IGNORED.map(|(kind, _)| kind).join(",");
    let mut command = in_tree(&root, &tree, SCRIPT)
        .args(["checkpatch", &ignored, REPO])
        .args(files(repo)?)
        .bind(repo, REPO)
        .build()?;
    let out = command.stdin(Stdio::null()).output();
    let out = out.context("cannot run checkpatch.pl")?;
    Ok(judge(
        out.status.success(),
        &[out.stdout, out.stderr].concat(),
    ))
}

/// The tree of the newest kernel; any tree would do.
fn tree(kernels: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(kernels).ok()?;
    let trees = entries.flatten().map(|entry| entry.path().join("linux"));
    trees
        .filter(|tree| tree.join("scripts/checkpatch.pl").exists())
        .max()
}

fn judge(success: bool, output: &[u8]) -> TestResult {
    if success && output.is_empty() {
        TestResult::passed(NAME)
    } else {
        TestResult::failed(NAME, &String::from_utf8_lossy(output))
    }
}

/// Relative to the repository.
fn files(repo: &Path) -> Result<Vec<PathBuf>> {
    let mut found = vec![
        PathBuf::from("Kconfig"),
        "Kbuild".into(),
        "src/Kbuild".into(),
    ];
    for (directory, extensions) in [("src", &["c", "h"][..]), ("patches", &["patch"])] {
        let entries = std::fs::read_dir(repo.join(directory));
        for entry in entries.with_context(|| format!("cannot list {directory}"))? {
            let name = PathBuf::from(entry.context("cannot list a directory")?.file_name());
            let extension = name.extension().unwrap_or_default();
            if extensions.iter().any(|e| extension == *e) && !is_generated(&name) {
                found.push(Path::new(directory).join(name));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Whether Kbuild makes files of that name.
fn is_generated(name: &Path) -> bool {
    name.to_string_lossy().ends_with(".mod.c")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Verdict;

    #[test]
    fn all_files_are_found() {
        let dir = tempfile::tempdir().unwrap();
        for name in [
            "src/glue.c",
            "src/glue.h",
            "src/dax.rs",
            "src/x.mod.c",
            "patches/7.3.patch",
        ] {
            let path = dir.path().join(name);
            cache::mkdir(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let expected = [
            "Kbuild",
            "Kconfig",
            "patches/7.3.patch",
            "src/Kbuild",
            "src/glue.c",
            "src/glue.h",
        ];
        assert_eq!(files(dir.path()).unwrap(), expected.map(PathBuf::from));
    }

    #[test]
    fn any_tree_will_do() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(tree(&dir.path().join("none")), None);
        for name in ["7.2-c-1", "7.3-c-1"] {
            cache::mkdir(&dir.path().join(name).join("linux/scripts")).unwrap();
        }
        assert_eq!(tree(dir.path()), None);
        let old = dir.path().join("7.2-c-1/linux");
        std::fs::write(old.join("scripts/checkpatch.pl"), "").unwrap();
        assert_eq!(tree(dir.path()), Some(old));
    }

    #[test]
    fn what_it_prints_is_a_failure() {
        assert_eq!(judge(true, b"").verdict, Verdict::Passed);
        assert_eq!(
            judge(true, b"Kconfig:1: WARNING: x\n").verdict,
            Verdict::Failed
        );
        assert_eq!(judge(false, b"").verdict, Verdict::Failed);
    }
}
