//! `Attempt`: acquires a claim from other processes, for all waiters in this process.

use std::{
    collections::VecDeque,
    io, mem,
    sync::{Arc, atomic::Ordering},
};

use fleche_core::{Error, claim::Held};

use super::{
    held::ByteClaim,
    lock_levels::{Level, Look, Place, Taking},
    table::{State, Table, Waiting},
};
use crate::claims::lock_waits::{self as threads, Finish, Wait, Watched};

pub(super) struct Attempt {
    table: Arc<Table>,
    place: Place,
    number: u64,
    level: Level,
    /// The result of the last blocking lock.
    blocked: io::Result<()>,
}

impl Attempt {
    pub(super) fn new(table: &Arc<Table>, place: Place, number: u64, level: Level) -> Self {
        Self { table: Arc::clone(table), place, number, level, blocked: Ok(()) }
    }

    /// Runs the attempt on a thread of its own, or on the polling thread.
    pub(super) fn start(self) {
        threads::wait(Box::new(self));
    }
}

impl Wait for Attempt {
    fn block(&mut self) {
        self.blocked = self.table.file.lock(self.place.byte(self.level));
    }

    fn try_now(&mut self) -> Option<Finish> {
        let Self { table, place, number, level, blocked } = self;
        let mut entries = table.entries(*place);
        let Some(entry) = entries.get_mut(&place.base) else {
            table.file.unlock(place.byte(*level));
            return Some(Box::new(|| ()));
        };
        let Some(waiting) = entry.waits_by(*number) else {
            // Another attempt serves the queue, or has served it. The byte that this attempt may have locked is
            // unlocked, unless it is the one by which this process holds the claim.
            if !matches!(entry.state, State::Held(held) if held == *level) {
                table.file.unlock(place.byte(*level));
            }
            return Some(Box::new(|| ()));
        };
        match mem::replace(blocked, Ok(())).and_then(|()| table.file.take(*place, *level)) {
            Ok(Taking::Busy(other)) => {
                if waiting.level != other {
                    *waiting = Waiting { attempt: *number, level: other, suspect: None };
                }
                *level = other;
                None
            }
            Ok(Taking::Held(held)) => {
                entry.state = State::Held(held);
                let then = entry.queue.pop_front();
                table.waits.fetch_sub(1, Ordering::Relaxed);
                let held: Arc<dyn Held> = Arc::new(ByteClaim::new(table, *place, held));
                drop(entries);
                // The callback takes the claim: it ends when its new holder drops it, not when this thread ends.
                Some(Box::new(move || {
                    if let Some(then) = then {
                        then(Ok(held));
                    }
                }))
            }
            Err(error) => {
                drop(entries);
                Some(self.give_up(error))
            }
        }
    }

    fn give_up(&mut self, error: io::Error) -> Finish {
        let Self { table, place, number, .. } = self;
        let mut entries = table.entries(*place);
        let mut queue = VecDeque::new();
        if let Some(entry) = entries.get_mut(&place.base)
            && entry.waits_by(*number).is_some()
        {
            queue = mem::take(&mut entry.queue);
            entries.remove(&place.base);
            table.waits.fetch_sub(1, Ordering::Relaxed);
        }
        let path = table.file.path.clone();
        Box::new(move || {
            for then in queue {
                then(Err(Error::io("lock", &path)(io::Error::new(error.kind(), error.to_string()))));
            }
        })
    }
}

impl Watched for Table {
    fn look(self: Arc<Self>) {
        let mut attempts = Vec::new();
        for mut entries in self.all_entries() {
            for entry in entries.values_mut() {
                let State::Waiting(waiting) = &mut entry.state else { continue };
                // If the file can no longer be queried, the attempt itself reports the error.
                match self.file.look(entry.place, waiting.level, waiting.suspect.as_ref()).unwrap_or(Look::Fine) {
                    Look::Fine => waiting.suspect = None,
                    Look::Suspect(suspect) => waiting.suspect = Some(suspect),
                    Look::Elsewhere(level) => {
                        let attempt = self.next_attempt();
                        *waiting = Waiting { attempt, level, suspect: None };
                        attempts.push(Attempt::new(&self, entry.place, attempt, level));
                    }
                }
            }
        }
        attempts.into_iter().for_each(Attempt::start);
    }

    fn has_waits(&self) -> bool {
        self.waits.load(Ordering::Relaxed) > 0
    }
}
