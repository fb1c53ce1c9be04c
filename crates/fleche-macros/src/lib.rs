//! The `#[fleche]` attribute. Re-exported and documented by `fleche-core`.

mod code;
mod expand;
mod function;
mod options;
mod parameter;

use proc_macro2::TokenStream;
use quote::quote;
use syn::ItemFn;

/// Keeps the results of a function; see `fleche_core::fleche`.
#[proc_macro_attribute]
pub fn fleche(options: proc_macro::TokenStream, item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    attribute(options.into(), &item.into()).into()
}

/// The expansion; on a mistake the error beside the untouched function, so that its callers still compile.
fn attribute(options: TokenStream, item: &TokenStream) -> TokenStream {
    let Ok(original) = syn::parse2::<ItemFn>(item.clone()) else {
        let error = syn::Error::new_spanned(item, "`#[fleche]` goes on a function").into_compile_error();
        return quote!(#error #item);
    };
    let expanded = syn::parse2(options)
        .and_then(|options| function::Function::new(options, &original))
        .map(|function| expand::expand(&function));
    expanded.unwrap_or_else(|error| {
        let error = error.into_compile_error();
        let mut untouched = original;
        untouched.sig.inputs.iter_mut().for_each(parameter::strip);
        quote!(#error #untouched)
    })
}
