// SPDX-License-Identifier: GPL-2.0
//! Tables that commands write into a document, between two markers:
//! `<!-- NAME: by COMMAND -->` and `<!-- end of NAME -->`.

use std::path::Path;

use anyhow::{Context, Result};

use crate::cache;

/// Rows of cells under a heading, in Markdown.
#[derive(Debug, Default)]
pub struct Table {
    pub head: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

impl Table {
    pub fn markdown(&self) -> String {
        let line = |cells: &[String]| {
            let cells: Vec<String> = cells.iter().map(|c| c.replace('|', "\\|")).collect();
            format!("| {} |\n", cells.join(" | "))
        };
        let mut text = line(&self.head);
        text += &format!("|{}\n", "---|".repeat(self.head.len()));
        text.extend(self.rows.iter().map(|row| line(row)));
        text
    }
}

/// Replaces the text between the markers of `name` by `content`.
pub fn replace(document: &Path, name: &str, content: &str) -> Result<()> {
    let text = cache::read_text(document)?;
    let new = replaced(&text, name, content).with_context(|| {
        format!(
            "{} has no `<!-- {name}: ... -->` and `<!-- end of {name} -->`",
            document.display()
        )
    })?;
    cache::write_whole(document, new.as_bytes())
}

/// The text between the markers of `name`; none if there are no markers.
pub fn current(document: &Path, name: &str) -> Result<String> {
    let text = cache::read_text(document)?;
    let place = place(&text, name).map(|(begin, end)| text[begin..end].to_owned());
    Ok(place.unwrap_or_default())
}

fn replaced(text: &str, name: &str, content: &str) -> Option<String> {
    let (begin, end) = place(text, name)?;
    Some(format!("{}\n{content}\n{}", &text[..begin], &text[end..]))
}

/// The begin and the end of the text between the markers.
fn place(text: &str, name: &str) -> Option<(usize, usize)> {
    let begin = text.find(&format!("<!-- {name}: "))?;
    let begin = begin + text[begin..].find('\n')? + 1;
    let end = begin + text[begin..].find(&format!("<!-- end of {name} -->"))?;
    Some((begin, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_named_part_changes() {
        let table = Table {
            head: vec!["what".to_owned(), "C".to_owned()],
            rows: vec![vec!["a|b".to_owned(), "pass".to_owned()]],
        };
        let text = "x\n<!-- t: by make t -->\nold\n<!-- end of t -->\ny\n";
        let new = replaced(text, "t", &table.markdown()).unwrap();
        assert_eq!(
            new,
            "x\n<!-- t: by make t -->\n\n| what | C |\n|---|---|\n| a\\|b | pass |\n\n<!-- end of t -->\ny\n"
        );
        assert_eq!(replaced(&new, "t", &table.markdown()).unwrap(), new);
        assert!(replaced(text, "u", "").is_none());
    }

    #[test]
    fn every_page_of_results_has_its_markers() {
        let pages = [
            (crate::architectures::DOCUMENT, "7.3-arm64"),
            (crate::architectures::DOCUMENT, "7.3-arm64-16k"),
            (crate::architectures::DOCUMENT, "7.3-arm64-64k"),
            (crate::architectures::DOCUMENT, "7.3-riscv"),
            (crate::bench::DOCUMENT, "figures"),
            (crate::bench::DOCUMENT, "arm64"),
            (crate::clients::DOCUMENT, "clients"),
            (crate::colours::DOCUMENT, "colours"),
            (crate::defects::DOCUMENT, "defects"),
            (crate::matrix::DOCUMENT, "consumers 7.3"),
            (crate::matrix::DOCUMENT, "consumers 7.2"),
            (crate::mutants::DOCUMENT, "mutants"),
            (crate::public::DOCUMENT, "public tests 7.3"),
            (crate::public::DOCUMENT, "public tests 7.2"),
            (crate::public::DOCUMENT, "public tests 7.3 arm64"),
        ];
        let repo = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for (page, name) in pages {
            let text = cache::read_text(&repo.join(page)).unwrap();
            assert!(replaced(&text, name, "").is_some(), "{name} in {page}");
        }
    }
}
