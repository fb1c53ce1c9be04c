//! The one canonical encoding: deterministic CBOR, the bytes that are hashed and the bytes that are stored.
