//! Rounds in which everything that is compared takes turns.

use std::time::Duration;

/// A figure to measure: what one round of it takes.
pub(crate) type Measure<'a> = Box<dyn FnMut() -> Result<Duration, String> + 'a>;

/// The median time of each over so many rounds; one more round before them is not counted.
pub(crate) fn medians(rounds: usize, measures: &mut [Measure<'_>]) -> Result<Vec<Duration>, String> {
    let mut times = vec![Vec::with_capacity(rounds); measures.len()];
    for round in 0..=rounds {
        for (measure, times) in measures.iter_mut().zip(&mut times) {
            let time = measure()?;
            if round > 0 {
                times.push(time);
            }
        }
    }
    Ok(times.into_iter().map(median).collect())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_round_is_not_counted_and_the_middle_one_is_taken() {
        let mut times = [100, 3, 1, 2].map(Duration::from_secs).into_iter();
        let mut measures: [Measure<'_>; 1] = [Box::new(|| times.next().ok_or_else(String::new))];
        assert_eq!(medians(3, &mut measures), Ok(vec![Duration::from_secs(2)]));
    }

    #[test]
    fn what_fails_is_told() {
        let mut measures: [Measure<'_>; 1] = [Box::new(|| Err("no disk".to_owned()))];
        assert_eq!(medians(1, &mut measures), Err("no disk".to_owned()));
    }
}
