//! Claims as rows of a table: the right to compute a missing call, among all processes that share the database.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use fleche_core::{
    CallKey, Digest, Result,
    call::Timestamp,
    claim::{ClaimHolder, LeaseTable},
};

use crate::{
    error::DbError,
    indexed::moment,
    row::Row,
    schema::{LEASE_TTL, millis},
    statement::Statement,
    tables::Tables,
};

/// The table of claims. Times are by the database's own clock, which in SQLite is that of the process. The number of a
/// row is never reused.
pub(crate) struct LeaseRows(pub(crate) Arc<Tables>);

impl LeaseRows {
    fn now(&self) -> &'static str {
        self.0.dialect().now()
    }

    /// Implements [`CallStore::claim_holder`](fleche_core::CallStore::claim_holder).
    pub(crate) fn claim_holder(&self, key: &CallKey) -> Result<Option<ClaimHolder>> {
        self.owner_for(key, LEASE_TTL)
    }

    /// Returns the holder of a lease that lasts at most `lasts` from now, if there is one.
    fn owner_for(&self, key: &CallKey, lasts: Duration) -> Result<Option<ClaimHolder>> {
        let now = self.now();
        let sql = format!(
            "SELECT host, process, since, awaits FROM fleche_leases WHERE key = $1 AND until > {now} AND until <= {now} + $2"
        );
        let wanted = Statement::new(sql).bytes(key.digest().as_bytes()).integer(millis(lasts));
        Ok(self.0.read(&wanted, claim_holder)?.pop())
    }
}

impl LeaseTable for LeaseRows {
    fn acquire(&self, key: &CallKey, owner: &ClaimHolder, lasts: Duration) -> Result<Option<u64>> {
        // Waiting processes ask often, and need not block writers.
        if self.owner_for(key, lasts)?.is_some() {
            return Ok(None);
        }
        let (id, now) = (key.digest().as_bytes(), self.now());
        // A claim that ends later than a lease lasts was written with a clock that was ahead.
        let over = format!("DELETE FROM fleche_leases WHERE key = $1 AND (until <= {now} OR until > {now} + $2)");
        let grant = format!(
            "INSERT INTO fleche_leases (key, until, host, process, since, awaits)
             VALUES ($1, {now} + $2, $3, $4, $5, $6) ON CONFLICT (key) DO NOTHING RETURNING number"
        );
        let since = owner.since.duration_since(UNIX_EPOCH).unwrap_or_default();
        let since = Timestamp(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX));
        let grant = Statement::new(grant).bytes(id).integer(millis(lasts)).bytes(owner.host.as_bytes());
        let grant =
            grant.integer(owner.process.into()).integer(moment(since)).maybe_bytes(awaits(owner.waiting_on.as_deref()));
        let numbers = self.0.write(&[Statement::new(over).bytes(id).integer(millis(lasts)), grant])?;
        Ok(numbers.first().copied().map(i64::cast_unsigned))
    }

    fn renew(&self, key: &CallKey, grant: u64, lasts: Duration) -> Result<bool> {
        let sql =
            format!("UPDATE fleche_leases SET until = {} + $1 WHERE key = $2 AND number = $3 RETURNING 1", self.now());
        Ok(self.0.change(of(Statement::new(sql).integer(millis(lasts)), key, grant))? > 0)
    }

    fn release(&self, key: &CallKey, grant: u64) -> Result<()> {
        let delete = Statement::new("DELETE FROM fleche_leases WHERE key = $1 AND number = $2");
        self.0.change(of(delete, key, grant))?;
        Ok(())
    }

    fn publish(&self, key: &CallKey, grant: u64, keys: Option<&[CallKey]>) -> Result<()> {
        let update = Statement::new("UPDATE fleche_leases SET awaits = $1 WHERE key = $2 AND number = $3");
        self.0.change(of(update.maybe_bytes(awaits(keys)), key, grant))?;
        Ok(())
    }
}

/// Adds the two parameters that identify one grant of the call.
fn of<'a>(statement: Statement<'a>, key: &'a CallKey, grant: u64) -> Statement<'a> {
    statement.bytes(key.digest().as_bytes()).integer(grant.cast_signed())
}

/// Encodes the keys as the concatenation of their bytes.
fn awaits(keys: Option<&[CallKey]>) -> Option<Vec<u8>> {
    keys.map(|keys| keys.iter().flat_map(|key| *key.digest().as_bytes()).collect())
}

fn claim_holder(row: Row<'_>) -> Result<ClaimHolder, DbError> {
    let since = Duration::from_nanos(row.integer(2)?.try_into().unwrap_or(0));
    let awaits = row.maybe_bytes(3)?.map(|bytes| {
        let (keys, _) = bytes.as_chunks::<32>();
        keys.iter().map(|key| CallKey::from(Digest::from_bytes(*key))).collect()
    });
    Ok(ClaimHolder {
        host: String::from_utf8_lossy(row.bytes(0)?).into_owned(),
        process: u32::try_from(row.integer(1)?).unwrap_or(0),
        since: SystemTime::UNIX_EPOCH + since,
        waiting_on: awaits,
    })
}
