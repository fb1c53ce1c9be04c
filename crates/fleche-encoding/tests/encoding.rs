//! The encoding: its bytes, its limits, and which values round-trip.

#![expect(
    clippy::option_option,
    clippy::zero_sized_map_values,
    reason = "such types are unusual, but they must be encoded, too"
)]

#[path = "encoding/attributes.rs"]
mod attributes;
#[expect(unreachable_pub, reason = "the fuzz target shares this file")]
#[path = "../../../fuzz/check_bytes.rs"]
mod check_bytes;
#[path = "encoding/common.rs"]
mod common;
#[path = "encoding/corpus.rs"]
mod corpus;
#[path = "encoding/document.rs"]
mod document;
#[path = "encoding/encoded.rs"]
mod encoded;
#[path = "encoding/faults.rs"]
mod faults;
#[path = "encoding/golden.rs"]
mod golden;
#[path = "encoding/hostile.rs"]
mod hostile;
#[path = "encoding/notation.rs"]
mod notation;
#[path = "encoding/options.rs"]
mod options;
#[path = "encoding/properties.rs"]
mod properties;
#[path = "encoding/rfc.rs"]
mod rfc;
#[path = "encoding/shapes.rs"]
mod shapes;
#[path = "encoding/stability.rs"]
mod stability;
