//! The configurations of sled stores: `{"type":"sled","path":"…"}`.

use std::path::PathBuf;

use fleche_core::store::Reach;

use crate::{SledCalls, SledValues};

fleche_core::store_configs! {
    type: "sled",
    reach: Reach::Exclusive,
    /// The configuration of a [`SledValues`].
    values: SledValuesConfig => SledValues::open_with,
    /// The configuration of a [`SledCalls`].
    calls: SledCallsConfig => SledCalls::open_with,
    location: {
        /// The directory.
        #[serde(with = "fleche_core::store::portable_path")]
        path: PathBuf
    },
}
