//! On what the figures were measured.

use std::{fs, thread};

/// Machine, versions and kind of build, for the head of a report.
pub(crate) fn header() -> String {
    let cores = thread::available_parallelism().map_or(0, Into::into);
    let build = if cfg!(debug_assertions) { "not optimised: the figures say nothing" } else { "optimised" };
    format!(
        "fleche {}, {}, {} {}, {cores} cores, {build}\n\n",
        env!("CARGO_PKG_VERSION"),
        processor().unwrap_or_else(|| "unknown processor".to_owned()),
        std::env::consts::OS,
        std::env::consts::ARCH,
    )
}

fn processor() -> Option<String> {
    let info = fs::read_to_string("/proc/cpuinfo").ok()?;
    let model = info.lines().find_map(|line| line.strip_prefix("model name"))?;
    Some(model.trim_start_matches([' ', '\t', ':']).to_owned())
}
