//! Parameter types for large arguments: files by their content, and values that are hashed once.

pub mod file_content;
mod file_digests;
pub mod hashed;
mod known_files;
mod recent;
mod travelling;

pub use file_content::FileContent;
pub use hashed::Hashed;
#[doc(hidden)]
pub use known_files::expecting_files;
#[doc(hidden)]
pub use travelling::{KnownFile, record_files};
