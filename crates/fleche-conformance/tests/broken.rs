//! Tests of the suite with stores that break one promise each: the case of that promise must fail, and a sound store must pass.

mod broken {
    mod cases;
    mod checks;
    pub(crate) mod directory;
    pub(crate) mod store;
}
