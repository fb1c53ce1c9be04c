//! The configurations of file stores: `{"type":"file","root":"…"}`.

use std::path::PathBuf;

use fleche_core::store::Reach;

use crate::{ClaimMethod, Durability, FileCalls, FileValues};

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
