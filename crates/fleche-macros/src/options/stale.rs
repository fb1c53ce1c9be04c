//! The option `stale`.

use syn::{LitStr, Result};

/// What becomes of a result that other code of the function computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stale {
    Rerun,
    Warn,
    Serve,
}

impl Stale {
    /// `stale = "…"`.
    pub(super) fn of(policy: &LitStr) -> Result<Self> {
        match policy.value().as_str() {
            "rerun" => Ok(Self::Rerun),
            "warn" => Ok(Self::Warn),
            "serve" => Ok(Self::Serve),
            other => Err(syn::Error::new(
                policy.span(),
                format!(
                    "there is no stale policy `{other}`; there are `\"rerun\"` (compute again), `\"warn\"` (serve, with a \
                     warning) and `\"serve\"`"
                ),
            )),
        }
    }
}
