//! The encoding: its bytes, its limits, and what survives it.

#[path = "encoding/common.rs"]
mod common;
#[path = "encoding/golden.rs"]
mod golden;
#[path = "encoding/options.rs"]
mod options;
