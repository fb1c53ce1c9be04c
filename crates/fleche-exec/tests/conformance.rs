//! The behaviour that every executor must show, with stores in memory and in files.

use fleche_store_file as _;
use fleche_store_memory as _;

mod threads {
    fleche_conformance::executor_suite!(fleche_exec, "threads");
}

mod serial {
    fleche_conformance::executor_suite!(fleche_exec, "serial");
}

#[cfg(target_os = "linux")]
mod processes {
    fleche_conformance::executor_suite!(fleche_exec, "processes");
}

#[cfg(feature = "rayon")]
mod rayon {
    fleche_conformance::executor_suite!(fleche_exec, "rayon");
}

#[cfg(feature = "tokio")]
mod tokio {
    fleche_conformance::executor_suite!(fleche_exec, "tokio");
}

#[cfg(target_os = "linux")]
fleche_exec::worker_test!();
