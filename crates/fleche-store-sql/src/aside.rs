//! Setting damaged entries aside, in a table where somebody may look at them and nobody is served them.

use fleche_core::{CallKey, Digest, Result};

use crate::{
    database::Tables,
    dialect::Dialect,
    error::damaged,
    statement::{Row, Statement},
};

/// What became of an entry that was to be set aside, and is not damaged.
pub(crate) enum Found {
    /// Another one stands in its place.
    Another,
    /// None: somebody else has set it aside, or removed it.
    Gone,
}

impl Tables {
    /// Moves the value to `fleche_damaged`, if it still has these bytes, which are damaged because of `why`.
    ///
    /// # Errors
    /// [`Error::Damaged`](fleche_core::Error::Damaged) if it had, moved or not.
    pub(crate) fn set_value_aside(&self, id: &Digest, bytes: &[u8], why: &str) -> Result<Found> {
        let remove = Statement::new("DELETE FROM fleche_values WHERE id = $1 AND bytes = $2 RETURNING 1");
        let keep = self.keep_aside("values", "SELECT id, bytes FROM fleche_values WHERE id = $1 AND bytes = $2");
        let statements = vec![
            keep.bytes(*id.as_bytes()).bytes(bytes).bytes(why.as_bytes()),
            remove.bytes(*id.as_bytes()).bytes(bytes),
        ];
        let entry = format!("value {id}");
        self.moved(self.write(statements), &entry, why)?;
        let still = Statement::new("SELECT 1 FROM fleche_values WHERE id = $1").bytes(*id.as_bytes());
        Ok(if self.read(still)?.is_empty() { Found::Gone } else { Found::Another })
    }

    /// The same for a record.
    pub(crate) fn set_record_aside(&self, key: &CallKey, record: &[u8], why: &str) -> Result<Found> {
        let id = *key.digest().as_bytes();
        let keep = self.keep_aside("calls", "SELECT key, record FROM fleche_calls WHERE key = $1 AND record = $2");
        let mut statements = vec![keep.bytes(id).bytes(record).bytes(why.as_bytes())];
        statements.extend(removal(self.dialect(), key, record));
        let entry = format!("the record of call {key}");
        self.moved(self.write(statements), &entry, why)?;
        let still = Statement::new("SELECT 1 FROM fleche_calls WHERE key = $1").bytes(id);
        Ok(if self.read(still)?.is_empty() { Found::Gone } else { Found::Another })
    }

    /// Copies what the query, of a key and bytes, gives. `$3` is why.
    fn keep_aside(&self, origin: &str, query: &str) -> Statement {
        let (now, for_update) = (self.dialect().now(), self.dialect().for_update());
        Statement::new(format!(
            "INSERT INTO fleche_damaged (origin, key, bytes, why, noticed)
             SELECT '{origin}', found.*, $3, {now} FROM ({query} {for_update}) AS found"
        ))
    }

    /// The error that tells of the damage, if the last statement has removed the entry, or none could.
    fn moved(&self, done: Result<Vec<Vec<Row>>>, entry: &str, why: &str) -> Result<()> {
        match done {
            Ok(rows) if rows.last().is_none_or(Vec::is_empty) => Ok(()),
            Ok(_) => Err(damaged(&self.name, entry, why, "it is kept in the table `fleche_damaged`")),
            Err(error) => {
                let fate = format!("it stays where it is, for it cannot be set aside: {error}");
                Err(damaged(&self.name, entry, why, fate))
            }
        }
    }
}

/// Removes the record, if it is this one, with what is kept of it elsewhere. The last of these statements gives a row for
/// it.
pub(crate) fn removal(dialect: Dialect, key: &CallKey, record: &[u8]) -> [Statement; 4] {
    const CALL: &str = "FROM fleche_calls WHERE key = $1 AND record = $2";
    let of_it = |sql: String| Statement::new(sql).bytes(*key.digest().as_bytes()).bytes(record);
    [
        // From here on it is this one or not, whoever else is at work.
        of_it(format!("SELECT 1 {CALL} {}", dialect.for_update())),
        of_it(format!("DELETE FROM fleche_arguments WHERE call = (SELECT number {CALL})")),
        of_it(format!("DELETE FROM fleche_metadata WHERE call = (SELECT number {CALL})")),
        of_it(format!("DELETE {CALL} RETURNING 1")),
    ]
}
