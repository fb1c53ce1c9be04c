//! Draws the results as an SVG file with a curve for each metric.

use std::fmt::{self, Display, Formatter};

use crate::{report::Means, study::Metric};

/// Displays the results as an SVG document, with `k` on the horizontal axis and the mean accuracy on the vertical one.
#[derive(Clone, Copy, Debug)]
pub struct Svg<'a>(pub &'a Means);

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 420.0;
/// The margins for labels: left, right, top and bottom.
const MARGINS: (f64, f64, f64, f64) = (70.0, 90.0, 50.0, 50.0);

/// Returns the colour of a metric's curve, from the palette for colour-blind readers of Okabe and Ito, 2008.
fn colour(metric: Metric) -> &'static str {
    match metric {
        Metric::L1 => "#0072b2",
        Metric::L2 => "#d55e00",
        Metric::Linf => "#009e73",
    }
}

/// Maps values to positions in the picture.
struct Scale {
    ks: f64,
    low: f64,
    high: f64,
}

impl Scale {
    fn x(&self, k: f64) -> f64 {
        let (left, right, ..) = MARGINS;
        left + (k - 0.5) / self.ks * (WIDTH - left - right)
    }

    fn y(&self, mean: f64) -> f64 {
        let (.., top, bottom) = MARGINS;
        top + (self.high - mean) / (self.high - self.low) * (HEIGHT - top - bottom)
    }
}

impl Display for Svg<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (low, high) = self.0.range();
        let ks: Vec<f64> = self.0.curve(Metric::L1).map(|(k, _)| number(k)).collect();
        let scale = Scale { ks: number(ks.len()), low, high };
        writeln!(
            f,
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="13">"#
        )?;
        writeln!(f, r#"<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>"#)?;
        let (left, right, top, bottom) = MARGINS;
        let title = "Handwritten digits: accuracy of the k nearest neighbours";
        writeln!(f, r#"<text x="{left}" y="{:.1}" font-size="16">{title}</text>"#, top - 20.0)?;
        for mean in ticks(low, high) {
            let y = scale.y(mean);
            writeln!(f, r##"<path d="M{left} {y:.1}H{:.1}" stroke="#dddddd"/>"##, WIDTH - right)?;
            let x = left - 8.0;
            writeln!(f, r#"<text x="{x:.1}" y="{:.1}" text-anchor="end">{mean:.2}</text>"#, y + 4.0)?;
        }
        let below = HEIGHT - bottom + 18.0;
        for k in ks {
            writeln!(f, r#"<text x="{:.1}" y="{below:.1}" text-anchor="middle">{k}</text>"#, scale.x(k))?;
        }
        let (middle, lowest) = (left + (WIDTH - left - right) / 2.0, HEIGHT - 10.0);
        writeln!(
            f,
            r#"<text x="{middle:.1}" y="{lowest:.1}" text-anchor="middle">k, the number of neighbours that vote</text>"#
        )?;
        Metric::ALL.into_iter().try_for_each(|metric| (*self).curve(f, &scale, metric))?;
        writeln!(f, "</svg>")
    }
}

impl Svg<'_> {
    fn curve(self, f: &mut Formatter<'_>, scale: &Scale, metric: Metric) -> fmt::Result {
        let colour = colour(metric);
        let points: Vec<_> = self.0.curve(metric).map(|(k, mean)| (scale.x(number(k)), scale.y(mean))).collect();
        write!(f, r#"<polyline fill="none" stroke="{colour}" stroke-width="2" points=""#)?;
        points.iter().try_for_each(|(x, y)| write!(f, "{x:.1},{y:.1} "))?;
        writeln!(f, r#""/>"#)?;
        for (x, y) in &points {
            writeln!(f, r#"<circle cx="{x:.1}" cy="{y:.1}" r="3" fill="{colour}"/>"#)?;
        }
        let Some((x, y)) = points.last() else { return Ok(()) };
        writeln!(f, r#"<text x="{:.1}" y="{:.1}" fill="{colour}">{metric}</text>"#, x + 12.0, y + 4.0)
    }
}

/// Returns at most eleven evenly spaced multiples of 0.01 from `low` to `high`.
fn ticks(low: f64, high: f64) -> impl Iterator<Item = f64> {
    let hundredths = ((high - low) * 100.0).round();
    let step = (hundredths / 10.0).ceil().max(1.0);
    std::iter::successors(Some(0.0), move |at| Some(at + step))
        .take_while(move |at| *at <= hundredths)
        .map(move |at| low + at / 100.0)
}

#[allow(clippy::cast_precision_loss)] // The counts are small.
fn number(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::{Svg, ticks};
    use crate::report::{Means, order};

    fn svg() -> String {
        let accuracies: Vec<_> = order().map(|(k, ..)| if k % 2 == 0 { 0.95 } else { 0.9 }).collect();
        Svg(&Means::of(&accuracies)).to_string()
    }

    #[test]
    fn each_metric_has_a_curve_and_a_label() {
        let svg = svg();
        assert_eq!(svg.matches("<polyline").count(), 3);
        assert!(["l1", "l2", "linf"].iter().all(|metric| svg.contains(&format!(">{metric}</text>"))));
    }

    #[test]
    fn each_mean_has_a_dot_within_the_picture() {
        let svg = svg();
        let heights = svg.split("cy=\"").skip(1).map(|rest| rest.split('"').next().unwrap().parse::<f64>().unwrap());
        let heights: Vec<_> = heights.collect();
        assert_eq!(heights.len(), 45);
        assert!(heights.iter().all(|y| (50.0..=370.0).contains(y)));
    }

    #[test]
    fn every_element_is_closed() {
        let svg = svg();
        let opened = svg.matches('<').count() - svg.matches("</").count();
        assert_eq!(opened, svg.matches("</").count() + svg.matches("/>").count());
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    }

    #[test]
    fn there_are_at_most_eleven_ticks() {
        assert_eq!(ticks(0.95, 0.99).count(), 5);
        assert!(ticks(0.0, 1.0).count() <= 11);
    }
}
