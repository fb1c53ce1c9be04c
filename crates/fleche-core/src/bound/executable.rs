//! The program's executable, told from every other build of it.

use std::{fs::File, io, path::PathBuf, sync::LazyLock};

use crate::digest::Digest;

/// The digest of the running program's executable; `None`, which is logged once, where that cannot be read.
pub fn executable() -> Option<Digest> {
    static DIGEST: LazyLock<Option<Digest>> = LazyLock::new(|| {
        let digest = path().and_then(File::open).and_then(|file| {
            let mut hasher = blake3::Hasher::new();
            hasher.update_reader(file)?;
            Ok(Digest::from_bytes(*hasher.finalize().as_bytes()))
        });
        digest
            .map_err(
                |error| crate::log::error!(%error, "the executable cannot be read, so positions in it mean nothing"),
            )
            .ok()
    });
    *DIGEST
}

/// Where it is. On Linux what is running, also if another file has come to its path.
fn path() -> io::Result<PathBuf> {
    if cfg!(target_os = "linux") { Ok("/proc/self/exe".into()) } else { std::env::current_exe() }
}
