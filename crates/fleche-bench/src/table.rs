//! Rows of figures, the Markdown table of a report, and its chart as SVG: one bar per target, whose length is the used
//! fraction of the limit.

use std::fmt::{self, Write as _};

/// A row: the name of the measurement, the figure, the peer that it is compared with, and the target.
#[derive(Debug, Default)]
pub(crate) struct Row {
    pub(crate) what: String,
    /// The figure of fleche, or of the peer if the row is about the peer alone.
    pub(crate) figure: String,
    /// The peer's name and its figure.
    pub(crate) peer: String,
    /// The peer's name if two figures are compared, else empty.
    pub(crate) against: String,
    /// The ratio of the two figures.
    pub(crate) ratio: String,
    /// The target, or `None` for figures that only help to read others.
    pub(crate) target: Option<Target>,
}

/// The limit that a figure has to meet.
#[derive(Debug)]
pub(crate) struct Target {
    shown: String,
    /// The used fraction of the limit: at 1 the target is just met, above 1 it is missed.
    used: f64,
}

impl Target {
    fn at_most(figure: f64, most: f64, shown: String) -> Self {
        Self { shown, used: figure / most }
    }

    fn at_least(figure: f64, least: f64, shown: String) -> Self {
        Self { shown, used: least / figure }
    }

    /// Returns the used fraction of the limit: at 1 the target is just met, above 1 it is missed.
    pub(crate) fn used(&self) -> f64 {
        self.used
    }

    pub(crate) fn is_met(&self) -> bool {
        self.used <= 1.0
    }

    fn mark(&self) -> char {
        if self.is_met() { '✓' } else { '✗' }
    }
}

impl Row {
    /// Creates a row of seconds, compared with those of a peer, with an optional target for the ratio.
    pub(crate) fn against(
        what: impl Into<String>,
        seconds: f64,
        (peer, of_peer): (&str, f64),
        target: impl Into<Option<f64>>,
    ) -> Self {
        let (what, ratio) = (what.into(), seconds / of_peer);
        let row = match target.into() {
            Some(target) => Self::held(what, ratio, target),
            None => Self::ratio(what, ratio),
        };
        Self { figure: time(seconds), peer: format!("{peer}: {}", time(of_peer)), against: peer.to_owned(), ..row }
    }

    /// Creates a row of calls per second, with an optional target.
    pub(crate) fn rate(what: impl Into<String>, rate: f64, target: Option<f64>) -> Self {
        let target = target.map(|target| Target::at_least(rate, target, format!("≥ {} /s", grouped(target))));
        Self { what: what.into(), figure: format!("{} /s", grouped(rate)), target, ..Self::default() }
    }

    /// Creates a row of seconds without a target.
    pub(crate) fn time(what: impl Into<String>, seconds: f64) -> Self {
        Self { what: what.into(), figure: time(seconds), ..Self::default() }
    }

    /// Creates a row of seconds with a target.
    pub(crate) fn within(what: impl Into<String>, seconds: f64, target: f64) -> Self {
        let target = Target::at_most(seconds, target, format!("≤ {}", limit(target)));
        Self { target: Some(target), ..Self::time(what, seconds) }
    }

    /// Creates a row of memory in MiB, with an optional target.
    pub(crate) fn memory(what: impl Into<String>, mebibytes: f64, most: Option<f64>) -> Self {
        let target = most.map(|most| Target::at_most(mebibytes, most, format!("≤ {most} MiB")));
        Self { what: what.into(), figure: format!("{mebibytes:.1} MiB"), target, ..Self::default() }
    }

    /// Creates a row of a ratio with an upper limit, such as a time relative to the peer's.
    pub(crate) fn held(what: impl Into<String>, ratio: f64, target: f64) -> Self {
        let row = Self::ratio(what, ratio);
        Self { target: Some(Target::at_most(ratio, target, format!("≤ {target} ×"))), ..row }
    }

    /// Creates a row of a ratio with a lower limit, such as a rate relative to the peer's.
    pub(crate) fn at_least(what: impl Into<String>, ratio: f64, target: f64) -> Self {
        let row = Self::ratio(what, ratio);
        Self { target: Some(Target::at_least(ratio, target, format!("≥ {target} ×"))), ..row }
    }

    /// Creates a row of a count.
    pub(crate) fn count(what: impl Into<String>, count: f64) -> Self {
        Self { what: what.into(), figure: grouped(count), ..Self::default() }
    }

