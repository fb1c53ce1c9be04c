//! The form in which names and values stand in indices, and the rows by which a record is found.

use fleche_core::{CallKey, Digest, Record, Result, ValueRef, call::Timestamp, encoding, query::Field};

use crate::statement::Statement;

/// The longest name, in bytes, that stands in an index as it is: an entry of an index of PostgreSQL has 2704 bytes at most,
/// and some have two names.
const LONGEST: usize = 512;
/// How many rows are inserted by one statement.
const TOGETHER: usize = 300;

/// A name. Two long ones may, in theory, have one form: what a query finds is checked.
pub(crate) fn name(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    if bytes.len() <= LONGEST {
        return bytes.to_vec();
    }
    let digest = Digest::of(bytes);
    [&bytes[..LONGEST - digest.as_bytes().len()], digest.as_bytes()].concat()
}

/// A value: what a record has of it.
pub(crate) fn value(reference: &ValueRef) -> Result<Vec<u8>> {
    Ok(encoding::to_vec(reference)?)
}

/// A number. Those beyond the databases' own, which end at 2^63, are all the last one.
pub(crate) fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A moment, in nanoseconds since 1970: until the year 2262 as it is.
pub(crate) fn moment(Timestamp(nanoseconds): Timestamp) -> i64 {
    number(nanoseconds)
}

/// Puts the record, whose bytes these are, in place of an earlier one, with the rows by which it is found.
pub(crate) fn insertion(key: &CallKey, record: &Record, bytes: Vec<u8>) -> Result<Vec<Statement>> {
    let id = *key.digest().as_bytes();
    let put = "INSERT INTO fleche_calls (key, function, version, written, record) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (key) DO UPDATE SET function = excluded.function, version = excluded.version,
            written = excluded.written, record = excluded.record";
    let put = Statement::new(put).bytes(id).bytes(name(&record.function.name)).integer(number(record.function.version));
    let mut statements = vec![put.integer(moment(record.written)).bytes(bytes)];
    // A call has the same arguments whenever it is recorded: they are part of its key. Metadata is another each time.
    statements.push(Statement::new(format!("DELETE FROM fleche_metadata WHERE call = {NUMBER}")).bytes(id));
    let arguments = record.arguments.iter().map(|argument| Ok(vec![name(&argument.0), value(&argument.1)?]));
    statements.extend(rows("fleche_arguments (call, name, reference)", id, &arguments.collect::<Result<Vec<_>>>()?));
    let fields = Field::of(&record.metadata);
    let fields = fields.iter().map(|field| Ok(vec![name(&field.kind), name(&field.name), value(&field.value)?]));
    statements.extend(rows("fleche_metadata (call, kind, name, value)", id, &fields.collect::<Result<Vec<_>>>()?));
    Ok(statements)
}

/// The number of the call whose key is the first parameter.
const NUMBER: &str = "(SELECT number FROM fleche_calls WHERE key = $1)";

/// Inserts rows that begin with the call's number and go on with these, unless they are there.
fn rows(table: &str, call: [u8; 32], rows: &[Vec<Vec<u8>>]) -> Vec<Statement> {
    let insert = |rows: &[Vec<Vec<u8>>]| {
        let mut statement = Statement::new(format!("INSERT INTO {table} VALUES ")).bytes(call);
        for (at, row) in rows.iter().enumerate() {
            statement.push(&format!("{}({NUMBER}", if at == 0 { "" } else { ", " }));
            for cell in row {
                statement.push(&format!(", ${}", statement.next()));
                statement = statement.bytes(&**cell);
            }
            statement.push(")");
        }
        statement.push(" ON CONFLICT DO NOTHING");
        statement
    };
    rows.chunks(TOGETHER).map(insert).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_cut_and_still_told_apart() {
        let long = |last: &str| format!("{}{last}", "a".repeat(600));
        assert_eq!(name("short"), b"short");
        assert_eq!(name(&long("1")).len(), LONGEST);
        assert_ne!(name(&long("1")), name(&long("2")));
    }

    #[test]
    fn numbers_keep_their_order() {
        let numbers = [0, 1, 1 << 62, u64::MAX >> 1, 1 << 63, u64::MAX].map(number);
        assert!(numbers.is_sorted() && numbers[0] == 0 && numbers[5] == i64::MAX);
    }
}
