//! Registers the executor of this crate, for programs that list executors.

use std::{env, path::Path, sync::Arc, time::Duration};

use fleche_core::{register_executor, store::Reach};

use crate::{Slurm, SlurmConfig, config};

register_executor! {
    name: "slurm",
    summary: "jobs of a Slurm cluster",
    reach: Reach::Shared,
    at_once: 16,
    calls: 200,
    scratch: || {
        let directory = env::var_os("FLECHE_SLURM_DIR");
        let directory = directory.ok_or_else(|| config::error("`FLECHE_SLURM_DIR` names no directory of a scratch cluster"))?;
        let config = SlurmConfig::jobs(Path::new(&directory).join("fleche")).poll(Duration::from_secs(1)).max_queued(16);
        Ok(Arc::new(Slurm::from_config(config)?))
    },
}
