//! Generates `bind` and the functions that run a bound call, in this process or in another.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::{Ident, parse_quote, spanned::Spanned};

use super::parts::{Names, add, check_all, codec, full_codec};
use crate::{function::Function, parameter::Parameter};

/// Generates `bind` and the functions that a bound call runs.
pub(super) fn bind(function: &Function, names: &Names) -> TokenStream {
    let Function { generics, result, item, .. } = function;
    let Names { engine, turbofish, typed, .. } = names;
    let visibility = &item.vis;
    let conditions = &generics.where_clause;
    let generics = &names.generics;
    let arguments = Ident::new("arguments", Span::mixed_site());
    let all = add_all(function, engine, &arguments);
    let invoke = invoke(function, names, &quote!(__fleche_invoke), &quote!(__fleche_call));
    let (travels, carried) = (travels(function, names), carried(function, engine));
    let (guard, check) = (check_all(function, engine), check_submitted(function, names));
    quote! {
        #invoke
        #travels
        #check

        #[doc(hidden)]
        fn __fleche_transport #generics () -> #engine::Transport<#result> #conditions {
            #[allow(unused_imports)]
            use #engine::{LentErrorWire as _, NoTransport as _, NoWire as _, RemoteTransport as _, WholeWire as _};
            #engine::Transport::new(
                (&#engine::TransportProbe::<#result>::new()).fleche_transport(),
                (&&#engine::WireProbe::<#result>::new()).fleche_wire(),
            )
        }

        #[doc(hidden)]
        fn __fleche_remote #generics (
            #arguments: &[&[u8]],
        ) -> ::core::result::Result<::std::vec::Vec<u8>, ::std::string::String> #conditions {
            #engine::answer(#arguments, Self::__fleche_parts #turbofish ())
        }

        #[doc(hidden)]
        fn __fleche_parts #generics () -> #engine::Parts<#result> #conditions {
            #engine::Parts::new(Self::__fleche_transport #turbofish (), Self::__fleche_invoke #turbofish)
        }

        /// Binds the call to the cache, metadata and tags that are active on this thread. It can then run anywhere.
        #visibility fn bind #generics (#(#typed),*) -> #engine::BoundCall<#result> #carried {
            #engine::BoundCall::new(
                Self::__fleche_function #turbofish (),
                Self::__fleche_parts #turbofish (),
                #all,
            )
            .checked(#guard)
        }
    }
}

/// Returns whether submitted arguments can be checked, which requires that the type of their tuple can be named.
fn checks_submitted(function: &Function) -> bool {
    let borrows = |parameter: &Parameter| parameter.lent.is_some() || parameter.borrows_inside;
    function.generics.lifetimes().next().is_none() && !function.parameters.iter().any(borrows)
}

/// Generates the function that checks submitted arguments before a hit is served for them.
fn check_submitted(function: &Function, names: &Names) -> TokenStream {
    let Names { engine, idents, generics, .. } = names;
    let conditions = &function.generics.where_clause;
    if !checks_submitted(function) {
        return TokenStream::new();
    }
    let [arguments, guard] = ["arguments", "guard"].map(|name| Ident::new(name, Span::mixed_site()));
    let types = function.parameters.iter().map(|parameter| &parameter.ty);
    let checked = function.keyed().map(|parameter| {
        let (codec, ident) = (codec(function, engine, parameter), &parameter.ident);
        quote!(#guard.check(#codec, #ident, #engine::abilities_of(#ident).fleche_equal());)
    });
    let ignored = function.parameters.iter().filter(|parameter| parameter.ignored).map(|parameter| &parameter.ident);
    quote! {
        #[doc(hidden)]
        fn __fleche_check #generics (
            #arguments: &dyn ::core::any::Any,
            #guard: &mut #engine::StabilityCheck<'_>,
        ) #conditions {
            #[allow(unused_imports)]
            use #engine::NoEquality as _;
            let _ = &#guard;
            if let ::core::option::Option::Some((#(#idents,)*)) = #arguments.downcast_ref::<(#(#types,)*)>() {
                #(let _ = #ignored;)*
                #(#checked)*
            }
        }
    }
}

/// Generates a closure that adds all arguments, including ignored ones.
pub(super) fn add_all(function: &Function, engine: &TokenStream, arguments: &Ident) -> TokenStream {
    let all = function.parameters.iter().map(|parameter| {
        if !function.may_stay(parameter) {
            return add(function, engine, arguments, parameter);
        }
        let (probe, value) = (ignored_probe(engine, parameter), parameter.borrowed());
        quote!(#probe::fleche_add(#arguments, #value);)
    });
    quote! {
        |#arguments: &mut #engine::Arguments| {
            #[allow(unused_imports)]
            use #engine::StaysHere as _;
            #(#all)*
        }
    }
}

