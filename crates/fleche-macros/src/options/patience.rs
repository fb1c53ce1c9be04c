//! Parses the options `wait` and `wait_timeout`.

use syn::{LitStr, Result};

/// How long a call waits for another caller that computes the same call.
#[derive(Clone, Copy)]
pub(crate) enum WaitPolicy {
    Endless,
    /// The limit in milliseconds.
    For(u64),
    None,
}

impl WaitPolicy {
    /// Returns the policy for `wait = …`, which says whether calls wait at all.
    pub(super) fn of_wait(wait: bool) -> Self {
        if wait { Self::Endless } else { Self::None }
    }

    /// Parses the value of `wait_timeout = "…"`.
    pub(super) fn of_timeout(time: &LitStr) -> Result<Self> {
        milliseconds(&time.value()).map(Self::For).ok_or_else(|| {
            syn::Error::new(
                time.span(),
                "the timeout must be a positive whole number with a unit: `\"500ms\"`, `\"30s\"`, `\"5min\"`, `\"2h\"`; to not \
                 wait at all, use `wait = false`",
            )
        })
    }
}

/// Returns the milliseconds of a time such as `30s`, or `None` if it is zero, too large or not a time.
fn milliseconds(time: &str) -> Option<u64> {
    let digits = time.trim_end_matches(|letter: char| !letter.is_ascii_digit());
    let unit = match time[digits.len()..].trim() {
        "ms" => 1,
        "s" => 1000,
        "min" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    digits.trim().parse::<u64>().ok()?.checked_mul(unit).filter(|time| *time > 0)
}

#[cfg(test)]
mod tests {
    use super::milliseconds;

    #[test]
    fn time_requires_positive_number_and_unit() {
        for (time, expected) in [("500ms", 500), ("30s", 30_000), ("5 min", 300_000), ("2h", 7_200_000)] {
            assert_eq!(milliseconds(time), Some(expected));
        }
        for wrong in ["", "30", "s", "0s", "1.5s", "30 sec", "-1s", "99999999999999999999s", "9999999999999999999h"] {
            assert_eq!(milliseconds(wrong), None, "{wrong}");
        }
    }
}
