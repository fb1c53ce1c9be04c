//! Parameter types for large arguments: files by their content, and values that are hashed once.

pub mod file_content;
mod file_digests;
pub mod hashed;
mod known_files;

pub use file_content::FileContent;
pub use hashed::Hashed;
#[doc(hidden)]
pub use known_files::{KnownFile, expecting_files, record_files};
