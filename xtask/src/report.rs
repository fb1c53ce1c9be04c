//! Formats results as text: the matrix of backends and cases, and the generated tables inside documents that are otherwise
//! written by people.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use fleche_conformance::Report;

/// Formats one row for each case and one column for each backend, followed by the counts and the full failures.
pub(crate) fn matrix(reports: &[Report]) -> String {
    let Some(first) = reports.first() else { return "no backend\n".to_owned() };
    let names: Vec<_> = first.outcomes.iter().map(|outcome| outcome.case).collect();
    let mut rows =
        vec![std::iter::once("case".to_owned()).chain(reports.iter().map(|report| report.name.to_owned())).collect()];
    for name in names {
        let mut row = vec![name.to_owned()];
        row.extend(reports.iter().map(|report| match report.outcome(name) {
            None => "not run".to_owned(),
            Some(outcome) => {
                format!("{} {:.2} s", if outcome.failure.is_none() { '✓' } else { '✗' }, outcome.seconds)
            }
        }));
        rows.push(row);
    }
    let counts = reports.iter().map(|report| {
        let seconds: f64 = report.outcomes.iter().map(|outcome| outcome.seconds).sum();
        format!("{}/{} in {seconds:.1} s", report.outcomes.len() - report.failures().count(), report.outcomes.len())
    });
    rows.push(std::iter::once("passed".to_owned()).chain(counts).collect());
    let mut text = aligned(&rows);
    for report in reports {
        for outcome in report.failures() {
            let failure = outcome.failure.as_deref().unwrap_or_default().replace('\n', "\n    ");
            let _ = writeln!(text, "\n✗ {} {}\n    {failure}", report.name, outcome.case);
        }
    }
    text
}

/// Formats the rows as a table with aligned columns.
pub(crate) fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<_> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:<width$}  ");
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

/// The document with the generated tables of figures.
pub(crate) const PERFORMANCE: &str = "docs/performance.md";

/// Returns the path of a file of this workspace, given relative to its root.
pub(crate) fn workspace_file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name(path)
}

/// Replaces the text between the lines `<!-- NAME: begin -->` and `<!-- NAME: end -->` of the document.
///
/// # Errors
/// Fails if the document cannot be read or written, or does not contain these lines.
pub(crate) fn update_document(document: &str, name: &str, between: &str) -> Result<(), String> {
    let document = workspace_file(document);
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
    use fleche_conformance::Outcome;

    use super::*;

    #[test]
    fn columns_are_aligned_and_failures_are_listed_below() {
        let outcome = |case, failure: Option<&str>| Outcome { case, seconds: 0.5, failure: failure.map(str::to_owned) };
        let text = matrix(&[
            Report { name: "memory", outcomes: vec![outcome("a", None), outcome("a::longer", None)] },
            Report { name: "f", outcomes: vec![outcome("a", Some("one\ntwo")), outcome("a::longer", None)] },
        ]);
        let expected = "\
case       memory        f
a          ✓ 0.50 s      ✗ 0.50 s
a::longer  ✓ 0.50 s      ✓ 0.50 s
passed     2/2 in 1.0 s  1/2 in 1.0 s

✗ f a
    one
    two
";
        assert_eq!(text, expected);
    }

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