    /// Creates a row of a ratio without a target.
    pub(crate) fn ratio(what: impl Into<String>, ratio: f64) -> Self {
        Self { what: what.into(), ratio: format!("{ratio:.2} ×"), ..Self::default() }
    }

    /// Sets the text of the peer's column.
    pub(crate) fn with_peer(self, peer: impl Into<String>) -> Self {
        Self { peer: peer.into(), ..self }
    }

    /// Returns the name of the measurement and of the peer that it is compared with.
    pub(crate) fn title(&self) -> String {
        if self.against.is_empty() { self.what.clone() } else { format!("{} / {}", self.what, self.against) }
    }

    /// Returns the ratio, or else the figure, with the target and whether it is met.
    pub(crate) fn outcome(&self) -> String {
        let figure = if self.ratio.is_empty() { &self.figure } else { &self.ratio };
        match &self.target {
            Some(target) => format!("{figure} (target {}) {}", target.shown, target.mark()),
            None => figure.clone(),
        }
    }
}

/// The rows of one benchmark.
pub(crate) struct Table(pub(crate) Vec<Row>);

/// The tables of all benchmarks that were run, by name. Displayed as one Markdown table.
pub(crate) struct Report(pub(crate) Vec<(&'static str, Table)>);

impl Report {
    /// Returns every row with the name of its benchmark.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (&'static str, &Row)> {
        self.0.iter().flat_map(|(name, table)| table.0.iter().map(|row| (*name, row)))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "| benchmark | what | fleche | beside it | ratio | target | |\n|---|---|---:|---:|---:|---:|---|\n",
        )?;
        for (name, Row { what, figure, peer, ratio, target, .. }) in self.rows() {
            let mut ends = String::from("| |");
            if let Some(target) = target {
                ends.clear();
                write!(ends, "{} | {} |", target.shown, target.mark())?;
            }
            writeln!(f, "| {name} | {what} | {figure} | {peer} | {ratio} | {ends}")?;
        }
        Ok(())
    }
}

/// Formats a time with three significant digits, in a suitable unit.
fn time(seconds: f64) -> String {
    let (scaled, unit) = in_unit(seconds);
    let digits = usize::from(scaled.abs() < 100.0) + usize::from(scaled.abs() < 10.0);
    format!("{scaled:.digits$} {unit}")
}

/// Formats a limit in a suitable unit, without trailing zeros.
fn limit(seconds: f64) -> String {
    let (scaled, unit) = in_unit(seconds);
    format!("{} {unit}", (scaled * 1e3).round() / 1e3)
}

fn in_unit(seconds: f64) -> (f64, &'static str) {
    match seconds.abs() {
        below if below < 1e-6 => (seconds * 1e9, "ns"),
        below if below < 1e-3 => (seconds * 1e6, "µs"),
        below if below < 1.0 => (seconds * 1e3, "ms"),
        _ => (seconds, "s"),
    }
}

/// Formats a number with a space between groups of three digits.
fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(" ")
}

// The widths of the three columns and the heights of a line and of the head, in pixels.
const LABELS: f64 = 470.0;
const BARS: f64 = 360.0;
const OUTCOMES: f64 = 250.0;
const LINE: f64 = 22.0;
const HEAD: f64 = 40.0;

/// The fraction of the limit at which bars are cut off and marked with an arrow.
const MAX_FRACTION: f64 = 2.0;

/// The style sheet, with colours for light and for dark mode.
const STYLE: &str = "\
text { font: 12px system-ui, sans-serif; fill: #24292f; } \
.met { fill: #1a7f6e; } .missed { fill: #c4541a; } .line { stroke: #24292f; } \
@media (prefers-color-scheme: dark) { text { fill: #d0d7de; } .met { fill: #3fb9a2; } .missed { fill: #f0883e; } \
.line { stroke: #d0d7de; } }";

