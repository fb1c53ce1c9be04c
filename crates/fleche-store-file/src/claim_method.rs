//! `ClaimMethod`: the setting `claims` of file stores.

use serde::{Deserialize, Serialize};

/// How processes claim the calls that they compute. All processes that use a directory must use the same method: claims of one
/// method do not exclude those of the other, so a call may be computed twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClaimMethod {
    /// By file locks where these reach all hosts that share the directory, otherwise by lease files. The mount table decides,
    /// and a warning says so if leases are used. Leases are also used where locks fail, and in a directory that has leases
    /// already, so that all hosts agree.
    #[default]
    Auto,
    /// By file locks, which the system releases when a process ends for any reason.
    Locks,
    /// By lease files, which each process renews. The claim of a process that is killed on another host passes to others after
    /// 30 seconds. Choose this for all hosts if they mount the directory differently.
    Leases,
}
