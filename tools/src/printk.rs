// SPDX-License-Identifier: GPL-2.0
//! The lines of a kernel log.

/// A line without `[   12.345678]` and, with PRINTK_CALLER, `[    T1]`, and without the space that
/// follows these. The indentation stays.
pub fn without_stamp(line: &str) -> &str {
    let rest = after_stamp(line).unwrap_or(line);
    after_stamp(rest).unwrap_or(rest)
}

/// The text after `[...]`, if a time, a thread or a CPU is in it.
fn after_stamp(line: &str) -> Option<&str> {
    let (inside, rest) = line.strip_prefix('[')?.split_once(']')?;
    let number = inside.trim_start().trim_start_matches(['T', 'C']);
    number
        .starts_with(|c: char| c.is_ascii_digit())
        .then(|| rest.strip_prefix(' ').unwrap_or(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_go_and_indentation_stays() {
        for (line, rest) in [
            ("[    1.234567] ok 1 a", "ok 1 a"),
            ("[    1.234567]     ok 1 a", "    ok 1 a"),
            ("[    1.234567][    T1]     ok 1 a", "    ok 1 a"),
            ("[  121.234567][   C12] BUG: x", "BUG: x"),
            ("[    1.234567]", ""),
            ("[    1.234567] [Firmware Bug]: x", "[Firmware Bug]: x"),
            ("    ok 1 a", "    ok 1 a"),
            ("[Test] a", "[Test] a"),
            ("[    T1] a", "a"),
            ("[1", "[1"),
            ("", ""),
        ] {
            assert_eq!(without_stamp(line), rest, "{line}");
        }
    }
}
