//! Parameter types for large arguments: files by their content, and values that are hashed once.

mod file_content;
mod file_digests;
mod hashed;
pub(crate) mod known_files;

pub use file_content::FileContent;
pub use hashed::Hashed;
pub(crate) use known_files::{KnownFile, expecting_files, record_files};
