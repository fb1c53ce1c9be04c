//! Which backends a check is for.

use fleche_conformance::backend;
use fleche_core::store::{BackendInfo, backends};

/// Names of backends.
#[derive(clap::Args)]
pub(crate) struct Selected {
    /// Only this backend; may be given several times.
    #[arg(long = "backend", value_name = "NAME")]
    backends: Vec<String>,
}

impl Selected {
    /// The backends of these names; all without names.
    ///
    /// # Errors
    /// A message where a name is unknown.
    pub(crate) fn all(&self) -> Result<Vec<&'static BackendInfo>, String> {
        if self.backends.is_empty() {
            return Ok(backends());
        }
        self.backends.iter().map(|name| backend(name).map_err(|error| error.to_string())).collect()
    }

    /// Those of them that keep anything. One that is asked for by name must.
    ///
    /// # Errors
    /// A message where a name is unknown, and where nothing is left.
    pub(crate) fn durable(&self) -> Result<Vec<&'static BackendInfo>, String> {
        let all = self.all()?;
        if let Some(backend) = all.iter().find(|backend| !backend.durable && !self.backends.is_empty()) {
            return Err(format!("`{}` keeps nothing when it is closed, so there is nothing to check", backend.name));
        }
        let durable: Vec<_> = all.into_iter().filter(|backend| backend.durable).collect();
        if durable.is_empty() { Err("no durable backend is linked".to_owned()) } else { Ok(durable) }
    }
}
