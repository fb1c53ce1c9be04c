//! Tests of guarantees of the file stores beyond the conformance suite, one concern per file.

mod store {
    mod calls;
    #[cfg(unix)]
    mod claims;
    pub(crate) mod common;
    mod config;
    mod damage;
    #[cfg(unix)]
    mod foreign;
    mod layout;
    #[cfg(unix)]
    mod processes;
    mod values;
}
