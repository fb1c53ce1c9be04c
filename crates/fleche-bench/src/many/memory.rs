//! Reads the memory use of this process.

use std::fs;

/// Returns the resident memory in MiB, or zero on systems other than Linux.
pub(super) fn resident() -> Result<f64, String> {
    if cfg!(not(target_os = "linux")) {
        return Ok(0.0);
    }
    let status =
        fs::read_to_string("/proc/self/status").map_err(|error| format!("cannot read /proc/self/status: {error}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    kib.map(|kib| kib / 1024.0).ok_or_else(|| "/proc/self/status has no readable `VmRSS` line".to_owned())
}
