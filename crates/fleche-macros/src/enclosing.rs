//! Finds what encloses the attribute in its source file.
//!
//! An attribute sees only its item, and inside an `impl` the companion causes one syntax error after another. The source file
//! shows the enclosing block.

use proc_macro::{Delimiter, Span, TokenStream, TokenTree};

/// Stands for the attribute among the tokens of its file.
const MARK: &str = "__fleche_stands_here";

/// Returns whether the attribute stands directly in an `impl` or a `trait`; `false` where that cannot be seen.
pub(crate) fn is_in_impl() -> bool {
    let attribute = Span::call_site();
    // Code in an `impl` is nearly always indented. Where it is not, the compiler's own errors remain.
    if attribute.column() <= 1 {
        return false;
    }
    let source = attribute.local_file().and_then(|file| std::fs::read_to_string(file).ok());
    source.is_some_and(|source| is_in_impl_at(&source, attribute.line(), attribute.column()).unwrap_or(false))
}

/// The same for an attribute at this line and column of the source; `None` where there is none.
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
    // Tokens that are parsed from text have no place in the file, so the attribute's place is marked.
    is_mark_in_impl(format!("{before} {MARK} {after}").parse().ok()?, false)
}

/// Returns whether it is worth looking at the tokens: the line that opens the enclosing block, by its indentation, has an `impl`
/// or a `trait`, or ends a header of several lines.
fn may_be_in_impl(before: &str) -> bool {
    let indentation = |line: &str| line.len() - line.trim_start().len();
    let mut lines = before.lines().rev();
    let own = lines.next().map_or(0, indentation);
    let opening = lines.find(|line| !line.trim().is_empty() && indentation(line) < own);
    opening.is_some_and(|line| line.contains("impl") || line.contains("trait") || line.trim() == "{")
}

/// Returns whether the mark stands directly in an `impl` or a `trait`; `None` where these tokens do not have it.
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

/// What items and statements begin with that may have an `impl` further on: `fn f() -> impl Trait { … }`.
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
