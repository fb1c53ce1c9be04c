//! A type parameter that may borrow has no identity.
#[fleche_core::fleche]
fn shown<T: serde::Serialize + serde::de::DeserializeOwned>(value: T) -> usize {
    fleche_core::encoding::to_vec(&value).map_or(0, |bytes| bytes.len())
}

fn main() {}
