//! The `#[fleche]` attribute, which `fleche-core` re-exports and documents.

mod enclosing;
mod expand;
mod function;
mod options;
mod parameter;
mod token_digest;

use proc_macro2::TokenStream;
use quote::quote;
use syn::ItemFn;

/// Memoizes a function; see `fleche_core::fleche`.
#[proc_macro_attribute]
pub fn fleche(options: proc_macro::TokenStream, item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    attribute(options.into(), &item.into()).into()
}

/// Expands the attribute. On a mistake, emits the error and the function unchanged, so that its callers still compile.
fn attribute(options: TokenStream, item: &TokenStream) -> TokenStream {
    let Ok(original) = syn::parse2::<ItemFn>(item.clone()) else {
        let error = syn::Error::new_spanned(item, "`#[fleche]` can only be applied to a function").into_compile_error();
        return quote!(#error #item);
    };
    if enclosing::is_in_impl() {
        return refused(&syn::Error::new(original.sig.ident.span(), parameter::NO_METHODS), original);
    }
    let expanded = syn::parse2(options)
        .and_then(|options| function::Function::new(options, &original))
        .map(|function| expand::expand(&function));
    expanded.unwrap_or_else(|error| refused(&error, original))
}

/// Emits the error and the function unchanged, but for the parameter attributes of `#[fleche]`.
fn refused(error: &syn::Error, mut original: ItemFn) -> TokenStream {
    let error = error.to_compile_error();
    original.sig.inputs.iter_mut().for_each(parameter::strip);
    quote!(#error #original)
}
