// SPDX-License-Identifier: GPL-2.0
//! Rust source as tokens, without its test modules. syn reads it.

use anyhow::{Context, Result};
use proc_macro2::{Delimiter, Ident, Spacing, TokenStream, TokenTree};
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::{Attribute, Item};

/// A word, a literal, `::`, or any other single character.
pub struct Token {
    pub text: String,
    /// Line and column, from 1 on.
    pub at: (usize, usize),
}

/// The items of a file, without its test modules.
///
/// # Errors
///
/// The text is not Rust.
pub fn items(text: &str) -> Result<Vec<Item>> {
    let file = syn::parse_file(text).context("syn cannot read the file")?;
    Ok(file
        .items
        .into_iter()
        .filter(|i| !is_test_module(i))
        .collect())
}

/// Whether an item is a module with an attribute `#[cfg(...)]` or `#[kunit_tests(...)]`.
fn is_test_module(item: &Item) -> bool {
    let is_for_tests = |attribute: &Attribute| {
        let path = attribute.path();
        path.is_ident("cfg") || path.is_ident("kunit_tests")
    };
    matches!(item, Item::Mod(module) if module.attrs.iter().any(is_for_tests))
}

/// All tokens in order, those of groups and macros too.
pub fn tokens(code: &impl ToTokens) -> Vec<Token> {
    let mut found = Vec::new();
    flatten(code.to_token_stream(), &mut found);
    found
}

/// The name of an identifier, without `r#`.
pub fn name(ident: &Ident) -> String {
    ident.unraw().to_string()
}

fn flatten(stream: TokenStream, found: &mut Vec<Token>) {
    let mut trees = stream.into_iter().peekable();
    while let Some(tree) = trees.next() {
        let start = tree.span().start();
        let mut push = |text: String| {
            found.push(Token {
                text,
                at: (start.line, start.column + 1),
            });
        };
        match tree {
            TokenTree::Ident(ident) => push(name(&ident)),
            TokenTree::Literal(literal) => push(literal.to_string()),
            TokenTree::Punct(punct) => {
                let is_colon = |p: &proc_macro2::Punct| p.as_char() == ':';
                let second = |t: &TokenTree| matches!(t, TokenTree::Punct(p) if is_colon(p));
                let joint = is_colon(&punct) && punct.spacing() == Spacing::Joint;
                if joint && trees.next_if(second).is_some() {
                    push("::".to_owned());
                } else {
                    push(punct.to_string());
                }
            }
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                push(open.to_owned());
                flatten(group.stream(), found);
                let end = group.span_close().start();
                found.push(Token {
                    text: close.to_owned(),
                    at: (end.line, end.column + 1),
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        let items = items(text).unwrap();
        let tokens = items.iter().flat_map(tokens);
        tokens.map(|token| token.text).collect()
    }

    #[test]
    fn text_is_no_code() {
        let code = "fn f() { /* /* a */ b */ g(\"c::d\", 'e', r##\"a\"# b\"##) } // h";
        let expected = [
            "fn",
            "f",
            "(",
            ")",
            "{",
            "g",
            "(",
            "\"c::d\"",
            ",",
            "'e'",
            ",",
            "r##\"a\"# b\"##",
            ")",
            "}",
        ];
        assert_eq!(words(code), expected);
    }

    #[test]
    fn tokens_have_their_places() {
        let found = items("use a::b;\n\u{e4}!(r#mod::c, x : : y);").unwrap();
        let found: Vec<Token> = found.iter().flat_map(tokens).collect();
        let at = |text: &str| found.iter().find(|t| t.text == text).unwrap().at;
        assert_eq!(at("b"), (1, 8));
        assert_eq!(at("mod"), (2, 4));
        assert_eq!(at("c"), (2, 11));
        assert_eq!(found.iter().filter(|t| t.text == "::").count(), 2);
        assert_eq!(found.iter().filter(|t| t.text == ":").count(), 2);
    }

    #[test]
    fn test_modules_go() {
        let left = words("fn f() {}\n#[cfg(X)]\n#[kunit_tests(s)]\nmod t { fn g() {} }\nfn h() {}");
        assert!(left.contains(&"f".to_owned()) && left.contains(&"h".to_owned()));
        assert!(!left.contains(&"g".to_owned()));
        assert!(words("#[cfg(x)]\nfn f() { c() }").contains(&"c".to_owned()));
    }

    #[test]
    fn what_is_not_rust_is_an_error() {
        assert!(items("fn f( {").is_err());
    }
}
