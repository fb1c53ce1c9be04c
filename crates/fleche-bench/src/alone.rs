//! What peers that are databases by themselves share.

use redb::TableDefinition;

/// The one table of a redb that has entries to itself, under their digests.
pub(crate) const TABLE: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("entries");

/// What an error says.
#[allow(clippy::needless_pass_by_value)] // As `map_err` gives it.
pub(crate) fn said(error: impl ToString) -> String {
    error.to_string()
}
