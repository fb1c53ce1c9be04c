//! What the redb stores promise beyond the conformance suite, one concern a file.

mod store {
    mod commits;
    pub(crate) mod common;
    mod config;
    mod damage;
    mod hostile;
    mod index;
    mod processes;
    mod sharing;
    mod size;
}
