//! The encoding: its bytes, its limits, and what survives it.

#[path = "encoding/common.rs"]
mod common;
#[path = "encoding/encoded.rs"]
mod encoded;
#[path = "encoding/golden.rs"]
mod golden;
#[path = "encoding/hostile.rs"]
mod hostile;
#[path = "encoding/notation.rs"]
mod notation;
#[path = "encoding/options.rs"]
mod options;
#[path = "encoding/rfc.rs"]
mod rfc;
#[path = "encoding/stability.rs"]
mod stability;
