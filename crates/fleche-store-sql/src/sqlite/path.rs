//! The paths of SQLite files.

use std::{
    fs::{self, File},
    path::Path,
};

use fleche_core::{
    Error, Result,
    spi::written_file,
    store::{
        Place,
        kit::{beside, sync_parent},
    },
};

use crate::{error::config, url::DatabaseUrl};

/// Returns whether the path was made from one that is not UTF-8, for instance by `Path::display`: it has a replacement character.
/// An existing file whose name has this character is fine.
pub(crate) fn is_mangled(path: &str) -> bool {
    path.contains(char::REPLACEMENT_CHARACTER) && !Path::new(path).exists()
}

/// Returns the error of a path that is not UTF-8, which neither URLs nor the driver accept.
pub(crate) fn not_text(path: &Path, url: &DatabaseUrl) -> Error {
    let why = "the path is not UTF-8, as SQLite databases need it: rename the directory or choose another one, or use a file or \
               redb store, which accept any path";
    let shown = if url.is_variable() { url.to_string() } else { path.display().to_string() };
    config(format!("the SQLite database `{shown}`"), why)
}

/// Removes the log and its index if only the database file itself was removed. A new file of that name would be read
/// with them. Connections that have them open keep them until they are closed.
pub(crate) fn remove_companions(path: &Path) {
    if path.exists() {
        return;
    }
    for ending in ["-wal", "-shm", "-journal"] {
        // If one cannot be removed, opening the new file fails.
        let _ = fs::remove_file(beside(path, ending));
    }
}

/// Returns the identity of the file, which is created if it is missing.
pub(crate) fn existing(path: &Path) -> Result<Place> {
    written_file::check_named(path).map_err(Error::io("open the SQLite database", path))?;
    // An existing file is not opened: closing it would release the locks that SQLite has on it in this process.
    if !path.exists() {
        let directory = path.parent().unwrap_or(path);
        fs::create_dir_all(directory).map_err(Error::io("create the directory", directory))?;
        match File::create_new(path) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(Error::io("create", path)(error));
            }
            _ => {}
        }
        sync_parent(path);
    }
    // SQLite creates these files next to the target of a link.
    let file = fs::canonicalize(path).map_err(Error::io("find", path))?;
    for ending in ["-wal", "-shm", "-journal"] {
        written_file::check_beside(&beside(&file, ending)).map_err(Error::io("open the SQLite database", path))?;
    }
    Place::new(path)
}

/// Removes the path from the error, since it comes from the environment variable that this URL names.
pub(crate) fn without_path(error: Error, url: &DatabaseUrl) -> Error {
    match error {
        Error::Io { action, source, .. } => {
            Error::Io { action, path: url.to_string().into(), source: source.kind().into() }
        }
        other => other,
    }
}
