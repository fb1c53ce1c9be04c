//! Updates the generated tables inside documents that are otherwise written by people.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The document with the generated tables of figures.
pub(crate) const PERFORMANCE: &str = "docs/performance.md";

/// Returns the path of a file of this workspace, given relative to its root.
pub(crate) fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name(path)
}

/// Replaces the text between the lines `<!-- NAME: begin -->` and `<!-- NAME: end -->` of the document.
///
/// # Errors
/// Fails if the document cannot be read or written, or does not contain these lines.
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
    fn only_text_between_the_markers_is_replaced() {
        let text = "before\n<!-- a: begin -->\nold\n<!-- a: end -->\nafter\n<!-- b: begin -->\n<!-- b: end -->\n";
        let new = replaced(text, "a", "new\n").unwrap();
        let expected =
            "before\n<!-- a: begin -->\n\nnew\n\n<!-- a: end -->\nafter\n<!-- b: begin -->\n<!-- b: end -->\n";
        assert_eq!(new, expected);
        assert_eq!(replaced(&new, "a", "new"), Some(new.clone()));
        assert_eq!(replaced(text, "c", "new"), None);
    }
}
