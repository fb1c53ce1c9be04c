//! Documents with tables that commands write, in text that is written by hand.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Where the tables stand.
pub(crate) const PERFORMANCE: &str = "docs/performance.md";

/// A file of this workspace.
pub(crate) fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name(path)
}

/// Puts this into the document, between the lines `<!-- NAME: begin -->` and `<!-- NAME: end -->`.
///
/// # Errors
/// Where the document cannot be read or written, or does not have these lines.
pub(crate) fn write(document: &str, name: &str, between: &str) -> Result<(), String> {
    let document = file(document);
    let text = fs::read_to_string(&document).map_err(|error| format!("cannot read {}: {error}", document.display()))?;
    let text = replaced(&text, name, between)
        .ok_or_else(|| format!("{} has no lines `{}` and `{}`", document.display(), begin(name), end(name)))?;
    fs::write(&document, text).map_err(|error| format!("cannot write {}: {error}", document.display()))?;
    println!("wrote {}", document.display());
    Ok(())
}

fn begin(name: &str) -> String {
    format!("<!-- {name}: begin -->")
}

fn end(name: &str) -> String {
    format!("<!-- {name}: end -->")
}

fn replaced(text: &str, name: &str, between: &str) -> Option<String> {
    let (begin, end) = (begin(name), end(name));
    let (before, rest) = text.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!("{before}{begin}\n\n{}\n\n{end}{after}", between.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_lines_is_replaced() {
        let text = "before\n<!-- a: begin -->\nold\n<!-- a: end -->\nafter\n<!-- b: begin -->\n<!-- b: end -->\n";
        let new = replaced(text, "a", "new\n").unwrap();
        let expected =
            "before\n<!-- a: begin -->\n\nnew\n\n<!-- a: end -->\nafter\n<!-- b: begin -->\n<!-- b: end -->\n";
        assert_eq!(new, expected);
        assert_eq!(replaced(&new, "a", "new"), Some(new.clone()));
        assert_eq!(replaced(text, "c", "new"), None);
    }
}
