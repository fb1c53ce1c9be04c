//! Checks that must hold for any text of bound callables, shared by the fuzz target `reference` and the tests of `fleche-core`.

use fleche_core::{
    Bound, BoundCall, Cache, Digest,
    encoding::{from_slice, to_vec},
    fleche,
    spi::FunctionRef,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// A function that is referred to by its name.
#[fleche(name = "reference::named")]
fn named(x: i64) -> i64 {
    x.wrapping_add(1)
}

/// A generic function, whose instances are referred to by their code addresses.
#[fleche(name = "reference::instance")]
fn instance<T: Clone + Serialize + DeserializeOwned + Send + Sync + 'static>(value: T) -> T {
    value
}

/// A function without the attribute, which is referred to by its type.
fn plain(x: i64) -> i64 {
    x
}

/// Reads the bytes as text of bound callables, as forged code addresses, and as edits of valid text.
///
/// Everything that can be read is called.
///
/// # Panics
///
/// Panics if forged text is accepted, or if a callable that was read cannot be called.
pub fn check(bytes: &[u8]) {
    read(bytes);
    forge(bytes);
    edit(bytes);
}

/// Reads and calls the text in all forms, and returns whether it was accepted in any.
fn read(text: &[u8]) -> bool {
    let call = either::<BoundCall<i64>>(text);
    let pointer = either::<Bound<fn(i64) -> i64>>(text);
    let restored = Bound::restore(plain, &mut serde_json::Deserializer::from_slice(text));
    if let Some(call) = &call {
        call.call().expect("a call that was read must run");
    }
    if let Some(pointer) = &pointer {
        pointer.call((1,));
    }
    if let Some(reference) = either::<FunctionRef>(text) {
        let _ = reference.call(&[&[1]]);
    }
    call.is_some() || pointer.is_some() || restored.is_ok()
}

/// Parses the bytes as JSON, or else as CBOR.
fn either<T: DeserializeOwned>(text: &[u8]) -> Option<T> {
    serde_json::from_slice(text).ok().or_else(|| from_slice(text).ok())
}

/// Returns the text of a call of a generic instance, and of a call of a function with a name.
fn written() -> [Value; 2] {
    let _active = Cache::void().enter();
    [json!(instance::bind(7_i64)), json!(named::bind(7))]
}

/// Replaces the code address, the types or the executable in valid text by the bytes. None of these may be accepted.
fn forge(bytes: &[u8]) {
    let [text, _] = written();
    let position = &text["function"]["position"];
    // On systems without code addresses, there is nothing to forge.
    let (Some(at), Some(types)) = (position["at"].as_u64(), position["types"].as_u64()) else { return };
    let number = bytes.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte));
    assert!(leads(&text, at, types), "valid text must be read");
    for forged in [number, at.wrapping_add(number), at.wrapping_sub(number), at ^ number] {
        assert!(forged == at || !leads(&text, forged, types), "the forged address {forged:#x} must be refused");
        assert!(!leads(&text, forged, types ^ 1), "the address {forged:#x} with forged types must be refused");
    }
    for forged in [number, types.wrapping_add(number), types ^ number] {
        assert!(forged == types || !leads(&text, at, forged), "the forged types {forged:#x} must be refused");
    }
    let mut other = text.clone();
    other["function"]["position"]["executable"] = json!(Digest::hash(bytes));
    assert!(!read(other.to_string().as_bytes()), "text of another executable must be refused");
    let mut other = text;
    other["function"]["position"]["of"] = json!(format!("{number}"));
    assert!(!read(other.to_string().as_bytes()), "a code address with a forged name must be refused");
}

/// Returns whether this address and these types lead to a function, both as text and on the channel to a worker.
fn leads(text: &Value, at: u64, types: u64) -> bool {
    #[derive(Deserialize)]
    struct OnTheChannel(FunctionRef);
    let mut text = text.clone();
    text["function"]["position"]["at"] = json!(at);
    text["function"]["position"]["types"] = json!(types);
    let channel: OnTheChannel =
        serde_json::from_value(json!({ "position": { "at": at, "types": types } })).expect("a code address must parse");
    let leads = read(text.to_string().as_bytes());
    assert_eq!(channel.0.call(&[&[7]]).is_ok(), leads, "text and channel must accept the same code addresses");
    leads
}

/// Reads a prefix of valid text, which must be refused, and edits of it, each of a position and a byte for every three bytes.
fn edit(bytes: &[u8]) {
    for text in written() {
        let cbor = to_vec(&text).expect("JSON values have an encoding");
        for mut text in [text.to_string().into_bytes(), cbor] {
            let cut = bytes.first().map_or(0, |byte| usize::from(*byte) * text.len() / 256);
            assert!(!read(&text[..cut]), "truncated text must be refused");
            for edit in bytes.as_chunks::<3>().0 {
                let place = usize::from(u16::from_le_bytes([edit[0], edit[1]])) % text.len();
                text[place] = edit[2];
            }
            read(&text);
        }
    }
}
