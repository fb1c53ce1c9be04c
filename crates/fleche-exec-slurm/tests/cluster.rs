//! Calls on a real Slurm cluster: `cargo xtask slurm run -- cargo test -p fleche-exec-slurm --test cluster -- --ignored`.
#![cfg(target_os = "linux")]

mod cluster {
    pub(crate) mod calls;
    pub(crate) mod scratch;

    mod conformance;
    mod losses;
    mod reattach;
    mod resources;
    mod sweep;
}

fleche_exec::worker_test!();
