//! Pieces that several parts of the expansion share: names, codecs, checks.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::{GenericParam, Ident, spanned::Spanned};

use crate::{function::Function, parameter::Parameter};

/// An attribute that allows the lints that generated code may trigger, regardless of the lints that the user's crate denies.
const QUIET: &str = "#[allow(non_camel_case_types, non_snake_case, dead_code, deprecated, unused_lifetimes, \
                     single_use_lifetimes, unreachable_pub, clippy::all, clippy::pedantic, clippy::nursery)]";

/// Tokens that several parts of the expansion use.
pub(super) struct Names {
    /// The path of `fleche_core::__private`.
    pub(super) engine: TokenStream,
    /// The function's `#[cfg]` attributes, which are repeated on every generated item.
    pub(super) cfg: TokenStream,
    /// The tokens of [`QUIET`].
    pub(super) quiet: TokenStream,
    /// `<'a, T: Trait, const N: usize, __Fleche0: Trait>`, or empty.
    pub(super) generics: TokenStream,
    /// `::<T, N, __Fleche0>`, or empty.
    pub(super) turbofish: TokenStream,
    /// The names of the parameters.
    pub(super) idents: Vec<Ident>,
    /// `name: Type` for each parameter.
    pub(super) typed: Vec<TokenStream>,
}

