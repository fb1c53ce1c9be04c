//! Lists entries shard by shard, and removes the files that killed processes left behind there.

use std::{
    fs::{self, DirEntry},
    io::{self, ErrorKind},
    path::Path,
};

use fleche_core::{Digest, DigestPrefix, Error, Result, store::Entries};

use crate::{directory::Directory, temp_files::TempFile};

impl Directory {
    /// Returns the digests with this prefix, each once. A shard is read only when iteration reaches it.
    pub(crate) fn list(&self, prefix: &DigestPrefix) -> Entries<'_, Digest> {
        let digits: String = prefix.as_str().chars().take(2).collect();
        let prefix = prefix.clone();
        let shards = (0..=u8::MAX).filter(move |first| format!("{first:02x}").starts_with(&digits));
        Box::new(shards.flat_map(move |first| match self.list_shard(first) {
            Ok(digests) => {
                let prefix = prefix.clone();
                Box::new(digests.into_iter().filter(move |digest| prefix.matches(digest)).map(Ok))
            }
            Err(error) => Box::new(std::iter::once(Err(error))) as Entries<'_, Digest>,
        }))
    }

    // The whole shard is read before its first digest is returned: if a directory is read in pieces while entries are
    // created and removed, it may list one of them twice.
    fn list_shard(&self, first: u8) -> Result<Vec<Digest>> {
        let directory = self.shard(first);
        let mut digests = Vec::new();
        self.swept_shards.insert(first);
        let listed = visit(&directory, |name, entry| {
            let is_entry = || entry.file_type().is_ok_and(|kind| kind.is_file() || kind.is_symlink());
            if let Ok(digest) = format!("{first:02x}{name}").parse()
                && is_entry()
            {
                digests.push(digest);
            }
        });
        listed.map_err(Error::io("list", directory))?;
        digests.sort_unstable();
        digests.dedup();
        Ok(digests)
    }
}

/// Removes the files that killed processes left in this directory, as far as possible.
pub(crate) fn sweep(directory: &Path) {
    // Files that remain are removed the next time.
    let _ = visit(directory, |_, _| ());
}

/// Calls `each` for every name in the directory that does not begin with a dot, and removes files that killed processes
/// left behind. A missing directory counts as empty, and so does a file in its place.
fn visit(directory: &Path, mut each: impl FnMut(&str, &DirEntry)) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        // fleche creates only names in Unicode.
        let Ok(name) = entry.file_name().into_string() else { continue };
        if !name.starts_with('.') {
            each(&name, &entry);
        } else if TempFile::is_left_over(&name, &entry.path()) {
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(())
}
