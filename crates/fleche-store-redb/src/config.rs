//! The configurations of redb stores: `{"type":"redb","path":"…"}`.

use std::path::PathBuf;

use fleche_core::store::Reach;

use crate::{RedbCalls, RedbValues, tables::Durability};

fleche_core::store_configs! {
    type: "redb",
    reach: Reach::Exclusive,
    /// The configuration of a [`RedbValues`].
    values: RedbValuesConfig => RedbValues::open_with,
    /// The configuration of a [`RedbCalls`].
    calls: RedbCallsConfig => RedbCalls::open_with,
    location: {
        /// The database file.
        #[serde(with = "fleche_core::store::portable_path")]
        path: PathBuf
    },
    settings: {
        /// The durability of entries that are put through this handle. Omitted in text if it is [`Durability::Eventual`].
        #[serde(default, skip_serializing_if = "fleche_core::store::kit::is_default")]
        durability: Durability = Durability::default(),
    },
}
