//! The digest of a function's code.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use quote::ToTokens;
use syn::ItemFn;

/// BLAKE3 of the tokens of signature and body, each followed by a NUL byte: comments, white space and attributes in
/// front of the function make no difference.
pub(crate) fn digest(function: &ItemFn) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    add(&mut hasher, function.sig.to_token_stream());
    add(&mut hasher, function.block.to_token_stream());
    *hasher.finalize().as_bytes()
}

fn add(hasher: &mut blake3::Hasher, tokens: TokenStream) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                text(hasher, open);
                add(hasher, group.stream());
                text(hasher, close);
            }
            token => text(hasher, &token.to_string()),
        }
    }
}

fn text(hasher: &mut blake3::Hasher, text: &str) {
    hasher.update(text.as_bytes()).update(&[0]);
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::*;

    #[test]
    fn only_what_can_change_a_result_changes_the_digest() {
        let plain: ItemFn = syn::parse_str("fn f(x: i64) -> i64 { x + 1 }").unwrap();
        let spaced: ItemFn = syn::parse_str("/// Adds.\n#[inline] fn f(x: i64) -> i64 {\n  // one\n  x+1 }").unwrap();
        let other: ItemFn = parse_quote!(
            fn f(x: i64) -> i64 {
                x + 2
            }
        );
        assert_eq!(digest(&plain), digest(&spaced));
        assert_ne!(digest(&plain), digest(&other));
    }
}