impl Names {
    pub(super) fn new(function: &Function) -> Self {
        let krate = function.options.krate.as_ref().map_or_else(|| quote!(::fleche_core), ToTokens::to_token_stream);
        let cfg = function.attributes(&["cfg", "cfg_attr"]);
        let arguments: Vec<_> = function.generics.params.iter().filter_map(generic_argument).collect();
        let turbofish = if arguments.is_empty() { TokenStream::new() } else { quote!(::<#(#arguments),*>) };
        let declared = &function.generics.params;
        Self {
            engine: quote!(#krate::__private),
            cfg: quote!(#(#cfg)*),
            quiet: QUIET.parse().unwrap_or_default(),
            generics: if declared.is_empty() { TokenStream::new() } else { quote!(<#declared>) },
            turbofish,
            idents: function.parameters.iter().map(|parameter| parameter.ident.clone()).collect(),
            typed: function.parameters.iter().map(typed).collect(),
        }
    }
}

fn typed(parameter: &Parameter) -> TokenStream {
    let Parameter { ident, ty, .. } = parameter;
    quote!(#ident: #ty)
}

/// Returns the argument for a type or const parameter, or `None` for a lifetime, which the compiler infers.
pub(super) fn generic_argument(parameter: &GenericParam) -> Option<Ident> {
    match parameter {
        GenericParam::Type(parameter) => Some(parameter.ident.clone()),
        GenericParam::Const(parameter) => Some(parameter.ident.clone()),
        GenericParam::Lifetime(_) => None,
    }
}

/// Generates the codec of a parameter, with the span of its type.
///
/// All bounds on the type are required here, so that the compiler reports a missing one at the type.
pub(super) fn codec(function: &Function, engine: &TokenStream, parameter: &Parameter) -> TokenStream {
    if function.options.local {
        let ty = parameter.encoded_type();
        return quote_spanned!(ty.span()=> const { #engine::local_codec::<#ty>() });
    }
    let full = full_codec(engine, parameter);
    quote_spanned!(parameter.ty.span()=> #full.codec)
}

/// Generates the codec of a parameter that can also decode, which a codec for `local` functions cannot.
pub(super) fn full_codec(engine: &TokenStream, parameter: &Parameter) -> TokenStream {
    let ty = parameter.encoded_type();
    quote_spanned!(ty.span()=> const { #engine::codec::<#ty>() })
}

/// Generates the statement that adds a parameter to the encoded arguments.
pub(super) fn add(function: &Function, engine: &TokenStream, arguments: &Ident, parameter: &Parameter) -> TokenStream {
    let (codec, value) = (codec(function, engine, parameter), parameter.borrowed());
    quote!(#arguments.add(#codec, #value);)
}

/// Generates a function that checks the parameters' types at compile time.
///
/// It is never called. The compiler reports a type that fails a bound at the parameter.
pub(super) fn parameter_checks(function: &Function, names: &Names) -> TokenStream {
    let Names { engine, .. } = names;
    let conditions = &function.generics.where_clause;
    let generics = &names.generics;
    let checks = function
        .keyed()
        .map(|Parameter { ty, .. }| quote_spanned!(ty.span()=> #engine::MutableProbe::<#ty>::fleche_check::<#ty>();));
    quote! {
        #[doc(hidden)]
        fn __fleche_check_parameters #generics () #conditions {
            #[allow(unused_imports)]
            use #engine::NotMutable as _;
            #(#checks)*
        }
    }
}

/// Generates a closure that adds the arguments to a scalar key and returns whether all of them could be added.
pub(super) fn scalar_key(function: &Function, engine: &TokenStream) -> TokenStream {
    let scalar = Ident::new("scalar", Span::mixed_site());
    let added = function.keyed().map(|parameter| {
        let value = parameter.borrowed();
        quote!(&& #scalar.add(#engine::ScalarProbe(#value).fleche_scalar()))
    });
    quote! {
        |#scalar: &mut #engine::ScalarKey| {
            #[allow(unused_imports)]
            use #engine::NotScalar as _;
            true #(#added)*
        }
    }
}

/// Generates the stability check of the arguments, and the list of checks that need only their encodings.
pub(super) fn guard(function: &Function, engine: &TokenStream) -> TokenStream {
    let guard = check_all(function, engine);
    let codecs = function.keyed().map(|parameter| codec(function, engine, parameter));
    quote!(#guard, const { &[#(#codecs.recheck),*] as &[#engine::Recheck] })
}

/// Generates a closure that checks the arguments that are part of the key.
pub(super) fn check_all(function: &Function, engine: &TokenStream) -> TokenStream {
    let guard = Ident::new("guard", Span::mixed_site());
    let checked = function.keyed().map(|parameter| {
        let (codec, value) = (codec(function, engine, parameter), parameter.borrowed());
        quote!(#guard.check(#codec, #value, #engine::abilities_of(#value).fleche_equal());)
    });
    quote! {
        |#guard| {
            #[allow(unused_imports)]
            use #engine::NoEquality as _;
            #(#checked)*
        }
    }
}

/// Generates the function that says which part of the result is recorded.
///
/// It is the only place that requires the bounds on the result, so a missing one is reported once, at the return type.
pub(super) fn plan(function: &Function, names: &Names) -> TokenStream {
    let Function { generics, result, options, .. } = function;
    let Names { engine, .. } = names;
    let conditions = &generics.where_clause;
    let generics = &names.generics;
    let probe = Ident::new("probe", Span::mixed_site());
    let whole = if options.cache_errors { quote!((*#probe)) } else { quote!(#probe) };
    let plan = quote_spanned! {result.span()=>
        #whole.fleche_plan(#engine::TypeAbilities::new(
            #whole.fleche_value().fleche_equal(),
            #whole.fleche_value().fleche_copy(),
        ))
    };
    quote! {
        #[doc(hidden)]
        fn __fleche_plan #generics () -> #engine::ResultKind<#result, impl ::core::marker::Sized + 'static> #conditions {
            #[allow(unused_imports)]
            use #engine::{NoCopy as _, NoEquality as _, WholeResult as _};
            let #probe = #engine::ResultProbe::<#result>::new();
            #plan
        }
    }
}

/// Generates ` -> R`, or nothing if the function returns nothing.
pub(super) fn output(function: &Function) -> TokenStream {
    let Function { result, item, .. } = function;
    match &item.sig.output {
        syn::ReturnType::Default => TokenStream::new(),
        syn::ReturnType::Type(..) => quote!(-> #result),
    }
}
