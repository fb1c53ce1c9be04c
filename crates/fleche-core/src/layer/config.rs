//! The configurations of layers, which contain those of their stores.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Describes how to open a [`Stack`](super::Stack): `{"type":"stack","stores":[…]}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StackConfig<C> {
    /// The stores in the order in which they are read. The first is written to.
    pub stores: Vec<C>,
}

/// Describes how to open a [`Pool`](super::Pool): `{"type":"pool","stores":[…]}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolConfig<C> {
    /// The stores in the order in which they are read.
    pub stores: Vec<C>,
}

/// Describes how to open a [`ReadOnly`](super::ReadOnly): `{"type":"read-only","store":…}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadOnlyConfig<C> {
    /// The store that is only read.
    pub store: C,
}

/// Checks that no store of a stack is itself a stack.
///
/// # Errors
/// Fails with [`Error::Config`] if one is.
pub(super) fn no_stack_in(are_stacks: impl IntoIterator<Item = bool>) -> Result<()> {
    if are_stacks.into_iter().any(|is_stack| is_stack) {
        return Err(invalid("stack", "one of its stores is a stack: list the stores of that stack instead"));
    }
    Ok(())
}

/// Collects the stores of a layer.
///
/// # Errors
/// Fails with [`Error::Config`] if there are none.
pub(super) fn some<S>(layer: &str, stores: impl IntoIterator<Item = S>) -> Result<Vec<S>> {
    let stores: Vec<_> = stores.into_iter().collect();
    if stores.is_empty() {
        return Err(invalid(layer, "it has no stores: list at least one, or use `void`, which stores nothing"));
    }
    Ok(stores)
}

fn invalid(layer: &str, why: &str) -> Error {
    Error::Config { place: format!("a layer of type `{layer}`"), why: why.to_owned() }
}
