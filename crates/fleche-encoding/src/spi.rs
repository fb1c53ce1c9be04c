//! The interface for `fleche-core` beyond the public API. It may change with any release; other crates should not use it.
//!
//! - Records and keys are written and read piece by piece: [`append_array_header`], [`append_text`], [`append_bytes`],
//!   [`CheckedEncoded`].
//! - An argument that caches its digest is not encoded: [`CachedDigest`], [`append_unless_cached`], [`offer`].
//! - A result whose type has gained fields since it was recorded is detected: [`from_slice_tracked`], [`lacks_fields_of`].
//! - Values of the caller are dropped where a panic of their `Drop` is caught: [`check_stability_with`].

pub use crate::{
    cached_digest::{CachedDigest, MARKER as CACHED_DIGEST_MARKER, offer},
    deserializer::from_slice_tracked,
    encoded::CheckedEncoded,
    header::{append_array_header, append_bytes, append_text},
    missing_fields::lacks_fields_of,
    serializer::append_unless_cached,
    stability::check_with as check_stability_with,
};
