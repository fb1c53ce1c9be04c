//! A path in a result is recorded as a name: a warning, here made an error.
#![deny(deprecated)]

use std::path::PathBuf;

#[fleche_core::fleche]
fn written(x: u64) -> std::io::Result<PathBuf> {
    Ok(x.to_string().into())
}

#[fleche_core::fleche]
fn several(x: u64) -> (u64, Option<Vec<PathBuf>>) {
    (x, None)
}

#[fleche_core::fleche(by_name)]
fn named(x: u64) -> PathBuf {
    x.to_string().into()
}

#[fleche_core::fleche]
fn fails(x: u64) -> Result<u64, PathBuf> {
    Ok(x)
}

fn main() {}
