//! Lists keys page by page, each from where the last one ended, so that nothing stays open between pages.

use fleche_core::{
    Digest, DigestPrefix,
    store::{
        Entries,
        kit::{pages, prefix_bounds},
    },
};

use crate::{error::DbError, statement::Statement, tables::Tables};

/// The number of keys in a page.
const PAGE: usize = 1000;

/// Returns the digests with this prefix. The statement ends with the name of the column that holds them, which is the
/// table's key.
pub(crate) fn keys<'a>(tables: &'a Tables, select: &'static str, prefix: &DigestPrefix) -> Entries<'a, Digest> {
    let (first, last) = prefix_bounds(prefix);
    Box::new(pages(move |after: Option<Digest>| {
        let (from, relation) = after.map_or((first, ">="), |after| (after, ">"));
        let column = select.rsplit(' ').next().unwrap_or_default();
        let sql = format!("{select} {relation} $1 AND {column} <= $2 ORDER BY {column} LIMIT {PAGE}");
        // A damaged key does not end the listing.
        let digests = tables.read(&Statement::new(sql).bytes(from.as_bytes()).bytes(last.as_bytes()), |row| {
            Ok(digest(row.bytes(0)?))
        })?;
        let next = digests.last().and_then(|last| last.as_ref().ok()).copied().filter(|_| digests.len() == PAGE);
        let digests = digests.into_iter().map(|digest| digest.map_err(|error| error.into_error(&tables.name)));
        Ok((digests.collect(), next))
    }))
}

/// Returns the digest that consists of these bytes of a key.
pub(crate) fn digest(bytes: &[u8]) -> Result<Digest, DbError> {
    <[u8; 32]>::try_from(bytes).map(Digest::from_bytes).map_err(|_| DbError::content("a key is not a digest"))
}
