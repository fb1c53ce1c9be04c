//! Formats the results as text: a table, and a chart of plain characters.

use std::fmt::{self, Display, Formatter};

use crate::{
    data::FOLDS,
    study::{MOST_VOTERS, Metric},
};

/// Mean accuracies over the folds, for each `k` and metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Means(Vec<[f64; METRICS]>);

const METRICS: usize = Metric::ALL.len();

impl Means {
    /// Computes the means of accuracies that are in the order of [`order`].
    pub fn of(accuracies: &[f64]) -> Self {
        #[allow(clippy::cast_precision_loss)] // There are only a few folds.
        let means: Vec<f64> = accuracies.chunks(FOLDS).map(|folds| folds.iter().sum::<f64>() / FOLDS as f64).collect();
        Self(means.as_chunks().0.to_vec())
    }

    /// Returns the curve of one metric: pairs of `k` and the mean accuracy, in ascending order of `k`.
    pub fn curve(&self, metric: Metric) -> impl Iterator<Item = (usize, f64)> {
        let column = Metric::ALL.iter().position(|other| *other == metric);
        self.0.iter().enumerate().filter_map(move |(row, means)| Some((row + 1, means[column?])))
    }

    /// Returns the range of a chart: the smallest and the largest mean, rounded outward to multiples of 0.01.
    pub fn range(&self) -> (f64, f64) {
        let all = || self.0.iter().flatten().copied();
        let (low, high) = (all().fold(1.0, f64::min), all().fold(0.0, f64::max));
        let (low, high) = ((low * 100.0).floor() / 100.0, (high * 100.0).ceil() / 100.0);
        if low < high { (low, high) } else { (low - 0.01, low) }
    }
}

/// Returns the arguments `k`, fold and metric of the study's calls, in the order in which [`Means::of`] takes their results.
pub fn order() -> impl Iterator<Item = (usize, usize, Metric)> {
    (1..=MOST_VOTERS)
        .flat_map(|k| Metric::ALL.into_iter().flat_map(move |metric| (0..FOLDS).map(move |fold| (k, fold, metric))))
}

/// Displays a table with a row for each `k` and a column for each metric.
impl Display for Means {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, " k")?;
        Metric::ALL.iter().try_for_each(|metric| write!(f, "{metric:>8}"))?;
        for (row, means) in self.0.iter().enumerate() {
            write!(f, "\n{:>2}", row + 1)?;
            means.iter().try_for_each(|mean| write!(f, "{mean:>8.4}"))?;
        }
        Ok(())
    }
}

/// Displays a chart of plain characters, with `k` on the horizontal axis and the mean accuracy on the vertical one.
#[derive(Clone, Copy, Debug)]
pub struct Plot<'a>(pub &'a Means);

/// The number of lines of a chart.
const HEIGHT: usize = 13;
/// The number of characters from one `k` to the next.
const STEP: usize = 4;

/// Returns the character that represents a metric.
fn mark(metric: Metric) -> char {
    match metric {
        Metric::L1 => '1',
        Metric::L2 => '2',
        Metric::Linf => 'm',
    }
}

impl Display for Plot<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (low, high) = self.0.range();
        let width = STEP * self.0.0.len();
        let mut lines = vec![vec![' '; width]; HEIGHT];
        for metric in Metric::ALL {
            for (k, mean) in self.0.curve(metric) {
                let place = &mut lines[line_of(mean, low, high)][STEP * k - STEP / 2];
                *place = if *place == ' ' { mark(metric) } else { '*' };
            }
        }
        for (number, line) in lines.iter().enumerate() {
            #[allow(clippy::cast_precision_loss)] // There are only a few lines.
            let value = high - (high - low) * number as f64 / (HEIGHT - 1) as f64;
            let label = if number % 3 == 0 { format!("{value:.3}") } else { String::new() };
            let line: String = line.iter().collect();
            writeln!(f, "{label:>7} |{}", line.trim_end())?;
        }
        writeln!(f, "{:>7} +{}", "", "-".repeat(width))?;
        write!(f, "{:>7}  ", "")?;
        (1..=self.0.0.len()).try_for_each(|k| write!(f, "{k:^STEP$}"))?;
        writeln!(f, "k")?;
        let legend = Metric::ALL.map(|metric| format!("{} = {metric}", mark(metric))).join(", ");
        write!(f, "{:>7}  mean accuracy: {legend}, * = several", "")
    }
}

/// Returns the line of a chart, counted from the top, that shows this mean.
#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, clippy::cast_sign_loss)]
fn line_of(mean: f64, low: f64, high: f64) -> usize {
    // The result is between 0 and HEIGHT - 1, since the mean is within the range. The cast saturates.
    (((high - mean) / (high - low) * (HEIGHT - 1) as f64).round() as usize).min(HEIGHT - 1)
}

#[cfg(test)]
mod tests {
    use super::{Means, Plot, order};
    use crate::{
        data::FOLDS,
        study::{MOST_VOTERS, Metric},
    };

    /// Returns means of 0.80, 0.81 or 0.82, depending on `k` modulo 3, and 0.1 more for the metric `l2`.
    fn means() -> Means {
        let accuracy = |(k, fold, metric): (usize, usize, Metric)| {
            let of_folds = [-0.02, -0.01, 0.0, 0.01, 0.02][fold];
            [0.8, 0.81, 0.82][k % 3] + of_folds + if metric == Metric::L2 { 0.1 } else { 0.0 }
        };
        Means::of(&order().map(accuracy).collect::<Vec<_>>())
    }

    #[test]
    fn order_contains_every_call() {
        assert_eq!(order().count(), MOST_VOTERS * FOLDS * Metric::ALL.len());
    }

    #[test]
    fn means_are_taken_over_the_folds() {
        let curve: Vec<_> = means().curve(Metric::L2).take(2).map(|(k, mean)| format!("{k} {mean:.4}")).collect();
        assert_eq!(curve, ["1 0.9100", "2 0.9200"]);
    }

    #[test]
    fn table_has_a_row_for_each_k_and_a_column_for_each_metric() {
        let table = means().to_string();
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines.len(), 1 + MOST_VOTERS);
        assert_eq!(lines[0], " k      l1      l2    linf");
        assert_eq!(lines[1], " 1  0.8100  0.9100  0.8100");
        assert_eq!(lines[15], "15  0.8000  0.9000  0.8000");
    }

    #[test]
    fn range_is_rounded_outward_to_hundredths() {
        let (low, high) = Means(vec![[0.913, 0.925, 0.958]]).range();
        assert_eq!(format!("{low:.4} {high:.4}"), "0.9100 0.9600");
    }

    #[test]
    fn range_is_never_empty() {
        let (low, high) = Means(vec![[1.0; 3]]).range();
        assert!(low < high);
    }

    #[test]
    fn plot_marks_every_mean() {
        let plot = Plot(&Means(vec![[0.90, 0.95, 1.0], [0.95, 0.95, 0.90]])).to_string();
        let marks: String =
            plot.lines().filter(|line| line.contains('|')).flat_map(|line| line.chars().skip(9)).collect();
        assert_eq!(marks.split_whitespace().collect::<String>(), "m2*1m");
        assert!(plot.starts_with("  1.000 |"), "{plot}");
    }
}
