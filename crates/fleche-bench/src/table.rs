//! The table of figures.

use std::fmt;

/// A row: what was measured, the figure, and what it is held against.
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) figure: String,
    /// The target and whether it is met; `None` for figures that only say how others are to be read.
    pub(crate) target: Option<(String, bool)>,
}

impl Row {
    /// So many calls a second, held against a target where there is one.
    pub(crate) fn rate(what: impl Into<String>, rate: f64, target: Option<f64>) -> Self {
        let target = target.map(|target| (format!("≥ {} /s", grouped(target)), rate >= target));
        Self { what: what.into(), figure: format!("{} /s", grouped(rate)), target }
    }

    /// So many seconds.
    pub(crate) fn time(what: impl Into<String>, seconds: f64) -> Self {
        Self { what: what.into(), figure: format!("{:.2} µs", seconds * 1e6), target: None }
    }

    /// So many seconds, held against a target.
    pub(crate) fn within(what: impl Into<String>, seconds: f64, target: f64) -> Self {
        let row = Self::time(what, seconds);
        Self { target: Some((format!("≤ {:.2} µs", target * 1e6), seconds <= target)), ..row }
    }

    /// How many times as long as its peer something takes, held against a target.
    pub(crate) fn held(what: impl Into<String>, ratio: f64, target: f64) -> Self {
        let row = Self::ratio(what, ratio);
        Self { target: Some((format!("≤ {target} ×"), ratio <= target)), ..row }
    }

    /// How many times as much as its peer something does, held against a target.
    pub(crate) fn at_least(what: impl Into<String>, ratio: f64, target: f64) -> Self {
        let row = Self::ratio(what, ratio);
        Self { target: Some((format!("≥ {target} ×"), ratio >= target)), ..row }
    }

    /// So many.
    pub(crate) fn count(what: impl Into<String>, count: f64) -> Self {
        Self { what: what.into(), figure: grouped(count), target: None }
    }

    /// So many seconds, and how many times as long as its peer.
    pub(crate) fn beside(what: impl Into<String>, seconds: f64, peer: f64) -> Self {
        let row = Self::time(what, seconds);
        Self { figure: format!("{}, {:.2} ×", row.figure, seconds / peer), ..row }
    }

    /// How many times as long as its peer something takes.
    pub(crate) fn ratio(what: impl Into<String>, ratio: f64) -> Self {
        Self { what: what.into(), figure: format!("{ratio:.2} ×"), target: None }
    }
}

/// Rows, in Markdown.
pub(crate) struct Table(pub(crate) Vec<Row>);

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| what | measured | target |\n|---|---:|---|")?;
        for Row { what, figure, target } in &self.0 {
            match target {
                None => writeln!(f, "| {what} | {figure} | |")?,
                Some((target, met)) => {
                    writeln!(f, "| {what} | {figure} | {target} {} |", if *met { '✓' } else { '✗' })?;
                }
            }
        }
        Ok(())
    }
}

/// With a space after each three digits.
fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_whether_its_target_is_met() {
        let table = Table(vec![
            Row::rate("met", 1_234_567.8, Some(50_000.0)),
            Row::rate("missed", 12.0, Some(50.0)),
            Row::ratio("peer", 1.5),
        ]);
        let expected = "\
| what | measured | target |
|---|---:|---|
| met | 1 234 568 /s | ≥ 50 000 /s ✓ |
| missed | 12 /s | ≥ 50 /s ✗ |
| peer | 1.50 × | |
";
        assert_eq!(table.to_string(), expected);
    }
}
