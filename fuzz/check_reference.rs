//! What must hold for any text of bound callables: shared by the fuzz target and by the tests of `fleche-core`.

use fleche_core::{
    Bound, BoundCall, Cache, Digest,
    bound::FunctionRef,
    encoding::{from_slice, to_vec},
    fleche,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// Travels by its name.
#[fleche(name = "reference::named")]
fn named(x: i64) -> i64 {
    x.wrapping_add(1)
}

/// Its instances travel by their positions.
#[fleche(name = "reference::instance")]
fn instance<T: Clone + Serialize + DeserializeOwned + Send + Sync + 'static>(value: T) -> T {
    value
}

/// Travels by its type.
fn plain(x: i64) -> i64 {
    x
}

/// Reads the bytes as text of bound callables; as a position, forged; and as edits of text that can be read. Whatever is
/// read can be called.
///
/// # Panics
///
/// Where anything is read that nobody wrote.
pub fn check(bytes: &[u8]) {
    read(bytes);
    forge(bytes);
    edit(bytes);
}

/// Whether anything was read.
fn read(text: &[u8]) -> bool {
    let call = either::<BoundCall<i64>>(text);
    let pointer = either::<Bound<fn(i64) -> i64>>(text);
    let restored = Bound::restore(plain, &mut serde_json::Deserializer::from_slice(text));
    if let Some(call) = &call {
        call.call().expect("what was read can be called");
    }
    if let Some(pointer) = &pointer {
        pointer.call((1,));
    }
    if let Some(reference) = either::<FunctionRef>(text) {
        let _ = reference.call(&[&[1]]);
    }
    call.is_some() || pointer.is_some() || restored.is_ok()
}

/// What the bytes are in JSON, else in CBOR.
fn either<T: DeserializeOwned>(text: &[u8]) -> Option<T> {
    serde_json::from_slice(text).ok().or_else(|| from_slice(text).ok())
}

/// A call of an instance as text, and the same of a function with a name.
fn written() -> [Value; 2] {
    let _active = Cache::void().enter();
    [json!(instance::bind(7_i64)), json!(named::bind(7))]
}

/// Takes the bytes for another position, other types or another executable: none leads anywhere.
fn forge(bytes: &[u8]) {
    let [text, _] = written();
    let position = &text["function"]["position"];
    // Where the system tells no positions, there is nothing to forge.
    let (Some(at), Some(types)) = (position["at"].as_u64(), position["types"].as_u64()) else { return };
    let number = bytes.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte));
    assert!(leads(&text, at, types), "what was written is read");
    for forged in [number, at.wrapping_add(number), at.wrapping_sub(number), at ^ number] {
        assert!(forged == at || !leads(&text, forged, types), "nothing was written at {forged:#x}");
        assert!(!leads(&text, forged, types ^ 1), "nothing of such types is at {forged:#x}");
    }
    for forged in [number, types.wrapping_add(number), types ^ number] {
        assert!(forged == types || !leads(&text, at, forged), "{forged:#x} are other types");
    }
    let mut other = text.clone();
    other["function"]["position"]["executable"] = json!(Digest::of(bytes));
    assert!(!read(other.to_string().as_bytes()), "another build wrote this");
    let mut other = text;
    other["function"]["position"]["of"] = json!(format!("{number}"));
    assert!(!read(other.to_string().as_bytes()), "this name is not at the position");
}

/// Whether these lead to a function, as text and on the channel to a worker.
fn leads(text: &Value, at: u64, types: u64) -> bool {
    #[derive(Deserialize)]
    struct OnTheChannel(FunctionRef);
    let mut text = text.clone();
    text["function"]["position"]["at"] = json!(at);
    text["function"]["position"]["types"] = json!(types);
    let channel: OnTheChannel =
        serde_json::from_value(json!({ "position": { "at": at, "types": types } })).expect("a position");
    let leads = read(text.to_string().as_bytes());
    assert_eq!(channel.0.call(&[&[7]]).is_ok(), leads, "both read positions alike");
    leads
}

/// Takes each three bytes for a place and what comes there, in text that can be read; then cuts it.
fn edit(bytes: &[u8]) {
    for text in written() {
        let cbor = to_vec(&text).expect("a tree has an encoding");
        for mut text in [text.to_string().into_bytes(), cbor] {
            let cut = bytes.first().map_or(0, |byte| usize::from(*byte) * text.len() / 256);
            assert!(!read(&text[..cut]), "this ends too soon");
            for edit in bytes.as_chunks::<3>().0 {
                let place = usize::from(u16::from_le_bytes([edit[0], edit[1]])) % text.len();
                text[place] = edit[2];
            }
            read(&text);
        }
    }
}
