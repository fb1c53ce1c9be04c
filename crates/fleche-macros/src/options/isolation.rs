//! Parses the option `isolate` and its own options.

use proc_macro2::Span;
use syn::{Ident, LitStr, Result, Token, parenthesized, parse::ParseStream, token};

/// How calls are isolated.
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
    use super::bytes;

    #[test]
    fn size_requires_positive_number_and_unit() {
        assert_eq!(bytes("16 MiB"), Some(16 << 20));
        assert_eq!(bytes("512KiB"), Some(512 << 10));
        for wrong in ["", "16", "MiB", "0 MiB", "1.5 MiB", "16 MB", "99999999999999999999 GiB"] {
            assert_eq!(bytes(wrong), None, "{wrong}");
        }
    }
}
