//! Quarantine: damaged entries are moved to a table where users can inspect them and no lookup finds them.

use fleche_core::{CallKey, Digest, Result};

use crate::{
    error::damaged,
    statement::Dialect,
    statement::{Row, Statement},
    tables::Tables,
};

/// The result of quarantining an entry that had changed since.
pub(crate) enum Quarantined {
    /// Another entry has replaced the damaged one.
    Another,
    /// Another process has quarantined or removed the damaged entry.
    Gone,
}

impl Tables {
    /// Moves the value to `fleche_damaged`, if it still has these bytes, which are damaged because of `why`.
    ///
    /// # Errors
    /// Fails with [`Error::Damaged`](fleche_core::Error::Damaged) if it still had these bytes, whether or not it could
    /// be moved.
    pub(crate) fn quarantine_value(&self, id: &Digest, bytes: &[u8], why: &str) -> Result<Quarantined> {
        let remove = Statement::new("DELETE FROM fleche_values WHERE id = $1 AND bytes = $2 RETURNING 1");
        let keep = self.back_up("values", "SELECT id, bytes FROM fleche_values WHERE id = $1 AND bytes = $2");
        let statements = vec![
            keep.bytes(*id.as_bytes()).bytes(bytes).bytes(why.as_bytes()),
            remove.bytes(*id.as_bytes()).bytes(bytes),
        ];
        let entry = format!("value {id}");
        self.moved(self.write(statements), &entry, why)?;
        let still = Statement::new("SELECT 1 FROM fleche_values WHERE id = $1").bytes(*id.as_bytes());
        Ok(if self.read(still)?.is_empty() { Quarantined::Gone } else { Quarantined::Another })
    }

    /// Moves the record to `fleche_damaged`, like [`quarantine_value`](Self::quarantine_value).
    pub(crate) fn quarantine_record(&self, key: &CallKey, record: &[u8], why: &str) -> Result<Quarantined> {
        let id = *key.digest().as_bytes();
        let keep = self.back_up("calls", "SELECT key, record FROM fleche_calls WHERE key = $1 AND record = $2");
        let mut statements = vec![keep.bytes(id).bytes(record).bytes(why.as_bytes())];
        statements.extend(removal(self.dialect(), key, record));
        let entry = format!("the record of call {key}");
        self.moved(self.write(statements), &entry, why)?;
        let still = Statement::new("SELECT 1 FROM fleche_calls WHERE key = $1").bytes(id);
        Ok(if self.read(still)?.is_empty() { Quarantined::Gone } else { Quarantined::Another })
    }

    /// Returns a statement that copies the result of the query, a key and bytes, to `fleche_damaged`. `$3` is the
    /// reason.
    fn back_up(&self, origin: &str, query: &str) -> Statement {
        let (now, for_update) = (self.dialect().now(), self.dialect().for_update());
        Statement::new(format!(
            "INSERT INTO fleche_damaged (origin, key, bytes, why, noticed)
             SELECT '{origin}', found.*, $3, {now} FROM ({query} {for_update}) AS found"
        ))
    }

    /// Returns the error for the damage if the last statement has removed the entry, or if the statements failed.
    fn moved(&self, done: Result<Vec<Vec<Row>>>, entry: &str, why: &str) -> Result<()> {
        match done {
            Ok(rows) if rows.last().is_none_or(Vec::is_empty) => Ok(()),
            Ok(_) => Err(damaged(&self.name, entry, why, "it was moved to the table `fleche_damaged`")),
            Err(error) => {
                let fate = format!("it stays in place, since it cannot be moved: {error}");
                Err(damaged(&self.name, entry, why, fate))
            }
        }
    }
}

/// Returns statements that remove the record, if it has these bytes, and its index rows. The last one returns a row if
/// the record was removed.
pub(crate) fn removal(dialect: Dialect, key: &CallKey, record: &[u8]) -> [Statement; 4] {
    const CALL: &str = "FROM fleche_calls WHERE key = $1 AND record = $2";
    let of_it = |sql: String| Statement::new(sql).bytes(*key.digest().as_bytes()).bytes(record);
    [
        // Locks the row, so that the statements below see the same record.
        of_it(format!("SELECT 1 {CALL} {}", dialect.for_update())),
        of_it(format!("DELETE FROM fleche_arguments WHERE call = (SELECT number {CALL})")),
        of_it(format!("DELETE FROM fleche_metadata WHERE call = (SELECT number {CALL})")),
        of_it(format!("DELETE {CALL} RETURNING 1")),
    ]
}
