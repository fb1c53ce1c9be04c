//! Draws the chart of targets as SVG: one bar per target, whose length is the used fraction of the limit.

use std::fmt::Write as _;

use crate::table::Report;

// The widths of the three columns and the heights of a line and of the head, in pixels.
const LABELS: f64 = 470.0;
const BARS: f64 = 360.0;
const OUTCOMES: f64 = 250.0;
const LINE: f64 = 22.0;
const HEAD: f64 = 40.0;

/// The fraction of the limit at which bars are cut off and marked with an arrow.
const LONGEST: f64 = 2.0;

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
    let target = LABELS + BARS / LONGEST;
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
        let (class, goes_on) = (if part.is_met() { "met" } else { "missed" }, if used > LONGEST { " ▸" } else { "" });
        let bar = BARS * used.clamp(0.0, LONGEST) / LONGEST;
        let label = plain(&format!("{name}: {}", row.title()));
        add(format_args!(r#"<text x="{}" y="{}" text-anchor="end">{label}</text>"#, LABELS - 8.0, y + 12.0));
        add(format_args!(r#"<rect class="{class}" x="{LABELS}" y="{y}" width="{bar:.1}" height="14" rx="2"/>"#));
        let outcome = plain(&row.outcome());
        add(format_args!(r#"<text x="{}" y="{}">{outcome}{goes_on}</text>"#, LABELS + BARS + 8.0, y + 12.0));
    }
    let end = height - 6.0;
    add(format_args!(r#"<line class="line" x1="{target}" y1="22" x2="{target}" y2="{end}" stroke-dasharray="4 3"/>"#));
    add(format_args!("</svg>"));
    svg
}

/// Escapes the text for XML and removes Markdown's backticks.
fn plain(text: &str) -> String {
    text.replace('`', "").replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{Row, Table};

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
