//! Tests of the errors for configurations that cannot be used.

use std::path::Path;

use fleche_core::{
    CacheConfig,
    layer::Void,
    register_backend,
    store::{Reach, StorePair},
};

register_backend! {
    name: "kept-nowhere",
    summary: "a variant of a backend whose type has another name",
    reach: Reach::Shared,
    durable: false,
    scratch: nowhere,
}

fn nowhere(_: &Path) -> StorePair {
    (Box::new(Void), Box::new(Void))
}

fn error(values: &str) -> String {
    let text = format!("values = {values}\ncalls = {{ type = \"void\" }}");
    toml::from_str::<CacheConfig>(&text).unwrap_err().to_string()
}

#[test]
fn unknown_type_error_suggests_a_known_one() {
    for (values, says) in [
        (r#"{ type = "flie", root = "x" }"#, "did you mean `file`?"),
        (r#"{ type = "read_only", store = { type = "void" } }"#, "did you mean `read-only`?"),
        // For a backend that is a variant of a type, the suggestion is a whole configuration.
        (r#"{ type = "nowhere" }"#, r#"did you mean `{ type = "void" }`?"#),
        (r#"{ type = "kept-nowhere" }"#, r#"did you mean `{ type = "void" }`?"#),
        (r#"{ type = "rdb" }"#, "use fleche_store_"),
        (r#"{ type = "stack", stores = [{ type = "flie", root = "x" }] }"#, "did you mean `file`?"),
    ] {
        let error = error(values);
        assert!(error.contains(says) && error.contains("Known types: ") && error.contains("`void`"), "{error}");
    }
}

#[test]
fn compressed_without_its_feature_names_the_feature() {
    if !cfg!(feature = "zstd") {
        let error = error(r#"{ type = "compressed", store = { type = "file", root = "x" } }"#);
        assert!(error.contains("feature `zstd` of fleche-core"), "{error}");
    }
}

#[test]
fn unknown_setting_is_not_reported_as_an_unknown_type() {
    let error = error(r#"{ type = "file", root = "x", durability = "alwys" }"#);
    assert!(error.contains("`alwys`") && error.contains("`always`") && !error.contains("Known types"), "{error}");
}
