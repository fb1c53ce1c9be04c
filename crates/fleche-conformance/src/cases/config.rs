//! Cases of configurations: round trips through text and bytes, and unknown backends.

use fleche_core::{encoding, store::backends};

use crate::{fixture::Fixture, item::Item, shelf::StoreKind};

pub(crate) fn round_trips<S: StoreKind>(fixture: &Fixture) {
    let shelf = S::open(fixture);
    shelf.put(Item::small(1));
    for config in [S::config_of(fixture), shelf.config()] {
        assert!(S::same(&config, &config.clone()), "{config:?} is not equal to its clone");
        assert_eq!(S::reach(&config), fixture.backend.reach, "the reach of {config:?}");
        let json = serde_json::to_value(&config).unwrap_or_else(|error| panic!("cannot write JSON: {error}"));
        assert!(is_known(json["type"].as_str(), fixture.backend.name), "unknown `type` in {json}");

        let text = json.to_string();
        let from_json = serde_json::from_str(&text).unwrap_or_else(|error| panic!("cannot read JSON {text}: {error}"));
        let text = toml::to_string(&config).unwrap_or_else(|error| panic!("cannot write TOML: {error}"));
        let from_toml = toml::from_str(&text).unwrap_or_else(|error| panic!("cannot read TOML {text}: {error}"));
        let bytes = encoding::to_vec(&config).unwrap_or_else(|error| panic!("cannot encode: {error}"));
        let from_bytes = encoding::from_slice(&bytes)
            .unwrap_or_else(|error| panic!("cannot decode {}: {error}", encoding::diagnostic(&bytes)));
        for (form, back) in [("JSON", from_json), ("TOML", from_toml), ("the encoding", from_bytes)] {
            assert!(S::same(&config, &back), "{config:?} becomes {back:?} after a round trip through {form}");
            assert_eq!(S::reach(&back), fixture.backend.reach);
            S::try_open(&back)
                .unwrap_or_else(|error| panic!("{config:?} does not open after a round trip through {form}: {error}"))
                .assert_holds(&[Item::small(1)]);
        }
    }
}

/// Returns whether a store of a backend with this name may have this type.
///
/// The type is the backend's name or its part before a `-`, or that of another linked backend that provides the store.
fn is_known(found: Option<&str>, name: &str) -> bool {
    let linked = backends().into_iter().map(|backend| backend.name);
    linked.chain([name]).any(|name| found == Some(name) || found == name.split('-').next())
}

pub(crate) fn unknown_backend<S: StoreKind>(fixture: &Fixture) {
    let mut json = serde_json::to_value(S::config_of(fixture)).unwrap();
    let name = std::mem::replace(&mut json["type"], "no-such-backend".into());
    let name = name.as_str().expect("the type must be a string");
    let error = serde_json::from_value::<S::Config>(json).expect_err("an unknown type must be refused").to_string();
    assert!(error.contains("no-such-backend"), "the error does not name the unknown type: {error}");
    assert!(error.contains(name), "the error does not list `{name}`, which is linked: {error}");
    let error = serde_json::from_str::<S::Config>("{}").expect_err("a missing type must be refused").to_string();
    assert!(error.contains("type"), "the error does not say that `type` is missing: {error}");
}
