//! A path is keyed by its name: a warning, here made an error.
#![deny(deprecated)]

use std::path::{Path, PathBuf};

#[fleche_core::fleche]
fn lines(file: &Path, _other: PathBuf, #[by_name] _named: &Path, #[ignore] _log: PathBuf) -> usize {
    file.components().count()
}

fn main() {}
