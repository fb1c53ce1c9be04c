//! Generates the function that users call, the function as written, and the memoized call that connects them.

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::Ident;

use super::{
    isolated::isolated,
    parts::{Names, generic_argument, guard, output, scalar_key},
};
use crate::function::Function;

/// Generates the function that users call, which has the original attributes and signature and a new body.
pub(super) fn outer(function: &Function, names: &Names) -> TokenStream {
    let mut item = function.item.clone();
    for (argument, parameter) in item.sig.inputs.iter_mut().zip(&function.parameters) {
        if let syn::FnArg::Typed(typed) = argument {
            let ident = &parameter.ident;
            *typed.pat = syn::parse_quote!(#ident);
        }
    }
    if function.is_async() {
        // The body of an `async fn` runs when it is first polled, but the active cache must be read when it is called.
        item.sig.asyncness = None;
        let returned = returned(function, names);
        item.sig.output = syn::parse_quote!(#returned);
    }
    let (attributes, visibility, signature) = (&item.attrs, &item.vis, &item.sig);
    let Function { companion, implied, generics, .. } = function;
    let idents = &names.idents;
    let explicit = generics.params.iter().rev().skip(*implied).collect::<Vec<_>>();
    let explicit = explicit.into_iter().rev().filter_map(generic_argument);
    let arguments: Vec<_> = explicit.map(|name| quote!(#name)).chain((0..*implied).map(|_| quote!(_))).collect();
    let turbofish = if arguments.is_empty() { TokenStream::new() } else { quote!(::<#(#arguments),*>) };
    quote! {
        #(#attributes)*
        #[allow(clippy::used_underscore_binding)]
        #visibility #signature {
            #companion::__fleche_call #turbofish (#(#idents),*)
        }
    }
}

/// Generates the function as written, as the companion's `uncached`.
pub(super) fn original(function: &Function, names: &Names) -> TokenStream {
    let Function { companion, generics, item, .. } = function;
    let Names { cfg, .. } = names;
    let (visibility, block) = (&item.vis, &item.block);
    let lints = function.attributes(&["allow", "warn", "deny", "forbid", "expect"]);
    let conditions = &generics.where_clause;
    let (asyncness, output) = (&item.sig.asyncness, output(function));
    let parameters = item.sig.inputs.iter().zip(&function.parameters).map(|(argument, parameter)| {
        let syn::FnArg::Typed(typed) = argument else { return TokenStream::new() };
        let (attributes, pattern, ty) = (&typed.attrs, &typed.pat, &parameter.ty);
        quote!(#(#attributes)* #pattern: #ty)
    });
    let generics = &names.generics;
    let isolated = function.options.isolation.as_ref().map(|isolation| isolated(function, names, isolation));
    let name = if isolated.is_some() { quote!(fn __fleche_body) } else { quote!(#visibility #asyncness fn uncached) };
    quote! {
        #cfg
        #[allow(dead_code, clippy::must_use_candidate, clippy::missing_errors_doc, clippy::missing_panics_doc)]
        impl #companion {
            /// Runs the body without looking up or recording its result.
            #(#lints)*
            #name #generics (#(#parameters),*) #output #conditions #block
        }
        #isolated
    }
}

/// Generates the memoized call: it looks the result up, and runs the body and records its result on a miss.
pub(super) fn call(function: &Function, names: &Names, encode: &TokenStream) -> TokenStream {
    let Function { generics, item, .. } = function;
    let Names { engine, turbofish, idents, typed, .. } = names;
    let (visibility, conditions) = (&item.vis, &generics.where_clause);
    let generics = &names.generics;
    let returned = returned(function, names);
    let (guard, scalar_key) = (guard(function, engine), scalar_key(function, engine));
    // Hygienic names, since parameters may have the same ones.
    let [call, hit, miss] = ["call", "hit", "miss"].map(|name| Ident::new(name, Span::mixed_site()));
    let body = if function.is_async() {
        // Separate statements, so that the borrows of each end before the next `.await`.
        quote! {
            let #call = #engine::AsyncCall::new(Self::__fleche_function #turbofish (), Self::__fleche_plan #turbofish ());
            async move {
                let #call = #call.encode(#encode);
                let #call = #call.look_up().await;
                match #call.check(#guard) {
                    #engine::AsyncChecked::Hit(#hit) => #hit.result(),
                    #engine::AsyncChecked::Miss(#miss) => #miss.run(Self::uncached #turbofish (#(#idents),*)).await,
                }
            }
        }
    } else {
        quote! {
            match #engine::look_up(
                Self::__fleche_function #turbofish (),
                Self::__fleche_plan #turbofish,
                #scalar_key,
                #encode,
                #guard
            ) {
                #engine::Found::Hit(#hit) => #hit,
                #engine::Found::Miss(#miss) => #miss.run(move || Self::uncached #turbofish (#(#idents),*)),
            }
        }
    };
    quote! {
        #[doc(hidden)]
        #visibility fn __fleche_call #generics (#(#typed),*) #returned #conditions { #body }
    }
}

/// Generates the return type that callers see, which for an `async fn` is a future. Empty if the function returns nothing.
pub(super) fn returned(function: &Function, names: &Names) -> TokenStream {
    let Function { result, .. } = function;
    let engine = &names.engine;
    // These tokens have the edition of this crate, in which a returned `impl Future` captures every lifetime.
    if function.is_async() { quote!(-> impl #engine::Future<Output = #result>) } else { output(function) }
}
