//! Shared helpers of the benchmarks that use a database engine directly as a peer.

use redb::TableDefinition;

/// The single table of a peer's redb database, which maps digests to bytes.
pub(crate) const TABLE: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("entries");

/// Returns the error's message.
#[allow(clippy::needless_pass_by_value)] // `map_err` passes errors by value.
pub(crate) fn said(error: impl ToString) -> String {
    error.to_string()
}
