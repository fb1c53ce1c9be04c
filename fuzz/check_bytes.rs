//! Checks that must hold for any bytes, shared by the fuzz target `decode` and the tests of `fleche-encoding`.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use fleche_encoding::{Encoded, diagnostic, from_slice, stability, to_vec};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Decodes the bytes as several types. A value that was decoded must encode to bytes that decode and encode to themselves.
///
/// # Panics
///
/// Panics if the encoding breaks a promise.
pub fn check(bytes: &[u8]) {
    diagnostic(bytes);
    let whole = Encoded::from_bytes(bytes.to_vec());
    if let Ok(encoded) = &whole {
        assert_eq!(to_vec(encoded).expect("accepted bytes must encode"), bytes);
        assert_eq!(&from_slice::<Encoded>(bytes).expect("accepted bytes must decode"), encoded);
        from_slice::<serde::de::IgnoredAny>(bytes).expect("accepted bytes must decode as an ignored value");
    }
    let any = [
        settles::<Shape>(bytes),
        settles::<Vec<Shape>>(bytes),
        settles::<Tree>(bytes),
        settles::<Buffered>(bytes),
        settles::<Option<Option<Option<u8>>>>(bytes),
        settles::<Vec<Option<()>>>(bytes),
        settles::<(u8, String, f64)>(bytes),
        settles::<Vec<f32>>(bytes),
        settles::<Vec<i128>>(bytes),
        settles::<BTreeMap<String, Vec<u16>>>(bytes),
        settles::<HashMap<(i8, i8), char>>(bytes),
        settles::<BTreeSet<Option<bool>>>(bytes),
        settles::<String>(bytes),
        settles::<u128>(bytes),
        settles::<i64>(bytes),
    ];
    assert!(whole.is_ok() || !any.contains(&true), "{} is refused as a whole but decodes as a type", diagnostic(bytes));
}

/// Returns whether the bytes decode as a `T`, whose encoding must then be stable.
fn settles<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> bool {
    let Ok(value) = from_slice::<T>(bytes) else {
        return false;
    };
    // An item of the greatest allowed depth may gain a level when it is encoded in another form, and is then refused.
    let Ok(encoded) = to_vec(&value) else {
        return true;
    };
    let again = from_slice::<T>(&encoded).expect("an encoded value must decode");
    assert_eq!(to_vec(&again).expect("a decoded value must encode"), encoded);
    stability::check::<T>(&encoded).expect("these types must be stable");
    true
}

#[derive(Serialize, Deserialize)]
enum Shape {
    Nothing,
    Circle(f64),
    Box(u16, u16),
    Wide(i128, Option<Option<()>>),
    Named { width: Option<u8>, inside: Option<Box<Shape>>, tags: Vec<String> },
}

#[derive(Serialize, Deserialize)]
struct Tree(Option<Vec<Tree>>);

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Buffered {
    Nothing(()),
    Flag(bool),
    Integer(i64),
    Natural(u64),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    List(Vec<Option<Buffered>>),
    Map(BTreeMap<String, Buffered>),
}
