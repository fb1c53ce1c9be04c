//! The suite is tested with stores that break one promise each: it must catch every one of them, by the case that is
//! named for the promise, and let a sound store pass.

mod broken {
    pub(crate) mod backend;
    mod corrupt;
    mod crash;
    pub(crate) mod directory;
    mod failing;
    mod faults;
    mod selection;
    pub(crate) mod store;
}
