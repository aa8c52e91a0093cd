// SPDX-License-Identifier: GPL-2.0
//! Rust source with comments, strings and characters blanked out, so that a
//! rule about code does not trip over text. Lines stay where they are.

/// Replaces all that is not code by spaces. Newlines stay.
pub fn only_code(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = at + text_length(&chars, at);
        if end == at {
            out.push(chars[at]);
            at += 1;
        } else {
            out.extend(
                chars[at..end]
                    .iter()
                    .map(|&c| if c == '\n' { '\n' } else { ' ' }),
            );
            at = end;
        }
    }
    out
}

/// The length of the comment, string or character that starts at `at`, or 0.
fn text_length(chars: &[char], at: usize) -> usize {
    let rest = &chars[at..];
    match rest {
        ['/', '/', ..] => rest.iter().position(|&c| c == '\n').unwrap_or(rest.len()),
        ['/', '*', ..] => block_comment(rest),
        ['"', ..] => string(rest),
        ['r', next, ..] if matches!(next, '"' | '#') && !is_name(chars, at) => raw_string(rest),
        ['b' | 'c', 'r', next, ..] if matches!(next, '"' | '#') && !is_name(chars, at) => {
            match raw_string(&rest[1..]) {
                0 => 0,
                length => length + 1,
            }
        }
        ['\'', '\\', ..] => {
            3 + rest[3..]
                .iter()
                .position(|&c| c == '\'')
                .map_or(0, |n| n + 1)
        }
        ['\'', _, '\'', ..] => 3,
        _ => 0,
    }
}

/// Whether the character at `at` is inside a name: the r of `for` begins no raw string.
fn is_name(chars: &[char], at: usize) -> bool {
    at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_')
}

fn block_comment(rest: &[char]) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        match rest[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn string(rest: &[char]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

fn raw_string(rest: &[char]) -> usize {
    let hashes = rest[1..].iter().take_while(|&&c| c == '#').count();
    if rest.get(1 + hashes) != Some(&'"') {
        return 0;
    }
    let body = 2 + hashes;
    let end = (body..rest.len()).find(|&at| {
        rest[at] == '"'
            && rest[at + 1..]
                .iter()
                .take(hashes)
                .filter(|&&c| c == '#')
                .count()
                == hashes
    });
    end.map_or(rest.len(), |at| at + 1 + hashes)
}

/// Blanks, in code, the modules under a `#[cfg(...)]` or `#[kunit_tests(...)]`.
pub fn without_test_modules(code: &str) -> String {
    let mut out: Vec<char> = code.chars().collect();
    let mut at = 0;
    while at < out.len() {
        if starts(&out, at, "#[cfg(") || starts(&out, at, "#[kunit_tests(") {
            if let Some(end) = module_end(&out, at) {
                out[at..end]
                    .iter_mut()
                    .filter(|c| **c != '\n')
                    .for_each(|c| *c = ' ');
                at = end;
                continue;
            }
        }
        at += 1;
    }
    out.into_iter().collect()
}

fn starts(chars: &[char], at: usize, what: &str) -> bool {
    what.chars()
        .enumerate()
        .all(|(n, c)| chars.get(at + n) == Some(&c))
}

/// The end of the module that follows the attributes at `at`, if one does.
fn module_end(chars: &[char], mut at: usize) -> Option<usize> {
    loop {
        at += chars[at..].iter().take_while(|c| c.is_whitespace()).count();
        match chars.get(at)? {
            '#' => {
                at = matching(
                    chars,
                    at + chars[at..].iter().position(|&c| c == '[')?,
                    '[',
                    ']',
                )?
            }
            _ => break,
        }
    }
    let open = at + chars[at..].iter().position(|&c| c == '{' || c == ';')?;
    let head: String = chars[at..open].iter().collect();
    let module = head.split_whitespace().any(|word| word == "mod");
    if !module || chars[open] == ';' {
        return None;
    }
    matching(chars, open, '{', '}')
}

fn matching(chars: &[char], at: usize, open: char, close: char) -> Option<usize> {
    let mut depth = 0;
    for (n, &c) in chars[at..].iter().enumerate() {
        depth += i32::from(c == open) - i32::from(c == close);
        if depth == 0 {
            return Some(at + n + 1);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_blanked() {
        for text in [
            "// unsafe",
            "/* /* unsafe */ unsafe */",
            "\"unsafe\"",
            r#""\" unsafe""#,
            "r\"unsafe\"",
            "r##\"a\"# unsafe\"##",
            "br\"unsafe\"",
            "c\"unsafe\"",
            "b\"unsafe\"",
        ] {
            let code = only_code(&format!("a {text}\nb"));
            assert!(
                !code.contains("unsafe") && code.ends_with("\nb"),
                "{text}: {code:?}"
            );
        }
    }

    #[test]
    fn code_stays() {
        let text = "fn f<'a>(x: &'a str) -> char { unsafe { g('\"', '\\'', b'x', '\\u{1}') } } for r in r#mod {}";
        let code = only_code(text);
        assert!(code.contains("unsafe {") && code.contains("&'a str") && code.contains("r#mod"));
        assert!(!code.contains('"'));
        assert_eq!(code.chars().count(), text.chars().count());
    }

    #[test]
    fn test_modules_go() {
        let code = "fn f() { a.unwrap() }\n#[cfg(CONFIG_X)]\n#[kunit_tests(s)]\nmod t {\n fn g() { b.unwrap() }\n}\nfn h() {}\n";
        let left = without_test_modules(code);
        assert!(left.contains("a.unwrap") && !left.contains("b.unwrap") && left.contains("fn h"));
        let code = "#[cfg(x)]\nfn f() { c.unwrap() }";
        assert_eq!(without_test_modules(code), code);
    }
}
