//! The configurations of file stores: `{"type":"file","root":"…"}`, and their setting `claims`.

use std::path::PathBuf;

use fleche_core::store::Reach;
use serde::{Deserialize, Serialize};

use crate::{Durability, FileCalls, FileValues};

fleche_core::store_configs! {
    type: "file",
    reach: Reach::Shared,
    /// The configuration of a [`FileValues`].
    values: FileValuesConfig => FileValues::open_with,
    /// The configuration of a [`FileCalls`].
    calls: FileCallsConfig => FileCalls::open_with,
    location: {
        /// The directory.
        #[serde(with = "fleche_core::store::portable_path")]
        root: PathBuf
    },
    settings: {
        /// The durability of entries. Omitted in text if it is [`Durability::Auto`].
        #[serde(default, skip_serializing_if = "fleche_core::store::kit::is_default")]
        durability: Durability = Durability::default(),
        /// Whether the users of the directory's group share the store. If so, new files and directories are made accessible
        /// to the group, and lock files of its other users are locked and written to. Otherwise, only lock files of this user
        /// are. Reading entries of other users does not need this setting. Omitted in text if `false`.
        #[serde(default, skip_serializing_if = "fleche_core::store::kit::is_default")]
        shared: bool = false,
        /// The method of claiming calls. Only a store of records uses it. Omitted in text if it is [`ClaimMethod::Auto`].
        #[serde(default, skip_serializing_if = "fleche_core::store::kit::is_default")]
        claims: ClaimMethod = ClaimMethod::default(),
    },
}

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