/// Returns the chart of all rows that have a target.
pub(crate) fn svg(report: &Report) -> String {
    let rows: Vec<_> = report.rows().filter_map(|(name, row)| Some((name, row, row.target.as_ref()?))).collect();
    #[allow(clippy::cast_precision_loss)] // There are only dozens of rows.
    let at = |nth: usize| HEAD + nth as f64 * LINE;
    let (width, height) = (LABELS + BARS + OUTCOMES, at(rows.len()) + 10.0);
    let target = LABELS + BARS / MAX_FRACTION;
    let mut svg = String::new();
    let mut add = |line: std::fmt::Arguments<'_>| {
        let _ = writeln!(svg, "{line}");
    };
    add(format_args!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">"#
    ));
    add(format_args!("<title>The used fraction of each target; bars beyond the line miss their target</title>"));
    add(format_args!("<style>{STYLE}</style>"));
    add(format_args!(r#"<text x="{target}" y="16" text-anchor="middle">target</text>"#));
    for (nth, (name, row, part)) in rows.into_iter().enumerate() {
        let (y, used) = (at(nth), part.used());
        let (class, goes_on) =
            (if part.is_met() { "met" } else { "missed" }, if used > MAX_FRACTION { " ▸" } else { "" });
        let bar = BARS * used.clamp(0.0, MAX_FRACTION) / MAX_FRACTION;
        let label = without_markup(&format!("{name}: {}", row.title()));
        add(format_args!(r#"<text x="{}" y="{}" text-anchor="end">{label}</text>"#, LABELS - 8.0, y + 12.0));
        add(format_args!(r#"<rect class="{class}" x="{LABELS}" y="{y}" width="{bar:.1}" height="14" rx="2"/>"#));
        let outcome = without_markup(&row.outcome());
        add(format_args!(r#"<text x="{}" y="{}">{outcome}{goes_on}</text>"#, LABELS + BARS + 8.0, y + 12.0));
    }
    let end = height - 6.0;
    add(format_args!(r#"<line class="line" x1="{target}" y1="22" x2="{target}" y2="{end}" stroke-dasharray="4 3"/>"#));
    add(format_args!("</svg>"));
    svg
}

/// Escapes the text for XML and removes Markdown's backticks.
fn without_markup(text: &str) -> String {
    text.replace('`', "").replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{Row, Table};

    #[test]
    fn row_shows_whether_its_target_is_met() {
        let table = Table(vec![
            Row::rate("rate", 1_234_567.8, Some(50_000.0)),
            Row::rate("low rate", 12.0, Some(50.0)),
            Row::ratio("ratio", 1.5).with_peer("a peer"),
            Row::against("beside", 36e-9, ("`peer`", 24e-9), 1.2),
            Row::within("limit", 1.5e-6, 600e-9),
            Row::at_least("more", 1.9, 1.8),
        ]);
        let expected = "\
| benchmark | what | fleche | beside it | ratio | target | |
|---|---|---:|---:|---:|---:|---|
| one | rate | 1 234 568 /s |  |  | ≥ 50 000 /s | ✓ |
| one | low rate | 12 /s |  |  | ≥ 50 /s | ✗ |
| one | ratio |  | a peer | 1.50 × | | |
| one | beside | 36.0 ns | `peer`: 24.0 ns | 1.50 × | ≤ 1.2 × | ✗ |
| one | limit | 1.50 µs |  |  | ≤ 600 ns | ✗ |
| one | more |  |  | 1.90 × | ≥ 1.8 × | ✓ |
";
        assert_eq!(Report(vec![("one", table)]).to_string(), expected);
    }

    #[test]
    fn used_fraction_exceeds_one_if_target_is_missed() {
        let used = |row: &Row| row.target.as_ref().map(Target::used);
        assert_eq!(used(&Row::held("", 3.0, 1.5)), Some(2.0));
        assert_eq!(used(&Row::at_least("", 0.5, 1.5)), Some(3.0));
        assert_eq!(used(&Row::ratio("", 1.0)), None);
        assert_eq!(Row::held("", 3.0, 1.5).outcome(), "3.00 × (target ≤ 1.5 ×) ✗");
    }

    #[test]
    fn each_target_has_a_bar_and_missed_ones_pass_the_line() {
        let rows = vec![
            Row::held("half of it", 1.0, 2.0),
            Row::ratio("no target", 1.0),
            Row::held("a hit of `&str`", 9.0, 1.0),
        ];
        let svg = svg(&Report(vec![("hits", Table(rows))]));
        assert_eq!(svg.matches("<rect").count(), 2);
        assert!(svg.contains(r#"class="met" x="470" y="40" width="90.0""#), "{svg}");
        assert!(svg.contains(r#"class="missed" x="470" y="62" width="360.0""#), "{svg}");
        assert!(svg.contains("hits: a hit of &amp;str</text>") && svg.contains("(target ≤ 1 ×) ✗ ▸"), "{svg}");
    }
}
