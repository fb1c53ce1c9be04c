//! The form of names and values in indices, and the index rows of a record.

use fleche_core::{CallKey, Digest, Record, Result, ValueRef, call::Timestamp, encoding, store::MetadataField};

use crate::statement::Statement;

/// The maximum length of an unmodified name in an index, in bytes: an index entry of PostgreSQL has at most 2704 bytes,
/// and some have two names.
const MAX_LEN: usize = 512;
/// The maximum number of rows that one statement inserts.
const ROWS_PER_STATEMENT: usize = 300;

/// Returns the indexed form of a name. In theory, two long names may have the same form, so the records that a query
/// finds are checked.
pub(crate) fn name(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    if bytes.len() <= MAX_LEN {
        return bytes.to_vec();
    }
    let digest = Digest::hash(bytes);
    [&bytes[..MAX_LEN - digest.as_bytes().len()], digest.as_bytes()].concat()
}

/// Returns the indexed form of a value: the encoded reference.
pub(crate) fn value(reference: &ValueRef) -> Result<Vec<u8>> {
    Ok(encoding::to_vec(reference)?)
}

/// Returns the indexed form of a number. Numbers beyond the range of the databases become its maximum, 2^63 - 1.
pub(crate) fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Returns the indexed form of a time, in nanoseconds since the Unix epoch; it is exact until the year 2262.
pub(crate) fn moment(Timestamp(nanoseconds): Timestamp) -> i64 {
    number(nanoseconds)
}

/// Returns the statements that store the record with these bytes and its index rows, replacing an earlier one.
pub(crate) fn insertion<'a>(key: &'a CallKey, record: &Record, bytes: Vec<u8>) -> Result<Vec<Statement<'a>>> {
    let id = key.digest().as_bytes();
    let put = "INSERT INTO fleche_calls (key, function, version, written, record) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (key) DO UPDATE SET function = excluded.function, version = excluded.version,
            written = excluded.written, record = excluded.record";
    let put = Statement::new(put).bytes(id).bytes(name(&record.function.name)).integer(number(record.function.version));
    let mut statements = vec![put.integer(moment(record.written)).bytes(bytes)];
    // The arguments are part of the call's key, so they are the same for each record of it. Metadata may differ.
    statements.push(Statement::new(format!("DELETE FROM fleche_metadata WHERE call = {NUMBER}")).bytes(id));
    let arguments = record.arguments.iter().map(|argument| Ok(vec![name(&argument.0), value(&argument.1)?]));
    statements.extend(rows("fleche_arguments (call, name, reference)", id, arguments.collect::<Result<Vec<_>>>()?));
    let fields = MetadataField::from_metadata(&record.metadata);
    let fields = fields.iter().map(|field| Ok(vec![name(&field.kind), name(&field.name), value(&field.value)?]));
    statements.extend(rows("fleche_metadata (call, kind, name, value)", id, fields.collect::<Result<Vec<_>>>()?));
    Ok(statements)
}

/// A query for the number of the call whose key is the first parameter.
const NUMBER: &str = "(SELECT number FROM fleche_calls WHERE key = $1)";

/// Returns the statements that insert rows of the call's number and these columns, unless they exist.
fn rows<'a>(table: &str, call: &'a [u8; 32], mut rows: Vec<Vec<Vec<u8>>>) -> Vec<Statement<'a>> {
    let insert = |rows: &mut [Vec<Vec<u8>>]| {
        let mut statement = Statement::new(format!("INSERT INTO {table} VALUES ")).bytes(call);
        for (at, row) in rows.iter_mut().enumerate() {
            statement.push(&format!("{}({NUMBER}", if at == 0 { "" } else { ", " }));
            for cell in row.drain(..) {
                statement.push(&format!(", ${}", statement.next()));
                statement = statement.bytes(cell);
            }
            statement.push(")");
        }
        statement.push(" ON CONFLICT DO NOTHING");
        statement
    };
    rows.chunks_mut(ROWS_PER_STATEMENT).map(insert).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_truncated_and_remain_distinct() {
        let long = |last: &str| format!("{}{last}", "a".repeat(600));
        assert_eq!(name("short"), b"short");
        assert_eq!(name(&long("1")).len(), MAX_LEN);
        assert_ne!(name(&long("1")), name(&long("2")));
    }

    #[test]
    fn numbers_keep_their_order() {
        let numbers = [0, 1, 1 << 62, u64::MAX >> 1, 1 << 63, u64::MAX].map(number);
        assert!(numbers.is_sorted() && numbers[0] == 0 && numbers[5] == i64::MAX);
    }
}
