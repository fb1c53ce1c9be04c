//! Detects whether the attribute is used inside an `impl` or a `trait`.
//!
//! An attribute macro sees only its item, and inside an `impl` the companion type would cause a series of syntax errors. The
//! source file shows the enclosing block.

use proc_macro::{Delimiter, Span, TokenStream, TokenTree};

/// The identifier inserted at the attribute's position before its file is parsed into tokens.
const MARK: &str = "__fleche_stands_here";

/// Returns whether the attribute is directly inside an `impl` or a `trait`, or `false` if that cannot be determined.
pub(crate) fn is_in_impl() -> bool {
    let attribute = Span::call_site();
    // Code in an `impl` is nearly always indented. If it is not, the compiler reports its own errors.
    if attribute.column() <= 1 {
        return false;
    }
    let source = attribute.local_file().and_then(|file| std::fs::read_to_string(file).ok());
    source.is_some_and(|source| is_in_impl_at(&source, attribute.line(), attribute.column()).unwrap_or(false))
}

/// Returns whether an attribute at this line and column of the source is directly inside an `impl` or a `trait`.
///
/// Returns `None` if the position is outside the source, or the source cannot be parsed.
fn is_in_impl_at(source: &str, line: usize, column: usize) -> Option<bool> {
    let mut ends = source.split_inclusive('\n').scan(0, |end, line| {
        *end += line.len();
        Some(*end)
    });
    let start = if line == 1 { 0 } else { ends.nth(line - 2)? };
    let at = start + source[start..].char_indices().nth(column - 1)?.0;
    let (before, after) = source.split_at(at);
    if !after.starts_with('#') || !may_be_in_impl(before) {
        return Some(false);
    }
    // Tokens parsed from text carry no positions of the file, so the attribute's position is marked.
    is_mark_in_impl(format!("{before} {MARK} {after}").parse().ok()?, false)
}

/// Returns whether the tokens need to be parsed.
///
/// They do if the line that opens the enclosing block, judged by indentation, contains `impl` or `trait`, or is a lone `{`
/// that ends a header of several lines.
fn may_be_in_impl(before: &str) -> bool {
    let indentation = |line: &str| line.len() - line.trim_start().len();
    let mut lines = before.lines().rev();
    let own = lines.next().map_or(0, indentation);
    let opening = lines.find(|line| !line.trim().is_empty() && indentation(line) < own);
    opening.is_some_and(|line| line.contains("impl") || line.contains("trait") || line.trim() == "{")
}

/// Returns whether [`MARK`] is directly inside an `impl` or a `trait`, or `None` if these tokens do not contain it.
fn is_mark_in_impl(tokens: TokenStream, in_impl: bool) -> Option<bool> {
    // The first keyword of the current item or statement.
    let mut keyword = None;
    for token in tokens {
        match token {
            TokenTree::Punct(punct) if punct.as_char() == ';' => keyword = None,
            TokenTree::Ident(ident) => {
                let ident = ident.to_string();
                if ident == MARK {
                    return Some(in_impl);
                }
                if keyword.is_none() && KEYWORDS.contains(&&*ident) {
                    keyword = Some(ident);
                }
            }
            TokenTree::Group(group) => {
                let is_block = group.delimiter() == Delimiter::Brace;
                let in_impl = is_block && matches!(keyword.as_deref(), Some("impl" | "trait"));
                if let Some(found) = is_mark_in_impl(group.stream(), in_impl) {
                    return Some(found);
                }
                if is_block {
                    keyword = None;
                }
            }
            _ => {}
        }
    }
    None
}

/// The first keywords of items and statements that may contain `impl` later, as in `fn f() -> impl Trait { … }`.
const KEYWORDS: [&str; 16] = [
    "impl",
    "trait",
    "fn",
    "const",
    "static",
    "type",
    "struct",
    "enum",
    "union",
    "mod",
    "macro_rules",
    "let",
    "match",
    "if",
    "return",
    "for",
];
