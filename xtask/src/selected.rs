//! The option `--backend`, which selects the backends of a check.

use fleche_conformance::backend;
use fleche_core::store::{BackendInfo, backends};

/// The names of the selected backends.
#[derive(clap::Args)]
pub(crate) struct Selected {
    /// Check only this backend; may be repeated.
    #[arg(long = "backend", value_name = "NAME")]
    backends: Vec<String>,
}

impl Selected {
    /// Returns the backends of these names, or all linked backends if there are no names.
    ///
    /// # Errors
    /// Fails if a name is unknown.
    pub(crate) fn all(&self) -> Result<Vec<&'static BackendInfo>, String> {
        if self.backends.is_empty() {
            return Ok(backends());
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
