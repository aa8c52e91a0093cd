// SPDX-License-Identifier: GPL-2.0

//! The attributes that the driver uses, with as much meaning as the model needs.

use proc_macro::{Delimiter, Group, TokenStream, TokenTree};

/// `kernel::macros::export`: a function that C calls. Here it is a function.
#[proc_macro_attribute]
pub fn export(_args: TokenStream, item: TokenStream) -> TokenStream {
    item
}

/// `pin_init::pin_data`: takes the `#[pin]` off the fields. With `PinnedDrop` the
/// type gets a destructor that calls what [`macro@pinned_drop`] is on.
#[proc_macro_attribute]
pub fn pin_data(args: TokenStream, item: TokenStream) -> TokenStream {
    let pinned_drop = args.to_string().contains("PinnedDrop");
    let name = pinned_drop.then(|| name_of(item.clone()));
    let mut item = without_pin(item);
    if let Some(name) = name {
        let drop: TokenStream = format!(
            "impl Drop for {name} {{
                fn drop(&mut self) {{
                    // SAFETY: Values of the type are never moved before they are dropped.
                    let this = unsafe {{ ::core::pin::Pin::new_unchecked(self) }};
                    ::kernel::init::PinnedDrop::drop(this);
                }}
            }}"
        )
        .parse()
        .expect("this is Rust");
        item.extend(drop);
    }
    item
}

/// `pin_init::pinned_drop`: the destructor of a type with `pin_data(PinnedDrop)`.
#[proc_macro_attribute]
pub fn pinned_drop(_args: TokenStream, item: TokenStream) -> TokenStream {
    // `impl PinnedDrop for ..`: the trait is named in full.
    let mut out = TokenStream::new();
    for tree in item {
        match &tree {
            TokenTree::Ident(word) if word.to_string() == "PinnedDrop" => {
                let path: TokenStream = "::kernel::init::PinnedDrop".parse().expect("a path");
                out.extend(path);
            }
            _ => out.extend([tree]),
        }
    }
    out
}

/// The word after `struct`.
fn name_of(item: TokenStream) -> String {
    let mut trees = item.into_iter();
    while let Some(tree) = trees.next() {
        if tree.to_string() == "struct" {
            return trees.next().expect("a struct has a name").to_string();
        }
    }
    panic!("pin_data is for a struct");
}

fn without_pin(item: TokenStream) -> TokenStream {
    let mut out = Vec::new();
    let mut trees = item.into_iter().peekable();
    while let Some(tree) = trees.next() {
        match tree {
            TokenTree::Punct(ref punct) if punct.as_char() == '#' => {
                let is_pin = trees
                    .peek()
                    .is_some_and(|next| next.to_string().trim() == "[pin]");
                if is_pin {
                    trees.next();
                } else {
                    out.push(tree);
                }
            }
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                let mut inner = Group::new(Delimiter::Brace, without_pin(group.stream()));
                inner.set_span(group.span());
                out.push(TokenTree::Group(inner));
            }
            other => out.push(other),
        }
    }
    out.into_iter().collect()
}
