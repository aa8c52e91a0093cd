// SPDX-License-Identifier: GPL-2.0
//! Kernel configuration fragments: the options that they ask for, and whether a .config has them.
//! kconfig silently drops an option whose dependencies are not met.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{bail, Result};

use crate::cache;

/// Option to value; `n` stands for "is not set".
pub type Options = BTreeMap<String, String>;

pub fn parse(text: &str) -> Options {
    let mut options = Options::new();
    for line in text.lines().map(str::trim) {
        let unset = line
            .strip_prefix("# ")
            .and_then(|l| l.strip_suffix(" is not set"));
        if let Some(name) = unset.filter(|n| n.starts_with("CONFIG_")) {
            options.insert(name.to_owned(), "n".to_owned());
        } else if line.starts_with("CONFIG_") {
            if let Some((name, value)) = line.split_once('=') {
                options.insert(name.to_owned(), value.to_owned());
            }
        }
    }
    options
}

/// The options of `wanted` that `config` does not have like that, one line each.
pub fn differences(wanted: &Options, config: &Options) -> Vec<String> {
    let value = |name: &str| config.get(name).map_or("n", String::as_str);
    wanted
        .iter()
        .filter(|(name, want)| value(name) != want.as_str())
        .map(|(name, want)| format!("{name}: wanted {want}, got {}", value(name)))
        .collect()
}

/// Reads the fragments in order; a later one overrides an earlier one.
pub fn read(fragments: &[impl AsRef<Path>]) -> Result<Options> {
    let mut all = Options::new();
    for fragment in fragments {
        all.extend(parse(&cache::read_text(fragment.as_ref())?));
    }
    Ok(all)
}

pub fn verify(wanted: &Options, config: &Path) -> Result<()> {
    let wrong = differences(wanted, &parse(&cache::read_text(config)?));
    if !wrong.is_empty() {
        bail!(
            "the kernel's configuration does not take these options:\n  {}\n\
             their dependencies in Kconfig are not met; see {} and the fragments in tools/kernel/",
            wrong.join("\n  "),
            config.display()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_is_missing() {
        let wanted =
            parse("# comment\nCONFIG_A=y\nCONFIG_B=m\n# CONFIG_C is not set\nCONFIG_S=\"x=y\"\n");
        let config = parse("CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=y\nCONFIG_S=\"x=y\"\n");
        let wrong = differences(&wanted, &config);
        assert_eq!(
            wrong,
            ["CONFIG_B: wanted m, got n", "CONFIG_C: wanted n, got y"]
        );
        assert!(differences(&wanted, &wanted).is_empty());
    }
}
