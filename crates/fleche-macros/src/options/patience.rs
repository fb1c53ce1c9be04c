//! The options `wait` and `wait_timeout`.

use syn::{LitStr, Result};

/// How long calls wait for another that computes the same.
#[derive(Clone, Copy)]
pub(crate) enum Patience {
    Endless,
    /// So many milliseconds.
    For(u64),
    None,
}

impl Patience {
    /// `wait = …`: whether calls wait at all.
    pub(super) fn of_wait(wait: bool) -> Self {
        if wait { Self::Endless } else { Self::None }
    }

    /// `wait_timeout = "…"`.
    pub(super) fn of_timeout(time: &LitStr) -> Result<Self> {
        milliseconds(&time.value()).map(Self::For).ok_or_else(|| {
            syn::Error::new(
                time.span(),
                "a time is a whole number with a unit: `\"500ms\"`, `\"30s\"`, `\"5min\"`, `\"2h\"`; for none at all, say \
                 `wait = false`",
            )
        })
    }
}

/// The milliseconds of a time such as `30s`; `None` for other texts, and for no time.
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
    fn times_have_a_number_and_a_unit() {
        for (time, expected) in [("500ms", 500), ("30s", 30_000), ("5 min", 300_000), ("2h", 7_200_000)] {
            assert_eq!(milliseconds(time), Some(expected));
        }
        for wrong in ["", "30", "s", "0s", "1.5s", "30 sec", "-1s", "99999999999999999999s", "9999999999999999999h"] {
            assert_eq!(milliseconds(wrong), None, "{wrong}");
        }
    }
}
