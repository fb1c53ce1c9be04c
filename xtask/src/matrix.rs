//! Formats the matrix of backends and cases as text.

use std::fmt::Write as _;

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
}
