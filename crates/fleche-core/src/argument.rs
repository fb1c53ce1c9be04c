//! Parameter types for large arguments: files by their content, and values that are hashed once.

mod file_content;
mod file_digests;
mod hashed;
mod known_files;

pub use file_content::FileContent;
pub use hashed::Hashed;
pub use known_files::KnownFile;
pub(crate) use known_files::{expecting_files, record_files};
