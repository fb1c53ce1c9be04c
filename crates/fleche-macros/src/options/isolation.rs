//! The option `isolate`, and what stands in its parentheses.

use proc_macro2::Span;
use syn::{Ident, LitStr, Result, Token, parenthesized, parse::ParseStream, token};

/// How calls are isolated.
pub(crate) struct Isolation {
    /// Where the option stands.
    pub(crate) span: Span,
    pub(crate) keep_on_panic: bool,
    /// Whether they run in processes of their own, rather than on threads.
    pub(crate) process: bool,
    /// In bytes.
    pub(crate) stack: usize,
}

/// As much as the main thread of a program has on Linux, so that isolation ends no recursion. Memory is used as the stack
/// grows.
const DEFAULT_STACK: usize = 8 << 20;

impl Isolation {
    /// Reads what follows the option's name.
    pub(super) fn parse(span: Span, input: ParseStream<'_>) -> Result<Self> {
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
                            "a stack's size is a number with a unit: `\"512 KiB\"`, `\"16 MiB\"`",
                        )
                    })?;
                }
                "process" => isolation.process = true,
                other => {
                    let message = format!(
                        "`isolate` has no option `{other}`; there are `isolate(process)`, \
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
                "in a process of its own, a body runs on the main thread, whose stack is as large as `ulimit -s` says; \
                 leave out `stack`",
            )),
            _ => Ok(isolation),
        }
    }
}

/// The bytes of a size such as `16 MiB`; `None` for other texts, and for nothing.
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
    use super::bytes;

    #[test]
    fn sizes_have_a_number_and_a_unit() {
        assert_eq!(bytes("16 MiB"), Some(16 << 20));
        assert_eq!(bytes("512KiB"), Some(512 << 10));
        for wrong in ["", "16", "MiB", "0 MiB", "1.5 MiB", "16 MB", "99999999999999999999 GiB"] {
            assert_eq!(bytes(wrong), None, "{wrong}");
        }
    }
}
