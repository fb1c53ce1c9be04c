//! Reads the rows of a damaged table: from both ends, and between the damaged places.

use rusqlite::{Connection, Row, params};

/// The maximum number of probes in one table. Each readable or damaged place takes a few, and damaged pages may form a
/// cycle.
const MAX_PROBES: u32 = 10_000;

/// A table with row numbers, as far as it can be read.
pub(crate) struct RowScan<'a> {
    damaged: &'a Connection,
    table: &'static str,
    columns: &'static str,
}

/// The function that receives each row; the row number follows the columns.
type Visit<'a> = &'a mut dyn FnMut(&Row<'_>) -> rusqlite::Result<()>;

/// The result of reading a range.
struct Read {
    /// The number of the last row that was read.
    last: Option<i64>,
    /// Whether the end of the range was reached without an error.
    is_complete: bool,
}

impl<'a> RowScan<'a> {
    pub(crate) fn of(damaged: &'a Connection, table: &'static str, columns: &'static str) -> Self {
        Self { damaged, table, columns }
    }

    /// Visits each row that can be read; some may be visited twice. It is unknown which rows are lost: a damaged page
    /// loses all its rows.
    ///
    /// # Errors
    /// Fails with the errors of `visit`.
    pub(crate) fn visit_all(&self, visit: Visit<'_>) -> rusqlite::Result<()> {
        let up = self.read(i64::MIN, i64::MAX, "ASC", visit)?;
        if up.is_complete {
            return Ok(());
        }
        let mut below = up.last.map_or(i64::MIN, |last| last.saturating_add(1));
        let down = self.read(below, i64::MAX, "DESC", visit)?;
        let above = down.last.unwrap_or(i64::MAX);
        // Row numbers count from 1, so probing begins there if no row was read.
        let (mut at, mut step) = (below.max(0), 1_i64);
        for _ in 0..MAX_PROBES {
            at = at.saturating_add(step);
            if at >= above {
                return self.read(below, above, "DESC", visit).map(drop);
            }
            step = step.saturating_mul(2);
            let up = self.read(at, above, "ASC", visit)?;
            if up.last.is_none() && !up.is_complete {
                continue;
            }
            // The probe has passed the damage, and maybe readable rows.
            self.read(below, at, "DESC", visit)?;
            if up.is_complete {
                return Ok(());
            }
            at = up.last.map_or(at, |last| last.max(at)).saturating_add(1);
            (below, step) = (at, 1);
        }
        Ok(())
    }

    /// Visits the rows from `from` to below `to`, until the first that cannot be read.
    fn read(&self, from: i64, to: i64, order: &str, visit: Visit<'_>) -> rusqlite::Result<Read> {
        let Self { damaged, table, columns } = self;
        let mut read = Read { last: None, is_complete: false };
        let sql = format!(
            "SELECT {columns}, rowid FROM {table} NOT INDEXED WHERE rowid >= ?1 AND rowid < ?2 ORDER BY rowid {order}"
        );
        // Errors come from the damage.
        let Ok(mut statement) = damaged.prepare_cached(&sql) else { return Ok(read) };
        let number = statement.column_count() - 1;
        let Ok(mut rows) = statement.query(params![from, to]) else { return Ok(read) };
        loop {
            match rows.next() {
                Ok(Some(row)) => {
                    visit(row)?;
                    read.last = row.get(number).ok().or(read.last);
                }
                Ok(None) => return Ok(Read { is_complete: true, ..read }),
                Err(_) => return Ok(read),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_a_sound_table_are_visited_once_in_order() {
        let sound = Connection::open_in_memory().unwrap();
        sound.execute_batch("CREATE TABLE t (n INTEGER PRIMARY KEY); INSERT INTO t VALUES (-5), (1), (7)").unwrap();
        let mut found = Vec::new();
        let visit = &mut |row: &Row<'_>| {
            found.push(row.get::<_, i64>(0)?);
            Ok(())
        };
        RowScan::of(&sound, "t", "n").visit_all(visit).unwrap();
        assert_eq!(found, [-5, 1, 7]);
    }

    #[test]
    fn unreadable_table_has_no_rows_visited() {
        let empty = Connection::open_in_memory().unwrap();
        RowScan::of(&empty, "t", "n").visit_all(&mut |_| unreachable!("the table does not exist")).unwrap();
    }

    #[test]
    fn rows_between_damaged_places_are_visited() {
        // A failing function simulates the damage.
        let damaged = Connection::open_in_memory().unwrap();
        damaged
            .execute_batch(
                "CREATE TABLE t (n INTEGER PRIMARY KEY);
                 WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 200) INSERT INTO t SELECT n FROM c",
            )
            .unwrap();
        let bad = |n: i64| (20..=31).contains(&n) || n == 50 || (150..=180).contains(&n);
        let columns = "CASE WHEN n BETWEEN 20 AND 31 OR n = 50 OR n BETWEEN 150 AND 180
            THEN abs(-9223372036854775807 - 1) ELSE n END";
        let mut found = std::collections::BTreeSet::new();
        let visit = &mut |row: &Row<'_>| {
            found.insert(row.get::<_, i64>(0)?);
            Ok(())
        };
        RowScan::of(&damaged, "t", columns).visit_all(visit).unwrap();
        assert!(found.into_iter().eq((1..=200).filter(|n| !bad(*n))));
    }
}
