//! Generates `uncached` of an isolated function, which runs the body in a working directory of its own.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::{Ident, spanned::Spanned};

use super::{
    bind::{add_all, invoke},
    parts::{Names, output},
};
use crate::{function::Function, options::Isolation, parameter::Parameter};

/// Generates `uncached`, which runs `__fleche_body` isolated.
pub(super) fn isolated(function: &Function, names: &Names, isolation: &Isolation) -> TokenStream {
    let Function { companion, generics, result, item, .. } = function;
    let Names { engine, cfg, quiet, turbofish, idents, typed, .. } = names;
    let Isolation { keep_on_panic, stack, process, .. } = isolation;
    let visibility = &item.vis;
    let conditions = &generics.where_clause;
    let generics = &names.generics;
    let output = output(function);
    // The bounds have the spans of the types, so the compiler reports a missing one at the parameter.
    let assert_send = function.parameters.iter().filter(|_| !process);
    let assert_send =
        assert_send.map(|Parameter { ty, .. }| quote_spanned!(ty.span()=> #engine::assert_send::<#ty>();));
    let isolate = quote_spanned!(result.span()=> #engine::isolate::<#result>);
    let isolation = quote!(#engine::Isolation { keep_on_panic: #keep_on_panic, stack: #stack });
    let on_a_thread = quote!(#isolate(#isolation, move || Self::__fleche_body #turbofish (#(#idents),*)));
    // A function that cannot be bound can be isolated only on a thread.
    let (in_a_process, remote) =
        if function.can_be_bound() { in_a_process(function, names, &isolation) } else { Default::default() };
    let run = if *process {
        in_a_process
    } else if function.can_be_bound() {
        quote!(if #engine::threads_have_directories() { #on_a_thread } else { #in_a_process })
    } else {
        on_a_thread
    };
    quote! {
        #cfg
        #quiet
        impl #companion {
            #remote

            /// Runs the body in a working directory of its own, without looking up or recording its result.
            #visibility fn uncached #generics (#(#typed),*) #output #conditions {
                #(#assert_send)*
                #run
            }
        }
    }
}

/// Generates the call of the body in another process, and the functions that run it there.
fn in_a_process(function: &Function, names: &Names, isolation: &TokenStream) -> (TokenStream, TokenStream) {
    let Names { engine, turbofish, generics, .. } = names;
    let (result, conditions) = (&function.result, &function.generics.where_clause);
    let arguments = Ident::new("arguments", Span::mixed_site());
    let all = add_all(function, engine, &arguments);
    let call = quote! {
        #engine::isolate_in_process(
            #isolation,
            #engine::BoundCall::from_body(
                Self::__fleche_function #turbofish (),
                Self::__fleche_parts_of_body #turbofish (),
                const {
                    &#engine::Descriptor::from_body(
                        #engine::type_of(&Self::__fleche_body #turbofish),
                        Self::__fleche_remote_body #turbofish,
                    )
                },
                #all,
            ),
        )
    };
    let invoke = invoke(function, names, &quote!(__fleche_invoke_body), &quote!(__fleche_body));
    let remote = quote! {
        #invoke

        #[doc(hidden)]
        fn __fleche_remote_body #generics (
            #arguments: &[&[u8]],
        ) -> ::core::result::Result<::std::vec::Vec<u8>, ::std::string::String> #conditions {
            #engine::answer(#arguments, Self::__fleche_parts_of_body #turbofish ())
        }

        #[doc(hidden)]
        fn __fleche_parts_of_body #generics () -> #engine::Parts<#result> #conditions {
            #engine::Parts::new(Self::__fleche_transport #turbofish (), Self::__fleche_invoke_body #turbofish)
        }
    };
    (call, remote)
}
