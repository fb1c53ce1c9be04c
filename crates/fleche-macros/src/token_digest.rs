//! Computes the digests of a function's code.

use proc_macro2::{Delimiter, Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{Attribute, Ident, ItemFn, visit_mut::VisitMut};

/// The digests of a function's code.
pub(crate) struct TokenDigest {
    /// The digest stored in records; it tells whether the code has changed since.
    pub(crate) digest: [u8; 32],
    /// The digest that is part of the key with `hash_code`, and that earlier versions of fleche stored in records.
    pub(crate) with_name: [u8; 32],
}

impl TokenDigest {
    pub(crate) fn new(function: &ItemFn) -> Self {
        Self { digest: digest(function), with_name: with_name(function) }
    }
}

/// Returns the BLAKE3 hash of the tokens of signature and body, each followed by a NUL byte.
///
/// Comments, white space and the function's attributes do not affect it. It is part of keys, so it must never change.
fn with_name(function: &ItemFn) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    add_function(&mut hasher, function);
    *hasher.finalize().as_bytes()
}

/// Returns the same hash as [`with_name`], in key derivation mode and without the function's name and doc comments.
fn digest(function: &ItemFn) -> [u8; 32] {
    let mut function = function.clone();
    // Only the signature is renamed: in the body, the same name may mean something else, such as a method.
    function.sig.ident = Ident::new("f", Span::call_site());
    WithoutDocs.visit_item_fn_mut(&mut function);
    let mut hasher = blake3::Hasher::new_derive_key("fleche 2026 code without its name v1");
    add_function(&mut hasher, &function);
    *hasher.finalize().as_bytes()
}

/// Removes doc comments, except in macro calls, whose expansion may depend on them.
struct WithoutDocs;

impl VisitMut for WithoutDocs {
    fn visit_attributes_mut(&mut self, attributes: &mut Vec<Attribute>) {
        attributes.retain(|attribute| !attribute.path().is_ident("doc"));
    }
}

fn add_function(hasher: &mut blake3::Hasher, function: &ItemFn) {
    add(hasher, function.sig.to_token_stream());
    add(hasher, function.block.to_token_stream());
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
    fn body_changes_digest_but_whitespace_comments_and_attributes_do_not() {
        let plain: ItemFn = syn::parse_str("fn f(x: i64) -> i64 { x + 1 }").unwrap();
        let spaced: ItemFn = syn::parse_str("/// Adds.\n#[inline] fn f(x: i64) -> i64 {\n  // one\n  x+1 }").unwrap();
        let other: ItemFn = parse_quote!(
            fn f(x: i64) -> i64 {
                x + 2
            }
        );
        assert_eq!(with_name(&plain), with_name(&spaced));
        assert_ne!(with_name(&plain), with_name(&other));
        assert_eq!(digest(&plain), digest(&spaced));
        assert_ne!(digest(&plain), digest(&other));
        assert_ne!(digest(&plain), with_name(&plain));
    }

    #[test]
    fn digest_ignores_name_and_doc_comments() {
        let parsed = |text| syn::parse_str::<ItemFn>(text).unwrap();
        let plain = parsed("fn f(x: i64) -> i64 { const ONE: i64 = 1; x + ONE }");
        let renamed = parsed("fn g(x: i64) -> i64 { const ONE: i64 = 1; x + ONE }");
        let documented = parsed("fn f(x: i64) -> i64 { /// One.\n const ONE: i64 = 1; x + ONE }");
        assert_eq!(digest(&plain), digest(&renamed));
        assert_ne!(with_name(&plain), with_name(&renamed));
        assert_eq!(digest(&plain), digest(&documented));
    }

    #[test]
    fn digest_covers_method_names_and_doc_comments_in_macro_calls() {
        let parsed = |text| syn::parse_str::<ItemFn>(text).unwrap();
        // The digests differ because the bodies call different methods.
        let sum = parsed("fn sum(x: &[f64]) -> f64 { x.iter().sum() }");
        let product = parsed("fn product(x: &[f64]) -> f64 { x.iter().product() }");
        assert_ne!(digest(&sum), digest(&product));
        let one = parsed("fn f() -> &'static str { stringify!(#[doc = \"a\"]) }");
        let other = parsed("fn f() -> &'static str { stringify!(#[doc = \"b\"]) }");
        assert_ne!(digest(&one), digest(&other));
    }
}
