//! Generates the function's identity: its definition, instances and registration, and the warnings about paths.

use proc_macro2::TokenStream;
use quote::{ToTokens, format_ident, quote};
use syn::{GenericParam, spanned::Spanned};

use super::{bind::portable, parts::Names};
use crate::{
    function::Function,
    options::{Stale, WaitPolicy},
    parameter::{Parameter, contains_a_path},
};

/// Generates the function's definition and the code that returns its instance.
pub(super) fn identity(function: &Function, names: &Names) -> TokenStream {
    let Function { companion, generics, options, item, code, implied, .. } = function;
    let Names { engine, turbofish, .. } = names;
    let conditions = &generics.where_clause;
    let params = &generics.params;
    let declared = &names.generics;
    let name = options.name.as_ref().map_or_else(
        || {
            let name = syn::ext::IdentExt::unraw(&item.sig.ident).to_string();
            quote!(::core::concat!(::core::env!("CARGO_PKG_NAME"), "::", ::core::module_path!(), "::", #name))
        },
        ToTokens::to_token_stream,
    );
    let (version, hash_code) = (options.version.unwrap_or_default(), options.hash_code);
    // Keys with `hash_code` keep the digest of earlier versions of fleche, so that they stay the same.
    let earlier_code = code.with_name;
    let code = if hash_code { code.with_name } else { code.digest };
    let stale = stale_policy(function, engine);
    // With an explicit version, the author declares results of other code with that version valid.
    let default_stale = if options.version.is_some() { quote!(Warn) } else { quote!(Rerun) };
    let (store_arguments, hot) = (!options.discard_arguments, !options.cold);
    let wait_policy = match options.wait_policy {
        None | Some(WaitPolicy::Endless) => quote!(Endless),
        Some(WaitPolicy::For(milliseconds)) => quote!(For(::core::time::Duration::from_millis(#milliseconds))),
        Some(WaitPolicy::None) => quote!(None),
    };
    let parameters = function
        .parameters
        .iter()
        .map(|Parameter { key, ignored, .. }| quote!(#engine::Parameter { name: #key, ignored: #ignored }));
    let portable =
        if function.can_be_bound() { portable(function, names) } else { quote!(::core::option::Option::None) };
    let instance = if turbofish.is_empty() {
        quote! {
            static FUNCTION: #engine::Function =
                #engine::Function::new(#companion::__FLECHE_DEFINITION, #companion::__fleche_load, #portable);
            &FUNCTION
        }
    } else {
        let outer = &item.sig.ident;
        // A function with `impl Trait` cannot be named with all its generic parameters, so its type is not registered.
        let submitted = (*implied == 0).then(|| quote!(#engine::type_of(&#outer #turbofish)));
        let texts = params.iter().filter_map(|parameter| match parameter {
            GenericParam::Type(parameter) => {
                let ident = &parameter.ident;
                Some(quote!(#engine::stable_type_name::<#ident>()))
            }
            GenericParam::Const(parameter) => {
                let ident = &parameter.ident;
                Some(quote!(::std::format!("{:?}", #ident)))
            }
            GenericParam::Lifetime(_) => None,
        });
        quote! {
            #engine::instance(
                Self::__FLECHE_DEFINITION,
                &[#engine::type_of(&Self::__fleche_call #turbofish), #submitted],
                || [#(#texts),*].join(", "),
                Self::__fleche_load #turbofish,
                #portable,
            )
        }
    };
    quote! {
        #[doc(hidden)]
        const __FLECHE_DEFINITION: &'static #engine::Definition = &#engine::Definition {
            name: #name,
            version: #version,
            code: [#(#code),*],
            earlier_code: [#(#earlier_code),*],
            hash_code: #hash_code,
            stale: #stale,
            default_stale: #engine::StalePolicy::#default_stale,
            parameters: &[#(#parameters),*],
            wait_policy: #engine::WaitPolicy::#wait_policy,
            store_arguments: #store_arguments,
            hot: #hot,
            position: (::core::file!(), ::core::line!(), ::core::column!()),
        };

        #[doc(hidden)]
        fn __fleche_function #declared () -> &'static #engine::Function #conditions {
            #instance
        }

        #[doc(hidden)]
        fn __fleche_load #declared (
            function: &'static #engine::Function,
            cache: &#engine::Cache,
            key: &#engine::CallKey,
        ) -> #engine::Loaded #conditions {
            #engine::load_boxed(function, &Self::__fleche_plan #turbofish (), cache, key)
        }
    }
}

/// Generates the `stale` policy that the attribute sets, if any.
fn stale_policy(function: &Function, engine: &TokenStream) -> TokenStream {
    let policy = match function.options.stale {
        None => return quote!(::core::option::Option::None),
        Some(Stale::Rerun) => quote!(Rerun),
        Some(Stale::Warn) => quote!(Warn),
        Some(Stale::Serve) => quote!(Serve),
    };
    quote!(::core::option::Option::Some(#engine::StalePolicy::#policy))
}

/// Generates the registration of the function in `inventory`.
pub(super) fn registration(function: &Function, names: &Names) -> TokenStream {
    let Function { companion, item, .. } = function;
    let Names { engine, cfg, quiet, turbofish, .. } = names;
    let outer = &item.sig.ident;
    let found = if turbofish.is_empty() {
        quote!(::core::option::Option::Some(|| (#engine::type_of(&#outer), #companion::__fleche_function())))
    } else {
        quote!(::core::option::Option::None)
    };
    quote! {
        #cfg
        #quiet
        const _: () = {
            #engine::inventory::submit! {
                #engine::Registration { definition: #companion::__FLECHE_DEFINITION, function: #found }
            }
        };
    }
}

/// Generates a warning for each path parameter, since a path is keyed by its name and not by the file's content.
///
/// A deprecated function is called because a procedural macro has no other way to emit a warning.
pub(super) fn path_warnings(function: &Function) -> TokenStream {
    let cfg = function.attributes(&["cfg", "cfg_attr"]).collect::<Vec<_>>();
    let warnings = function.parameters.iter().filter(|parameter| parameter.is_path).map(|parameter| {
        let warning = format_ident!("path_parameter", span = parameter.ty.span());
        let note = format!(
            "the key contains the path `{0}`, not the content of the file, so a call with a changed file returns the old \
             result; take a `fleche_core::FileContent`, or mark the parameter `#[by_name] {0}`",
            parameter.key
        );
        quote! {
            #(#cfg)*
            const _: () = {
                #[deprecated(note = #note)]
                const fn path_parameter() {}
                #warning()
            };
        }
    });
    let result = path_result_warning(function);
    quote!(#(#warnings)* #result)
}

/// Generates a warning if the result contains a path: the file may be gone or changed when a hit returns it.
fn path_result_warning(function: &Function) -> TokenStream {
    let Function { result, options, .. } = function;
    if options.by_name || !contains_a_path(result) {
        return TokenStream::new();
    }
    let cfg = function.attributes(&["cfg", "cfg_attr"]);
    let warning = format_ident!("path_result", span = result.span());
    let gone = if options.isolation.is_some() {
        "; with `isolate`, a file in the call's own directory is deleted when the call returns"
    } else {
        ""
    };
    let note = format!(
        "the recorded result contains a path, not the content of the file, so a hit may return the path of a file that is \
         gone or has changed{gone}; return the content of the file, or add `#[fleche(by_name)]`"
    );
    quote! {
        #(#cfg)*
        const _: () = {
            #[deprecated(note = #note)]
            const fn path_result() {}
            #warning()
        };
    }
}
