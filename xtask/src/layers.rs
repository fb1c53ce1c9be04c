//! Registers layers around the file store as backends of the conformance matrix.

use std::path::Path;

use fleche_core::{
    layer::{CompressedConfig, StackConfig},
    register_backend,
    store::{CallStoreConfig, Reach, StorePair, ValueStoreConfig},
};
use fleche_store_file::{FileCallsConfig, FileValuesConfig};

register_backend! {
    name: "stack",
    summary: "a directory in front of another",
    reach: Reach::Shared,
    durable: true,
    scratch: |directory| {
        let (near, far) = (files(&directory.join("near")), files(&directory.join("far")));
        (Box::new(StackConfig { stores: vec![near.0, far.0] }), Box::new(StackConfig { stores: vec![near.1, far.1] }))
    },
}

register_backend! {
    name: "compressed",
    summary: "a directory with compressed values",
    reach: Reach::Shared,
    durable: true,
    scratch: |directory| {
        let (store, calls) = files(directory);
        (Box::new(CompressedConfig { store, level: 3 }), calls)
    },
}

fn files(directory: &Path) -> StorePair {
    let values: Box<dyn ValueStoreConfig> = Box::new(FileValuesConfig::new(directory.join("values")));
    let calls: Box<dyn CallStoreConfig> = Box::new(FileCallsConfig::new(directory.join("calls")));
    (values, calls)
}
