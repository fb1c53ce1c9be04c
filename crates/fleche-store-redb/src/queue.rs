//! Group commit: of those who want something done, one does it for all who wait meanwhile.

use std::{
    collections::VecDeque,
    mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use fleche_core::Result;

use crate::{
    database::Inner,
    error::backend,
    operation::{Operation, Outcome},
};

/// Who waits for the one who commits. There is such a leader whenever somebody waits.
#[derive(Default)]
pub(crate) struct Queue(Mutex<State>);

#[derive(Default)]
struct State {
    led: bool,
    waiting: VecDeque<Waiting>,
}

struct Waiting {
    task: Task,
    seat: Arc<Seat>,
}

enum Task {
    /// To be done by whoever leads.
    Operation { operation: Operation<'static>, durable: bool },
    /// The one who waits wants to lead: what it has to do is too much to be copied, or of another kind.
    Lead,
}

/// Where somebody waits.
#[derive(Default)]
struct Seat {
    news: Mutex<News>,
    told: Condvar,
}

#[derive(Default)]
enum News {
    #[default]
    None,
    Done(Result<Outcome>),
    Lead,
}

/// An operation of more bytes is not copied for others to do it.
const MOST_COPIED: usize = 1 << 16;
/// So many are done in one transaction.
const MOST_TOGETHER: usize = 1024;
/// So many transactions does one thread do for others, before another has to.
const ROUNDS: usize = 16;

impl Inner {
    /// Does the operation, in one commit with those of others; durable if that is asked for.
    pub(crate) fn submit(&self, operation: &Operation<'_>, durable: bool) -> Result<Outcome> {
        let copied = operation.len() <= MOST_COPIED;
        let task = || if copied { Task::Operation { operation: operation.to_owned(), durable } } else { Task::Lead };
        let Some(seat) = self.queue.enter(task) else { return self.lead(Some((operation, durable)), &Seat::default()) };
        match seat.wait() {
            News::Done(outcome) => outcome,
            News::Lead if copied => self.lead(None, &seat),
            News::Lead | News::None => self.lead(Some((operation, durable)), &seat),
        }
    }

    /// Runs this while nobody commits.
    pub(crate) fn alone<T>(&self, run: impl FnOnce() -> T) -> T {
        if let Some(seat) = self.queue.enter(|| Task::Lead) {
            seat.wait();
        }
        let done = run();
        self.queue.hand_over();
        done
    }

    /// Commits what there is to do, until there is nothing, or it is another's turn. The outcome of the own operation,
    /// which is at hand or waits with this seat.
    fn lead(&self, own: Option<(&Operation<'_>, bool)>, seat: &Seat) -> Result<Outcome> {
        let mut outcome = None;
        for round in 0..ROUNDS {
            let own = own.filter(|_| round == 0);
            if round > 0 {
                // Those who were told have more to do, and come before the next commit.
                thread::yield_now();
            }
            let others = self.queue.take();
            if own.is_none() && others.is_empty() {
                break;
            }
            let operations: Vec<_> =
                own.iter().copied().chain(others.iter().map(|(operation, durable, _)| (operation, *durable))).collect();
            let mut outcomes = self.commit_together(&operations).into_iter();
            if own.is_some() {
                outcome = outcomes.next();
            }
            for ((_, _, seat), outcome) in others.iter().zip(outcomes) {
                seat.tell(News::Done(outcome));
            }
        }
        self.queue.hand_over();
        let outcome = outcome.or_else(|| match seat.wait() {
            News::Done(outcome) => Some(outcome),
            News::Lead | News::None => None,
        });
        outcome.unwrap_or_else(|| Err(backend(&self.path, &redb::Error::TransactionInProgress)))
    }

    /// All in one transaction; where that fails, each in its own, so that one that cannot be done harms no other.
    fn commit_together(&self, operations: &[(&Operation<'_>, bool)]) -> Vec<Result<Outcome>> {
        let durable = operations.iter().any(|(_, durable)| *durable);
        let all: Vec<_> = operations.iter().map(|(operation, _)| *operation).collect();
        match self.commit(&all, durable) {
            Ok(outcomes) => outcomes.into_iter().map(Ok).collect(),
            Err(error) if all.len() == 1 => vec![Err(backend(&self.path, &error))],
            Err(_) => operations
                .iter()
                .map(|(operation, durable)| {
                    let outcomes = self.commit(&[operation], *durable);
                    outcomes.map(|outcomes| outcomes[0]).map_err(|error| backend(&self.path, &error))
                })
                .collect(),
        }
    }
}

impl Queue {
    /// A seat in the queue; `None` where nobody leads, and so the caller does.
    fn enter(&self, task: impl FnOnce() -> Task) -> Option<Arc<Seat>> {
        let mut state = self.lock();
        if !mem::replace(&mut state.led, true) {
            return None;
        }
        let seat = Arc::new(Seat::default());
        state.waiting.push_back(Waiting { task: task(), seat: Arc::clone(&seat) });
        Some(seat)
    }

    /// What is to be done next: everything before the first who wants to lead.
    fn take(&self) -> Vec<(Operation<'static>, bool, Arc<Seat>)> {
        let mut state = self.lock();
        let mut taken = Vec::new();
        while taken.len() < MOST_TOGETHER
            && let Some(Waiting { task: Task::Operation { .. }, .. }) = state.waiting.front()
            && let Some(Waiting { task: Task::Operation { operation, durable }, seat }) = state.waiting.pop_front()
        {
            taken.push((operation, durable, seat));
        }
        taken
    }

    /// The first who waits leads from now on.
    fn hand_over(&self) {
        let mut state = self.lock();
        let next = match state.waiting.front() {
            None => {
                state.led = false;
                return;
            }
            Some(Waiting { task: Task::Lead, .. }) => state.waiting.pop_front().map(|waiting| waiting.seat),
            // What it wants done stays in the queue, for it to take.
            Some(Waiting { seat, .. }) => Some(Arc::clone(seat)),
        };
        drop(state);
        if let Some(next) = next {
            next.tell(News::Lead);
        }
    }

    // Nothing that runs under it can panic and leave it half done.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    fn tell(&self, news: News) {
        *self.news.lock().unwrap_or_else(PoisonError::into_inner) = news;
        self.told.notify_one();
    }

    fn wait(&self) -> News {
        let news = self.news.lock().unwrap_or_else(PoisonError::into_inner);
        let mut news =
            self.told.wait_while(news, |news| matches!(news, News::None)).unwrap_or_else(PoisonError::into_inner);
        mem::take(&mut *news)
    }
}

#[cfg(test)]
mod tests {
    use fleche_core::Digest;

    use super::*;
    use crate::{Durability, database::Database};

    /// The stats before and after these threads' operations, which all come while somebody else commits.
    fn while_somebody_commits(database: &Database, operations: &[Operation<'_>]) -> (u64, u64) {
        let before = database.stats();
        thread::scope(|scope| {
            database.inner.alone(|| {
                for operation in operations {
                    scope.spawn(|| database.perform(operation, Durability::None).unwrap());
                }
                while database.inner.queue.lock().waiting.len() < operations.len() {
                    thread::yield_now();
                }
            });
        });
        let after = database.stats();
        (after.commits - before.commits, after.operations - before.operations)
    }

    fn put(bytes: &[u8]) -> Operation<'_> {
        Operation::PutValue { id: Digest::of(bytes), bytes: bytes.into() }
    }

    #[test]
    fn those_who_wait_for_a_commit_share_the_next_one() {
        let directory = tempfile::tempdir().unwrap();
        let database = Database::open(&directory.path().join("a")).unwrap();
        let operations: Vec<_> = [b"a", b"b", b"c", b"d", b"e", b"f", b"g", b"h"].map(|bytes| put(bytes)).into();
        assert_eq!(while_somebody_commits(&database, &operations), (1, 8));
    }

    #[test]
    fn what_is_too_large_to_be_copied_is_done_by_the_one_who_wants_it() {
        let directory = tempfile::tempdir().unwrap();
        let database = Database::open(&directory.path().join("a")).unwrap();
        let large = [1, 2].map(|byte| vec![byte; MOST_COPIED + 1]);
        let (commits, operations) = while_somebody_commits(&database, &[put(&large[0]), put(b"small"), put(&large[1])]);
        assert_eq!(operations, 3);
        assert!((2..=3).contains(&commits), "{commits}");
        let kept = large.iter().all(|bytes| {
            database.inner.read(|snapshot| Ok(snapshot.values.get(Digest::of(bytes).as_bytes())?.is_some())).unwrap()
        });
        assert!(kept);
    }
}
