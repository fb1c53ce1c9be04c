//! `StalePolicy`: whether results that other code computed are served.

use serde::{Deserialize, Serialize};

/// What a call does with a recorded result that was computed by other code of its function.
///
/// The policy is the first of these that is set: `#[fleche(stale = "…")]` of the function; the policy of the cache
/// ([`Cache::stale`](crate::Cache::stale), or `stale = "…"` in its configuration); the default, which is `Rerun`, or `Warn`
/// for functions that state a `version`.
///
/// Code is compared by its tokens: see [`fleche`](macro@crate::fleche#edited-code) for changes that they do not show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StalePolicy {
    /// The call runs again, with one warning per function. The record that is replaced is kept for the code that computed it.
    Rerun,
    /// The result is served, with one warning per function.
    Warn,
    /// The result is served.
    Serve,
}
