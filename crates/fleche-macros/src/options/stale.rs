//! Parses the option `stale`.

use syn::{LitStr, Result};

/// The policy for results that were computed by other code of the function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stale {
    Rerun,
    Warn,
    Serve,
}

impl Stale {
    /// Parses the value of `stale = "…"`.
    pub(super) fn of(policy: &LitStr) -> Result<Self> {
        match policy.value().as_str() {
            "rerun" => Ok(Self::Rerun),
            "warn" => Ok(Self::Warn),
            "serve" => Ok(Self::Serve),
            other => Err(syn::Error::new(
                policy.span(),
                format!(
                    "unknown stale policy `{other}`; the policies are `\"rerun\"` (compute again), `\"warn\"` (serve with a \
                     warning) and `\"serve\"`"
                ),
            )),
        }
    }
}
