//! Deterministic CBOR for serde, with BLAKE3 digests: equal values give the same bytes, on every platform and in every
//! release.
//!
//! The bytes can be hashed, compared and stored, and any CBOR tool can read them.
//!
//! ```
//! use fleche_encoding::{Digest, diagnostic, from_slice, to_vec};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Debug, PartialEq, Serialize, Deserialize)]
//! struct Run {
//!     solver: String,
//!     times: Vec<f64>,
//! }
//!
//! let run = Run { solver: "rk4".into(), times: vec![0.0, 0.5] };
//! let bytes = to_vec(&run)?;
//! assert_eq!(
//!     diagnostic(&bytes),
//!     r#"{"times": 86(h'0000000000000000000000000000e03f' / 0.0, 0.5 /), "solver": "rk4"}"#
//! );
//! assert_eq!(from_slice::<Run>(&bytes)?, run);
//! println!("{}", Digest::hash(&bytes)); // As `b3sum` prints it.
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | to | use |
//! |---|---|
//! | encode a value | [`to_vec`], [`append`], [`to_writer`] |
//! | decode it | [`from_slice`] |
//! | decode several values, one after the other | [`Deserializer`] |
//! | show encoded bytes to a person | [`diagnostic()`] |
//! | carry a value that is already encoded | [`Encoded`] |
//! | hash bytes, and parse hashes | [`Digest`], [`DigestPrefix`] |
//! | give a `HashSet` one encoding | [`unordered`] |
//! | keep the order of an `IndexMap` | [`ordered`] |
//! | find out whether a value has a stable encoding | [`stability::check`] |
//!
//! # Guarantees
//!
//! - **One encoding.** A value is written in the core deterministic form of CBOR ([RFC 8949 §4.2.1]): shortest headers,
//!   definite lengths, map entries and struct fields sorted by their encoded keys. Floats keep their type and every bit.
//! - **Compact lists of numbers.** A sequence of two or more numbers of one primitive type is a typed array ([RFC 8746]),
//!   little endian, and is copied as a block.
//! - **One decoding.** [`from_slice`] refuses bytes in any other form: unsorted or duplicate keys, lengths that could be
//!   shorter, indefinite lengths, unknown tags, trailing bytes. Each [`DecodeError`] has the offset of the fault.
//! - **Options stay distinct.** `Some(x)` is written as x, but `None`, `Some(None)` and `Some(())` are three encodings: a
//!   [tag](WRAP_TAG) marks a `Some` that would look like `None`.
//! - **Safe with untrusted bytes.** Malicious input gives an error. It cannot exhaust the stack, and no length is trusted
//!   beyond the bytes that are present.
//! - **Frozen.** Golden tests pin the bytes. `docs/format.md` in the repository has all rules and worked examples.
//!
//! Serializer and deserializer both report themselves as human readable, because the buffers that serde itself uses (for
//! untagged enums, flattened structs and similar types) do, and all must agree. Types such as `IpAddr` are therefore text.
//!
//! # Stability
//!
//! Two kinds of types break the rule that equal values encode alike: sets, whose elements come in an arbitrary order, and
//! maps that remember an order, which sorting loses. Attributes repair both, and [`stability::check`] detects them.
//!
//! ```
//! use std::collections::HashSet;
//!
//! use fleche_encoding::{stability, to_vec};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! struct Selection {
//!     #[serde(with = "fleche_encoding::unordered")]
//!     ids: HashSet<u32>,
//! }
//!
//! let marked = to_vec(&Selection { ids: (0..100).collect() })?;
//! assert!(stability::check::<Selection>(&marked).is_ok());
//!
//! let plain = to_vec(&(0..100).collect::<HashSet<u32>>())?;
//! let unstable = stability::check::<HashSet<u32>>(&plain).unwrap_err();
//! assert!(unstable.to_string().contains("HashSet"));
//! # Ok::<(), fleche_encoding::EncodeError>(())
//! ```
//!
//! # Errors
//!
//! Encoding fails with an [`EncodeError`], decoding with a [`DecodeError`], parsing a digest with a [`ParseDigestError`]. A
//! decoding error states what is wrong and where:
//!
//! ```
//! use fleche_encoding::{DecodeErrorKind, from_slice};
//!
//! let error = from_slice::<Vec<u8>>(&[0x82, 0x01]).unwrap_err();
//! assert_eq!(error.kind(), &DecodeErrorKind::EndOfInput);
//! assert_eq!(error.to_string(), "the input ends before the item does (at byte 0)");
//! ```
//!
//! # Limits
//!
//! - Values nested more than [`MAX_DEPTH`] levels deep cannot be encoded or decoded.
//! - A map whose keys have the same encoding twice cannot be encoded.
//! - Integers have at most 128 bits; `i128` values that need a bignum tag are still read and written.
//! - Values are encoded in memory as a whole; there is no streaming.
//! - `i128` and `u128` inside values that serde buffers (untagged and internally tagged enums, flattened structs) encode,
//!   but decoding refuses them, because the buffer cannot hold them. An [`Encoded`] there is refused too.
//! - Two values that their `Serialize` writes alike have the same encoding: skipped fields, overlapping untagged variants,
//!   a `u8` and a `u64` of the same value, a unit variant and a string.
//!
//! The crate is part of fleche, a library for persistent memoization, and does not depend on the rest of it.
//!
//! [RFC 8949 §4.2.1]: https://www.rfc-editor.org/rfc/rfc8949#section-4.2.1
//! [RFC 8746]: https://www.rfc-editor.org/rfc/rfc8746

mod collections;
mod deserializer;
mod diagnostic;
mod digest;
mod encoded;
mod error;
mod header;
mod missing_fields;
mod number;
mod parallel;
mod permuted_maps;
mod reader;
mod serializer;
pub mod stability;

pub use collections::{ordered, unordered};
pub use deserializer::{Deserializer, from_slice};
pub use diagnostic::diagnostic;
pub use digest::{Digest, DigestPrefix};
pub use encoded::Encoded;
pub use error::{DecodeError, DecodeErrorKind, EncodeError, ParseDigestError};
pub use header::{MAX_DEPTH, WRAP_TAG};
pub use serializer::{append, to_vec, to_writer};

pub mod spi {
    //! The interface for `fleche-core` beyond the public API. It may change with any release; other crates should not use it.
    //!
    //! - Records and keys are written and read piece by piece: [`append_array_header`], [`append_text`], [`append_bytes`],
    //!   [`CheckedEncoded`].
    //! - An argument that caches its digest is not encoded: [`CachedDigest`], [`append_unless_cached`], [`offer`].
    //! - A result whose type has gained fields since it was recorded is detected: [`from_slice_tracked`], [`lacks_fields_of`].
    //! - Values of the caller are dropped where a panic of their `Drop` is caught: [`check_stability_with`].

    pub use crate::{
        deserializer::from_slice_tracked,
        digest::{CACHED_DIGEST_MARKER, CachedDigest, offer},
        encoded::CheckedEncoded,
        header::{append_array_header, append_bytes, append_text},
        missing_fields::lacks_fields_of,
        serializer::append_unless_cached,
        stability::check_with as check_stability_with,
    };
}

/// The examples of the README, compiled and run as doctests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