/// Generates the probe that determines how bound calls carry an ignored argument.
fn ignored_probe(engine: &TokenStream, parameter: &Parameter) -> TokenStream {
    let ty = parameter.encoded_type();
    let probe = quote_spanned!(ty.span()=> #engine::IgnoredProbe::<#ty>);
    // Whether a trait is implemented may depend on a lifetime, which a probe cannot see.
    if parameter.borrows_inside { quote!(<#probe as #engine::StaysHere<#ty>>) } else { probe }
}

/// Generates the function that returns whether bound calls can carry every ignored argument.
fn travels(function: &Function, names: &Names) -> TokenStream {
    let Names { engine, generics, .. } = names;
    let conditions = &function.generics.where_clause;
    let ignored = function.parameters.iter().filter(|parameter| function.may_stay(parameter));
    let probes = ignored.map(|parameter| ignored_probe(engine, parameter));
    quote! {
        #[doc(hidden)]
        const fn __fleche_travels #generics () -> bool #conditions {
            #[allow(unused_imports)]
            use #engine::StaysHere as _;
            true #(&& #probes::TRAVELS)*
        }
    }
}

/// Generates the `where` clause of `bind`: the function's own conditions, and that bound calls can carry the ignored arguments.
fn carried(function: &Function, engine: &TokenStream) -> TokenStream {
    let ignored = function.parameters.iter().enumerate().filter(|(_, parameter)| function.may_stay(parameter));
    // Stated on a function pointer, the condition may contain elided lifetimes, and a false one is no error by itself.
    let conditions = ignored.map(|(at, parameter)| {
        let ty = parameter.encoded_type();
        quote!(fn(&#ty): #engine::CarriedByBoundCalls<#at>)
    });
    let mut clause = function.generics.where_clause.clone();
    for condition in conditions {
        clause.get_or_insert_with(|| parse_quote!(where)).predicates.push(parse_quote!(#condition));
    }
    clause.to_token_stream()
}

/// Generates the `Option<&'static Portable>` through which another process can find and run the function.
pub(super) fn portable(function: &Function, names: &Names) -> TokenStream {
    let Names { engine, turbofish, .. } = names;
    let companion = &function.companion;
    let pointer = pointer(function, names).map_or_else(
        || quote!(::core::option::Option::None),
        |pointer| quote!(::core::option::Option::Some(|| #engine::Erased::new(#pointer))),
    );
    let check = if checks_submitted(function) {
        quote!(::core::option::Option::Some(&(#companion::__fleche_check #turbofish as #engine::CheckSubmitted)))
    } else {
        quote!(::core::option::Option::None)
    };
    let portable = quote! {
        const {
            &#engine::Portable {
                remote: #companion::__fleche_remote #turbofish,
                parts: || #companion::__fleche_parts #turbofish ().erased(),
                pointer: #pointer,
                check: #check,
                descriptor: &#engine::Descriptor::new(
                    #engine::type_of(&#companion::__fleche_call #turbofish),
                    #companion::__fleche_remote #turbofish,
                    #companion::__fleche_function #turbofish,
                ),
            }
        }
    };
    let some = quote!(::core::option::Option::Some(#portable));
    if !function.parameters.iter().any(|parameter| function.may_stay(parameter)) {
        return some;
    }
    quote!(if #companion::__fleche_travels #turbofish () { #some } else { ::core::option::Option::None })
}

/// Generates a pointer to the function that users call.
///
/// Returns `None` if the function cannot be named with all its generic parameters, or if no function pointer type can
/// express its lifetimes.
fn pointer(function: &Function, names: &Names) -> Option<TokenStream> {
    let Function { generics, parameters, result, item, implied, .. } = function;
    let lifetimes: Vec<_> = generics.lifetimes().collect();
    let bounded = lifetimes.iter().any(|lifetime| !lifetime.bounds.is_empty());
    let elsewhere = generics.where_clause.is_some() || generics.type_params().next().is_some();
    if *implied > 0 || bounded || (!lifetimes.is_empty() && elsewhere) {
        return None;
    }
    let (outer, turbofish) = (&item.sig.ident, &names.turbofish);
    let types = parameters.iter().map(|parameter| &parameter.ty);
    let lifetimes = if lifetimes.is_empty() { TokenStream::new() } else { quote!(for<#(#lifetimes),*>) };
    Some(quote!(#outer #turbofish as #lifetimes fn(#(#types),*) -> #result))
}

/// Generates a function named `name` that reads arguments and calls `called` with them.
pub(super) fn invoke(function: &Function, names: &Names, name: &TokenStream, called: &TokenStream) -> TokenStream {
    let Names { engine, turbofish, generics, .. } = names;
    let (result, conditions) = (&function.result, &function.generics.where_clause);
    let arguments = Ident::new("arguments", Span::mixed_site());
    let reads = function.parameters.iter().map(|parameter| {
        let ident = &parameter.ident;
        if function.may_stay(parameter) {
            let probe = ignored_probe(engine, parameter);
            let read = if parameter.lent.is_some() { quote!(fleche_read_lent) } else { quote!(fleche_read) };
            return quote!(let #ident = #probe::#read(&mut #arguments)?;);
        }
        let codec = full_codec(engine, parameter);
        quote!(let #ident = #arguments.read(&#codec)?;)
    });
    let passed = function.parameters.iter().map(|Parameter { ident, lent, .. }| {
        if lent.is_some() { quote!(#engine::Borrow::borrow(&#ident)) } else { quote!(#ident) }
    });
    quote! {
        #[doc(hidden)]
        fn #name #generics (
            mut #arguments: #engine::Reader<'_>,
        ) -> ::core::result::Result<#result, #engine::DecodeError> #conditions {
            #[allow(unused_imports)]
            use #engine::StaysHere as _;
            let _ = &mut #arguments;
            #(#reads)*
            #arguments.end()?;
            ::core::result::Result::Ok(Self::#called #turbofish (#(#passed),*))
        }
    }
}
