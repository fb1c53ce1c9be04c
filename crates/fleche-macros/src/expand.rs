//! Generates the expansion of the attribute: the function, its companion type, and its registration.

mod bind;
mod call;
mod identity;
mod isolated;
mod parts;

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::Ident;

use crate::function::Function;
use bind::bind;
use call::{call, original, outer, returned};
use identity::{identity, path_warnings, registration};
use parts::{Names, add, parameter_checks, plan};

/// Generates the whole expansion.
pub(crate) fn expand(function: &Function) -> TokenStream {
    let names = Names::new(function);
    let outer = outer(function, &names);
    let original = original(function, &names);
    let companion = companion(function, &names);
    let registration = registration(function, &names);
    let warnings = path_warnings(function);
    quote!(#outer #companion #original #registration #warnings)
}

/// Generates the companion type, with `key`, `contains`, `load`, `rerun`, `evict`, `bind` and `query`.
fn companion(function: &Function, names: &Names) -> TokenStream {
    let Function { companion, generics, result, item, .. } = function;
    let Names { engine, cfg, quiet, turbofish, idents, typed, .. } = names;
    let visibility = &item.vis;
    let conditions = &generics.where_clause;
    let generics = &names.generics;
    let returned = returned(function, names);
    let of = format!("Operations on the calls of [`{0}()`]({0}()) other than calling it.", item.sig.ident);

    let encode = Ident::new("arguments", Span::mixed_site());
    let keyed = function.keyed().map(|parameter| add(function, engine, &encode, parameter));
    let encode_keyed = quote!(|#encode: &mut #engine::Arguments| { #(#keyed)* });
    let call = call(function, names, &encode_keyed);
    let unused = function.parameters.iter().filter(|parameter| parameter.ignored).map(|parameter| &parameter.ident);
    let discard = quote!(#(let _ = &#unused;)*);
    let bind = if function.can_be_bound() { bind(function, names) } else { TokenStream::new() };
    let (plan, checks) = (plan(function, names), parameter_checks(function, names));
    let identity = identity(function, names);

    quote! {
        #cfg
        #[doc = #of]
        #quiet
        #visibility struct #companion {}

        #cfg
        #quiet
        impl #companion {
            #call
            #identity
            #plan
            #checks

            /// Returns the call's key.
            ///
            /// # Panics
            /// Panics if an argument cannot be encoded. A call with such an argument runs uncached.
            #visibility fn key #generics (#(#typed),*) -> #engine::CallKey #conditions {
                #discard
                #engine::key_or_panic(Self::__fleche_function #turbofish (), #encode_keyed)
            }

            /// Returns whether the call is a hit in the active cache, as far as can be told without decoding the result. A
            /// recorded result that does not decode into the function's type counts, although the call would run again.
            ///
            /// # Errors
            /// Fails if an argument cannot be encoded, or if a store fails.
            #visibility fn contains #generics (#(#typed),*) -> #engine::Result<bool> #conditions {
                #discard
                let key = #engine::key(Self::__fleche_function #turbofish (), #encode_keyed);
                #engine::contains(Self::__fleche_function #turbofish (), key)
            }

            /// Returns the recorded result from the active cache, or `None` if the call is not a hit. Never runs the body.
            ///
            /// # Errors
            /// Fails if an argument cannot be encoded, if a store fails, or if the result cannot be decoded.
            #visibility fn load #generics (#(#typed),*)
                -> #engine::Result<::core::option::Option<#result>> #conditions
            {
                #discard
                let key = #engine::key(Self::__fleche_function #turbofish (), #encode_keyed);
                #engine::load(Self::__fleche_function #turbofish (), &Self::__fleche_plan #turbofish (), key)
            }

            /// Runs the call again, and the memoized calls inside it, and replaces their recorded results.
            #visibility fn rerun #generics (#(#typed),*) #returned #conditions {
                #engine::rerun(move || Self::__fleche_call #turbofish (#(#idents),*))
            }

            /// Removes the call's record from the active cache, and returns whether there was one.
            ///
            /// # Errors
            /// Fails if an argument cannot be encoded, or if a store fails.
            #visibility fn evict #generics (#(#typed),*) -> #engine::Result<bool> #conditions {
                #discard
                let key = #engine::key(Self::__fleche_function #turbofish (), #encode_keyed);
                #engine::evict(Self::__fleche_function #turbofish (), key)
            }

            #bind

            /// Returns a query for the records of this function, to pass to `Cache::query`.
            #visibility fn query #generics () -> #engine::Query #conditions {
                #engine::Query::new().function(Self::__fleche_function #turbofish ().name())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        io::Write as _,
        process::{Command, Stdio},
    };

    use super::*;

    /// The expansion of [`FUNCTION`]. A test with `UPDATE_EXPANSION=1` in the environment writes it.
    const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/expansion.txt");

    /// A function with a scalar, a borrowed and an ignored parameter.
    const FUNCTION: &str =
        "pub fn count(minimum: u64, text: &str, threads: usize) -> usize { work(minimum, text, threads) }";

    fn formatted(tokens: &str) -> String {
        let mut rustfmt = Command::new("rustfmt");
        let piped = rustfmt.args(["--edition", "2024"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut running = piped.spawn().unwrap();
        running.stdin.take().unwrap().write_all(tokens.as_bytes()).unwrap();
        let output = running.wait_with_output().unwrap();
        assert!(output.status.success(), "rustfmt rejects the expansion: {tokens}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Replaces the bytes of digests, which depend on the function's tokens, with `…`.
    fn without_digests(text: &str) -> String {
        let (mut shown, mut rest) = (String::new(), text);
        while let Some((before, after)) = rest.split_once('[') {
            let (inside, behind) = after.split_once(']').unwrap_or((after, ""));
            let is_digest = inside.matches("u8").count() == 32
                && inside
                    .chars()
                    .all(|char| char.is_ascii_digit() || char.is_whitespace() || matches!(char, 'u' | ','));
            shown.push_str(before);
            shown.push_str(if is_digest { "[…]" } else { "[" });
            rest = if is_digest { behind } else { after };
        }
        shown + rest
    }

    #[test]
    fn expansion_is_the_recorded_one() {
        let options = syn::parse_str("version = 2, ignore(threads)").unwrap();
        let function = Function::new(options, &syn::parse_str(FUNCTION).unwrap()).unwrap();
        let found = without_digests(&formatted(&expand(&function).to_string()));
        if std::env::var_os("UPDATE_EXPANSION").is_some() {
            fs::write(FILE, &found).unwrap();
        }
        let recorded = fs::read_to_string(FILE).unwrap();
        assert!(found == recorded, "the expansion has changed; `UPDATE_EXPANSION=1` records it:\n{found}");
    }
}
