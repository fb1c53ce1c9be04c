//! Executors over threads of other pools, and progress bars. Executors behind features are tested with
//! `--all-features`.

#[cfg(feature = "tokio")]
#[path = "adapters/tokio.rs"]
mod on_tokio;
#[cfg(feature = "indicatif")]
#[path = "adapters/progress.rs"]
mod progress;
#[cfg(feature = "rayon")]
#[path = "adapters/rayon.rs"]
mod rayon;
#[path = "adapters/serial.rs"]
mod serial;
#[path = "adapters/shared.rs"]
mod shared;
#[path = "adapters/third_party.rs"]
mod third_party;
