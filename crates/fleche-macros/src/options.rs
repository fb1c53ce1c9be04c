//! Parses the options in the attribute's parentheses.

mod isolation;
mod patience;
mod stale;

pub(crate) use isolation::Isolation;
pub(crate) use patience::WaitPolicy;
pub(crate) use stale::Stale;

use proc_macro2::Span;
use syn::{
    Ident, LitBool, LitInt, LitStr, Path, Result, Token, parenthesized,
    parse::{Parse, ParseStream},
    punctuated::Punctuated,
};

/// The options in `#[fleche(…)]`.
#[derive(Default)]
#[allow(clippy::struct_excessive_bools)] // Each is an independent switch of the attribute.
pub(crate) struct Options {
    pub(crate) version: Option<u64>,
    pub(crate) name: Option<LitStr>,
    pub(crate) companion: Option<Ident>,
    pub(crate) hash_code: bool,
    pub(crate) stale: Option<Stale>,
    pub(crate) ignore: Vec<Ident>,
    /// Whether paths in the result are intended as names, so that they cause no warning.
    pub(crate) by_name: bool,
    pub(crate) cache_errors: bool,
    pub(crate) discard_arguments: bool,
    pub(crate) cold: bool,
    pub(crate) local: bool,
    pub(crate) patience: Option<WaitPolicy>,
    pub(crate) isolation: Option<Isolation>,
    pub(crate) krate: Option<Path>,
}

const KNOWN: &str = "`version = 2`, `name = \"…\"`, `companion = \"…\"`, `hash_code`, `stale = \"rerun\"`, \
                     `ignore(parameter, …)`, `by_name`, `cache_errors`, `store_arguments = false`, `hot = false`, \
                     `wait = false`, `wait_timeout = \"30s\"`, `local`, `isolate`, `crate = path`";

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut options = Self::default();
        let mut seen = Vec::<Ident>::new();
        while !input.is_empty() {
            let option = if input.peek(Token![crate]) {
                Ident::new("crate", input.parse::<Token![crate]>()?.span)
            } else {
                input.parse::<Ident>()?
            };
            if seen.contains(&option) {
                return Err(syn::Error::new(option.span(), format!("option `{option}` is given twice")));
            }
            options.read(&option, input)?;
            seen.push(option);
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(options)
    }
}

impl Options {
    fn read(&mut self, option: &Ident, input: ParseStream<'_>) -> Result<()> {
        match option.to_string().as_str() {
            "version" => self.version = Some(value::<LitInt>(input)?.base10_parse()?),
            "name" => {
                let name: LitStr = value(input)?;
                if name.value().is_empty() {
                    return Err(syn::Error::new(name.span(), "the name must not be empty"));
                }
                self.name = Some(name);
            }
            "companion" => self.companion = Some(value::<LitStr>(input)?.parse()?),
            "hash_code" => self.hash_code = true,
            "stale" => self.stale = Some(Stale::of(&value(input)?)?),
            "ignore" => {
                let names;
                parenthesized!(names in input);
                self.ignore = Punctuated::<Ident, Token![,]>::parse_terminated(&names)?.into_iter().collect();
            }
            "by_name" => self.by_name = true,
            "cache_errors" => self.cache_errors = true,
            "store_arguments" => self.discard_arguments = !value::<LitBool>(input)?.value,
            "hot" => self.cold = !value::<LitBool>(input)?.value,
            "wait" => self.wait(option, WaitPolicy::of_wait(value::<LitBool>(input)?.value))?,
            "wait_timeout" => self.wait(option, WaitPolicy::of_timeout(&value(input)?)?)?,
            "local" => self.local = true,
            "isolate" => self.isolation = Some(Isolation::parse(option.span(), input)?),
            "crate" => self.krate = Some(value(input)?),
            other => return Err(unknown(option.span(), other)),
        }
        Ok(())
    }

    /// Returns whether each body runs in a process of its own, so that every argument must be sent there.
    pub(crate) fn isolates_in_process(&self) -> bool {
        self.isolation.as_ref().is_some_and(|isolation| isolation.process)
    }

    fn wait(&mut self, option: &Ident, patience: WaitPolicy) -> Result<()> {
        if self.patience.replace(patience).is_some() {
            return Err(syn::Error::new(option.span(), "`wait` and `wait_timeout` exclude each other; remove one"));
        }
        Ok(())
    }
}

fn value<T: Parse>(input: ParseStream<'_>) -> Result<T> {
    input.parse::<Token![=]>()?;
    input.parse()
}

fn unknown(span: Span, option: &str) -> syn::Error {
    syn::Error::new(span, format!("unknown option `{option}`; the options are {KNOWN}"))
}
