//! The body of an isolated function, run where nothing else is.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;

use super::{Names, call::output};
use crate::{function::Function, options::Isolation, parameter::Parameter};

/// `uncached`, which runs `__fleche_body` isolated.
pub(super) fn isolated(function: &Function, names: &Names, isolation: &Isolation) -> TokenStream {
    let Function { companion, generics, result, item, .. } = function;
    let Names { engine, cfg, quiet, turbofish, idents, typed, .. } = names;
    let Isolation { keep_on_panic, stack, .. } = isolation;
    let visibility = &item.vis;
    let conditions = &generics.where_clause;
    let generics = &names.generics;
    let output = output(function);
    // Asked for at the types, where a reader looks for what is wrong.
    let crosses = function.parameters.iter();
    let crosses = crosses.map(|Parameter { ty, .. }| quote_spanned!(ty.span()=> #engine::crosses::<#ty>();));
    let isolate = quote_spanned!(result.span()=> #engine::isolate::<#result>);
    quote! {
        #cfg
        #quiet
        impl #companion {
            /// Runs the body in a working directory of its own, without looking anything up or recording anything.
            #visibility fn uncached #generics (#(#typed),*) #output #conditions {
                #(#crosses)*
                #isolate(
                    #engine::Isolation { keep_on_panic: #keep_on_panic, stack: #stack },
                    move || Self::__fleche_body #turbofish (#(#idents),*),
                )
            }
        }
    }
}
