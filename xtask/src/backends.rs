//! The option `--backend`, which selects the backends of a check; known failures of backends that only their upstreams can
//! fix, which are counted and shown, but not reported as failures; and layers around the file store as backends.

use std::path::Path;

use fleche_conformance::backend;
use fleche_core::{
    layer::{CompressedConfig, StackConfig},
    register_backend,
    store::{BackendInfo, CallStoreConfig, Reach, StorePair, ValueStoreConfig, backends},
};
use fleche_store_file::{ClaimMethod, FileCallsConfig, FileValuesConfig};

/// The names of the selected backends.
#[derive(clap::Args)]
pub(crate) struct SelectedBackends {
    /// Check only this backend; may be repeated.
    #[arg(long = "backend", value_name = "NAME")]
    backends: Vec<String>,
}

impl SelectedBackends {
    /// Returns the backends of these names. If there are no names, returns all linked backends but [`ONLY_NAMED`].
    ///
    /// # Errors
    /// Fails if a name is unknown.
    pub(crate) fn all(&self) -> Result<Vec<&'static BackendInfo>, String> {
        if self.backends.is_empty() {
            return Ok(backends().into_iter().filter(|backend| !ONLY_NAMED.contains(&backend.name)).collect());
        }
        self.backends.iter().map(|name| backend(name).map_err(|error| error.to_string())).collect()
    }

    /// Returns the durable backends among them.
    ///
    /// # Errors
    /// Fails if a name is unknown, if a named backend is not durable, or if no durable backend is linked.
    pub(crate) fn durable(&self) -> Result<Vec<&'static BackendInfo>, String> {
        let all = self.all()?;
        if let Some(backend) = all.iter().find(|backend| !backend.durable && !self.backends.is_empty()) {
            return Err(format!(
                "`{}` is not durable, so there is nothing to check; name a durable backend",
                backend.name
            ));
        }
        let durable: Vec<_> = all.into_iter().filter(|backend| backend.durable).collect();
        if durable.is_empty() { Err("no durable backend is linked".to_owned()) } else { Ok(durable) }
    }
}

/// Variants of backends that matter to few checks, which run with them only if they are named.
const ONLY_NAMED: &[&str] = &["file-leases"];

/// Backends that lose synced entries, with the reason.
const LOSES_SYNCED: &[(&str, &str)] =
    &[("sled", "upstream calls sled beta, advises SQLite if reliability matters, and does not fix version 0.34")];

/// Backends whose engine panics on some damage, with the reason. The store turns these panics into errors.
const PANICS_INSIDE: &[(&str, &str)] =
    &[("redb", "redb asserts that its pages are intact; the store catches the panic")];

fleche_conformance::admit_loss_of_neighbours!("redb", truncated_only, "redb reads nothing from a truncated file");
fleche_conformance::admit_loss_of_neighbours!("sled", "sled treats the first damage as the end of its log");

/// Returns why this backend may lose synced entries, or `None` if it must not.
pub(crate) fn loses_synced(backend: &str) -> Option<&'static str> {
    reason(LOSES_SYNCED, backend)
}

/// Returns why the engine of this backend may panic internally, or `None` if it must not.
pub(crate) fn panics_inside(backend: &str) -> Option<&'static str> {
    reason(PANICS_INSIDE, backend)
}

fn reason(excused: &[(&str, &'static str)], backend: &str) -> Option<&'static str> {
    excused.iter().find(|(name, _)| *name == backend).map(|(_, reason)| *reason)
}

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

register_backend! {
    name: "file-leases",
    summary: "a directory in which calls are claimed by lease files",
    reach: Reach::Shared,
    durable: true,
    scratch: |directory| {
        let calls = FileCallsConfig::new(directory.join("calls")).claims(ClaimMethod::Leases);
        (files(directory).0, Box::new(calls))
    },
}

fn files(directory: &Path) -> StorePair {
    let values: Box<dyn ValueStoreConfig> = Box::new(FileValuesConfig::new(directory.join("values")));
    let calls: Box<dyn CallStoreConfig> = Box::new(FileCallsConfig::new(directory.join("calls")));
    (values, calls)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_backends_are_excused() {
        assert!(loses_synced("sled").is_some());
        assert_eq!([loses_synced("file"), panics_inside("file")], [None; 2]);
    }
}
