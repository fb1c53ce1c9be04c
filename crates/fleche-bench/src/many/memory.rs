//! What the process has in memory.

use std::fs;

/// The resident memory, in MiB; zero where the system does not tell.
pub(super) fn resident() -> Result<f64, String> {
    if cfg!(not(target_os = "linux")) {
        return Ok(0.0);
    }
    let status = fs::read_to_string("/proc/self/status").map_err(|error| format!("/proc/self/status: {error}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    kib.map(|kib| kib / 1024.0).ok_or_else(|| "/proc/self/status does not tell VmRSS".to_owned())
}
