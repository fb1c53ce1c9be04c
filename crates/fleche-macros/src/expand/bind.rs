//! `bind`, and how a call runs that was bound here or elsewhere.

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::Ident;

use super::{Names, add, full_codec};
use crate::{function::Function, parameter::Parameter};

/// `bind`, and what a bound call runs.
pub(super) fn bind(function: &Function, names: &Names) -> TokenStream {
    let Function { generics, result, item, .. } = function;
    let Names { engine, turbofish, typed, .. } = names;
    let visibility = &item.vis;
    let conditions = &generics.where_clause;
    let generics = &names.generics;
    let arguments = Ident::new("arguments", Span::mixed_site());
    let all = function.parameters.iter().map(|parameter| add(function, engine, &arguments, parameter));
    let invoke = invoke(function, names, &quote!(__fleche_invoke), &quote!(__fleche_call));
    quote! {
        #invoke

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

        /// Binds the call to what is active on this thread: cache, metadata and tags. It can then run anywhere.
        #visibility fn bind #generics (#(#typed),*) -> #engine::BoundCall<#result> #conditions {
            #engine::BoundCall::new(
                Self::__fleche_function #turbofish (),
                Self::__fleche_parts #turbofish (),
                |#arguments: &mut #engine::Arguments| { #(#all)* },
            )
        }
    }
}

/// How the function leaves the process and is found again, a `&'static Portable`.
pub(super) fn portable(function: &Function, names: &Names) -> TokenStream {
    let Names { engine, turbofish, .. } = names;
    let companion = &function.companion;
    let pointer = pointer(function, names).map_or_else(
        || quote!(::core::option::Option::None),
        |pointer| quote!(::core::option::Option::Some(|| #engine::Erased::new(#pointer))),
    );
    quote! {
        const {
            &#engine::Portable {
                remote: #companion::__fleche_remote #turbofish,
                parts: || #companion::__fleche_parts #turbofish ().erased(),
                pointer: #pointer,
                descriptor: &#engine::Descriptor::new(
                    #engine::type_of(&#companion::__fleche_call #turbofish),
                    #companion::__fleche_remote #turbofish,
                    #companion::__fleche_function #turbofish,
                ),
            }
        }
    }
}

/// The function that users call as a pointer; `None` where it cannot be named with all its parameters, or where it binds
/// lifetimes in a way that no pointer does.
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

/// The function of this name, which reads arguments and calls `called` with them.
pub(super) fn invoke(function: &Function, names: &Names, name: &TokenStream, called: &TokenStream) -> TokenStream {
    let Names { engine, turbofish, generics, .. } = names;
    let (result, conditions) = (&function.result, &function.generics.where_clause);
    let arguments = Ident::new("arguments", Span::mixed_site());
    let reads = function.parameters.iter().map(|parameter| {
        let (ident, codec) = (&parameter.ident, full_codec(engine, parameter));
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
            let _ = &mut #arguments;
            #(#reads)*
            #arguments.end()?;
            ::core::result::Result::Ok(Self::#called #turbofish (#(#passed),*))
        }
    }
}
