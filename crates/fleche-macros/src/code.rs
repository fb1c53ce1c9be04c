//! The digests of a function's code.

use proc_macro2::{Delimiter, Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{Attribute, Ident, ItemFn, visit_mut::VisitMut};

/// The digests of a function's code.
pub(crate) struct Code {
    /// The digest in records, which shows edited code.
    pub(crate) digest: [u8; 32],
    /// The digest in keys with `hash_code`, and in records of earlier versions.
    pub(crate) with_name: [u8; 32],
}

impl Code {
    pub(crate) fn new(function: &ItemFn) -> Self {
        Self { digest: digest(function), with_name: with_name(function) }
    }
}

/// BLAKE3 of the tokens of signature and body, each followed by a NUL byte: comments, white space and attributes in
/// front of the function make no difference. Part of keys, so it must stay as it is.
fn with_name(function: &ItemFn) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    add_function(&mut hasher, function);
    *hasher.finalize().as_bytes()
}

/// Like [`with_name`], in key derivation mode, without the function's name and doc comments.
fn digest(function: &ItemFn) -> [u8; 32] {
    let mut function = function.clone();
    // Only in the signature: in the body, the name may mean something else, such as a method.
    function.sig.ident = Ident::new("f", Span::call_site());
    WithoutDocs.visit_item_fn_mut(&mut function);
    let mut hasher = blake3::Hasher::new_derive_key("fleche 2026 code without its name v1");
    add_function(&mut hasher, &function);
    *hasher.finalize().as_bytes()
}

/// Removes doc comments; not from macro calls, which may look at them.
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
    fn only_what_can_change_a_result_changes_the_digest() {
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
    fn the_digest_leaves_out_the_name_and_doc_comments() {
        let parsed = |text| syn::parse_str::<ItemFn>(text).unwrap();
        let plain = parsed("fn f(x: i64) -> i64 { const ONE: i64 = 1; x + ONE }");
        let renamed = parsed("fn g(x: i64) -> i64 { const ONE: i64 = 1; x + ONE }");
        let documented = parsed("fn f(x: i64) -> i64 { /// One.\n const ONE: i64 = 1; x + ONE }");
        assert_eq!(digest(&plain), digest(&renamed));
        assert_ne!(with_name(&plain), with_name(&renamed));
        assert_eq!(digest(&plain), digest(&documented));
    }

    #[test]
    fn a_name_or_a_doc_comment_that_can_change_a_result_changes_the_digest() {
        let parsed = |text| syn::parse_str::<ItemFn>(text).unwrap();
        // The method, too, goes by another name.
        let sum = parsed("fn sum(x: &[f64]) -> f64 { x.iter().sum() }");
        let product = parsed("fn product(x: &[f64]) -> f64 { x.iter().product() }");
        assert_ne!(digest(&sum), digest(&product));
        let one = parsed("fn f() -> &'static str { stringify!(#[doc = \"a\"]) }");
        let other = parsed("fn f() -> &'static str { stringify!(#[doc = \"b\"]) }");
        assert_ne!(digest(&one), digest(&other));
    }
}
