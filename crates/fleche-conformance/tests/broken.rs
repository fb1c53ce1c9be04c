//! Tests of the suite with stores that break one promise each: the case of that promise must fail, and a sound store must pass.

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
