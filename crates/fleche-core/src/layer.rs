//! Layers: stores that are made of other stores, or of none.

mod void;

pub use void::Void;
