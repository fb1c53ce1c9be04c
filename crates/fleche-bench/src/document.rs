//! `docs/performance.md`: where the table and its chart are kept.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{chart, table::Report};

/// What is written stands between these two lines; all around is written by hand.
const BEGIN: &str = "<!-- bench: begin, by `cargo xtask bench --write` -->";
const END: &str = "<!-- bench: end -->";

/// Puts what was found into the document, and its chart beside it.
///
/// # Errors
/// Where the document cannot be read or written, or has no place for the table.
pub(crate) fn write(header: &str, report: &Report) -> Result<(), String> {
    let document = docs().join("performance.md");
    let text = fs::read_to_string(&document).map_err(|error| format!("cannot read {}: {error}", document.display()))?;
    let text = replaced(&text, &format!("{header}\n{report}"))
        .ok_or_else(|| format!("{} has no lines `{BEGIN}` and `{END}` to write between", document.display()))?;
    let chart = docs().join("performance.svg");
    for (path, content) in [(&document, text), (&chart, chart::svg(report))] {
        fs::write(path, content).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        eprintln!("wrote {}", path.display());
    }
    Ok(())
}

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").canonicalize().unwrap_or_else(|_| PathBuf::from("docs"))
}

/// The text with this between the two lines.
fn replaced(text: &str, between: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n\n{}\n\n{END}{after}", between.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_lines_is_replaced() {
        let text = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        let new = replaced(&text, "new\n").unwrap();
        assert_eq!(new, format!("before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"));
        assert_eq!(replaced(&new, "new"), Some(new.clone()));
        assert_eq!(replaced("nothing", "new"), None);
    }
}
