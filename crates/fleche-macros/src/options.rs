//! Parses the options in the attribute's parentheses.

use proc_macro2::Span;
use syn::{
    Ident, LitBool, LitInt, LitStr, Path, Result, Token, parenthesized,
    parse::{Parse, ParseStream},
    punctuated::Punctuated,
    token,
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
    pub(crate) wait_policy: Option<WaitPolicy>,
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

    fn wait(&mut self, option: &Ident, wait_policy: WaitPolicy) -> Result<()> {
        if self.wait_policy.replace(wait_policy).is_some() {
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

/// The policy for results that were computed by other code of the function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stale {
    Rerun,
    Warn,
    Serve,
}

impl Stale {
    /// Parses the value of `stale = "…"`.
    fn of(policy: &LitStr) -> Result<Self> {
        match policy.value().as_str() {
            "rerun" => Ok(Self::Rerun),
            "warn" => Ok(Self::Warn),
            "serve" => Ok(Self::Serve),
            other => Err(syn::Error::new(
                policy.span(),
                format!(
                    "unknown stale policy `{other}`; the policies are `\"rerun\"` (compute again), `\"warn\"` (serve with a \
                     warning) and `\"serve\"`"
                ),
            )),
        }
    }
}

/// The limit on the time for which a call waits for another caller that computes the same call.
#[derive(Clone, Copy)]
pub(crate) enum WaitPolicy {
    Endless,
    /// The limit in milliseconds.
    For(u64),
    None,
}

impl WaitPolicy {
    /// Returns the policy for `wait = …`, which says whether calls wait at all.
    fn of_wait(wait: bool) -> Self {
        if wait { Self::Endless } else { Self::None }
    }

    /// Parses the value of `wait_timeout = "…"`.
    fn of_timeout(time: &LitStr) -> Result<Self> {
        milliseconds(&time.value()).map(Self::For).ok_or_else(|| {
            syn::Error::new(
                time.span(),
                "the timeout must be a positive whole number with a unit: `\"500ms\"`, `\"30s\"`, `\"5min\"`, `\"2h\"`; to not \
                 wait at all, use `wait = false`",
            )
        })
    }
}

/// Returns the milliseconds of a time such as `30s`, or `None` if it is zero, too large or not a time.
fn milliseconds(time: &str) -> Option<u64> {
    let digits = time.trim_end_matches(|letter: char| !letter.is_ascii_digit());
    let unit = match time[digits.len()..].trim() {
        "ms" => 1,
        "s" => 1000,
        "min" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    digits.trim().parse::<u64>().ok()?.checked_mul(unit).filter(|time| *time > 0)
}

/// The isolation of calls.
pub(crate) struct Isolation {
    /// The position of the option, for errors.
    pub(crate) span: Span,
    pub(crate) keep_on_panic: bool,
    /// Whether each call runs in a process of its own, rather than on a thread.
    pub(crate) process: bool,
    /// The size of the thread's stack in bytes.
    pub(crate) stack: usize,
}

/// The default size of the main thread's stack on Linux, so that recursion goes as deep as without isolation.
///
/// Memory is used only as the stack grows.
const DEFAULT_STACK: usize = 8 << 20;

impl Isolation {
    /// Parses the tokens that follow the option's name.
    fn parse(span: Span, input: ParseStream<'_>) -> Result<Self> {
        let mut isolation = Self { span, keep_on_panic: false, process: false, stack: DEFAULT_STACK };
        if !input.peek(token::Paren) {
            return Ok(isolation);
        }
        let mut stack = None;
        let within;
        parenthesized!(within in input);
        while !within.is_empty() {
            let option: Ident = within.parse()?;
            match option.to_string().as_str() {
                "keep_on_panic" => isolation.keep_on_panic = true,
                "stack" => {
                    stack = Some(option.span());
                    within.parse::<Token![=]>()?;
                    let size: LitStr = within.parse()?;
                    isolation.stack = bytes(&size.value()).ok_or_else(|| {
                        syn::Error::new(
                            size.span(),
                            "the stack size must be a positive whole number with a unit: `\"512 KiB\"`, `\"16 MiB\"`",
                        )
                    })?;
                }
                "process" => isolation.process = true,
                other => {
                    let message = format!(
                        "`isolate` has no option `{other}`; its options are `isolate(process)`, \
                         `isolate(keep_on_panic)` and `isolate(stack = \"16 MiB\")`"
                    );
                    return Err(syn::Error::new(option.span(), message));
                }
            }
            if !within.is_empty() {
                within.parse::<Token![,]>()?;
            }
        }
        match stack {
            Some(span) if isolation.process => Err(syn::Error::new(
                span,
                "`stack` has no effect with `process`, where the body runs on the main thread, whose stack has the size that \
                 `ulimit -s` sets; remove `stack`",
            )),
            _ => Ok(isolation),
        }
    }
}

/// Returns the number of bytes of a size such as `16 MiB`, or `None` if it is zero, too large or not a size.
fn bytes(size: &str) -> Option<usize> {
    let digits = size.trim_end_matches(|letter: char| !letter.is_ascii_digit());
    let unit = match size[digits.len()..].trim() {
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    digits.trim().parse::<usize>().ok()?.checked_mul(unit).filter(|bytes| *bytes > 0)
}

#[cfg(test)]
mod tests {
    use super::{bytes, milliseconds};

    #[test]
    fn size_requires_positive_number_and_unit() {
        assert_eq!(bytes("16 MiB"), Some(16 << 20));
        assert_eq!(bytes("512KiB"), Some(512 << 10));
        for wrong in ["", "16", "MiB", "0 MiB", "1.5 MiB", "16 MB", "99999999999999999999 GiB"] {
            assert_eq!(bytes(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn time_requires_positive_number_and_unit() {
        for (time, expected) in [("500ms", 500), ("30s", 30_000), ("5 min", 300_000), ("2h", 7_200_000)] {
            assert_eq!(milliseconds(time), Some(expected));
        }
        for wrong in ["", "30", "s", "0s", "1.5s", "30 sec", "-1s", "99999999999999999999s", "9999999999999999999h"] {
            assert_eq!(milliseconds(wrong), None, "{wrong}");
        }
    }
}
