//! Configurations as text and bytes.

use fleche_core::encoding;

use crate::{fixture::Fixture, item::Item, shelf::Shelf};

pub(crate) fn round_trips<S: Shelf>(fixture: &Fixture) {
    let shelf = S::open(fixture);
    shelf.put(Item::small(1));
    for config in [S::config_of(fixture), shelf.config()] {
        assert!(S::same(&config, &config.clone()), "{config:?} is not equal to its clone");
        assert_eq!(S::reach(&config), fixture.backend.reach, "the reach that {config:?} states");
        let json = serde_json::to_value(&config).unwrap_or_else(|error| panic!("as JSON: {error}"));
        assert_eq!(json["type"], type_of(fixture, &json), "the `type` in {json}");

        let text = json.to_string();
        let from_json = serde_json::from_str(&text).unwrap_or_else(|error| panic!("from JSON {text}: {error}"));
        let text = toml::to_string(&config).unwrap_or_else(|error| panic!("as TOML: {error}"));
        let from_toml = toml::from_str(&text).unwrap_or_else(|error| panic!("from TOML {text}: {error}"));
        let bytes = encoding::to_vec(&config).unwrap_or_else(|error| panic!("as bytes: {error}"));
        let from_bytes = encoding::from_slice(&bytes)
            .unwrap_or_else(|error| panic!("from bytes {}: {error}", encoding::diagnostic(&bytes)));
        for (form, back) in [("JSON", from_json), ("TOML", from_toml), ("the encoding", from_bytes)] {
            assert!(S::same(&config, &back), "{config:?} through {form} is {back:?}");
            assert_eq!(S::reach(&back), fixture.backend.reach);
            S::try_open(&back)
                .unwrap_or_else(|error| panic!("{config:?} through {form} does not open: {error}"))
                .assert_holds(&[Item::small(1)]);
        }
    }
}

pub(crate) fn unknown_backend<S: Shelf>(fixture: &Fixture) {
    let mut json = serde_json::to_value(S::config_of(fixture)).unwrap();
    let name = type_of(fixture, &json);
    json["type"] = "no-such-backend".into();
    let error = serde_json::from_value::<S::Config>(json).expect_err("there is no such backend").to_string();
    assert!(error.contains("no-such-backend"), "the error does not name the unknown type: {error}");
    assert!(error.contains(&name), "the error does not list `{name}`, which is linked: {error}");
    let error = serde_json::from_str::<S::Config>("{}").expect_err("there is no type").to_string();
    assert!(error.contains("type"), "the error does not say that `type` is missing: {error}");
}

/// What the configuration's `type` must be: the backend's name, or all of it before the `-` of a variant.
fn type_of(fixture: &Fixture, json: &serde_json::Value) -> String {
    let (name, found) = (fixture.backend.name, json["type"].as_str().unwrap_or_default());
    let is_variant = name.strip_prefix(found).is_some_and(|variant| !found.is_empty() && variant.starts_with('-'));
    if is_variant { found } else { name }.to_owned()
}
