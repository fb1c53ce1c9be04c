//! `StalePolicy`: what becomes of results that other code computed.

use serde::{Deserialize, Serialize};

/// What a call does with a recorded result that was computed by other code of its function.
///
/// What counts is, in this order: `#[fleche(stale = "…")]` of the function; the policy of the cache
/// ([`Cache::stale`](crate::Cache::stale), `stale = "…"` in its configuration); the default, which is `Rerun`, or `Warn`
/// for functions that state a `version`.
///
/// Code is compared by its tokens: see [`fleche`](macro@crate::fleche#edited-code) for what they do not show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StalePolicy {
    /// The call runs again, with a warning once a function. The record that is replaced is kept for the code that
    /// computed it.
    Rerun,
    /// The result is served, with a warning once a function.
    Warn,
    /// The result is served.
    Serve,
}
