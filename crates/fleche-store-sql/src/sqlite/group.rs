//! `Group`: the writers of this process to one SQLite file. While a thread writes, the batches of other threads are queued. The
//! next writer commits them together with its own.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread::{self, ThreadId},
};

use fleche_core::{job::blocking_hooks, spi::LockResultExt};
use rusqlite::Connection;

use super::execute;
use crate::{error::DbError, limit::Limit, statement::Statement};

/// The maximum size of the parameters of statements that another thread may run. Statements with larger ones are not
/// copied, but wait for their turn.
const MAX_SHARED_LEN: usize = 256 << 10;
/// The maximum number of other threads' batches in a transaction, and the maximum total size of their parameters.
const MAX_BATCHES: usize = 64;
const MAX_TOTAL_LEN: usize = 4 << 20;

#[derive(Default)]
pub(crate) struct Group(Mutex<Writers>);

#[derive(Default)]
struct Writers {
    /// The connection of the writers, while none uses it.
    connection: Option<Connection>,
    is_writing: bool,
    queue: VecDeque<Queued>,
    #[cfg(test)]
    commits: usize,
}

/// A thread that waits, and its statements, if another thread may run them.
struct Queued {
    waiter: Arc<Waiter>,
    statements: Option<Vec<Statement<'static>>>,
}

struct Waiter {
    thread: ThreadId,
    state: Mutex<Progress>,
    changed: Condvar,
}

#[derive(Default)]
enum Progress {
    #[default]
    Waiting,
    /// The waiting thread may try to write. It is not its turn yet, since code of its executor may run when the wait ends.
    MayTry,
    /// Another thread has run the statements.
    Done(Result<Vec<i64>, DbError>),
    /// The thread no longer waits.
    Left,
}

impl Waiter {
    fn new() -> Self {
        Self { thread: thread::current().id(), state: Mutex::default(), changed: Condvar::new() }
    }

    fn tell(&self, progress: Progress) {
        *self.state.lock().ignore_poison() = progress;
        self.changed.notify_all();
    }
}

impl Group {
    /// Runs the statements in a transaction, which other threads may share. Each thread's statements take effect
    /// completely or not at all. Returns the numbers in the first column of the rows of the last statement.
    pub(crate) fn write(
        &self,
        statements: &[Statement<'_>],
        limit: Limit,
        connect: impl FnOnce() -> Result<Connection, DbError>,
    ) -> Result<Vec<i64>, DbError> {
        match self.wait(Some(statements), limit)? {
            Awaited::Done(result) => result,
            Awaited::Turn(turn) => turn.with(connect, |turn, connection| {
                run(connection, "BEGIN IMMEDIATE")?;
                turn.take_queued();
                let shared = turn.run_taken(connection, statements);
                let Err(error) = shared else { return shared? };
                roll_back(connection);
                if turn.taken.is_empty() {
                    return Err(error);
                }
                // Each thread tries by itself, and gets its own error.
                turn.put_back();
                run(connection, "BEGIN IMMEDIATE")?;
                let done = turn.run_taken(connection, statements);
                roll_back(connection);
                done?
            }),
        }
    }

    /// Runs the operation on the connection for writing, in its turn.
    pub(crate) fn with<T>(
        &self,
        limit: Limit,
        connect: impl FnOnce() -> Result<Connection, DbError>,
        operation: impl FnOnce(&Connection) -> Result<T, DbError>,
    ) -> Result<T, DbError> {
        match self.wait(None, limit)? {
            Awaited::Done(_) => Err(DbError::content("a thread without statements has a result")),
            Awaited::Turn(turn) => turn.with(connect, |_, connection| operation(connection)),
        }
    }

    /// Waits until this thread may write, or another thread has run the statements.
    fn wait(&self, statements: Option<&[Statement<'_>]>, limit: Limit) -> Result<Awaited<'_>, DbError> {
        let place = {
            let mut writers = self.writers();
            if writers.may_overtake() {
                return Ok(Awaited::Turn(self.begin(&mut writers)));
            }
            let waiter = Arc::new(Waiter::new());
            let statements = statements.filter(|statements| length(statements) <= MAX_SHARED_LEN);
            let statements = statements.map(|statements| statements.iter().map(Statement::to_static).collect());
            writers.queue.push_back(Queued { waiter: waiter.clone(), statements });
            QueuePlace { group: self, waiter }
        };
        let waiter = &place.waiter;
        let is_over = |progress: &Progress| !matches!(progress, Progress::Waiting);
        loop {
            let in_time = limit.wait_until(&waiter.state, &waiter.changed, is_over, "other threads are writing");
            let timed_out = in_time.map(drop).err();
            let mut writers = self.writers();
            let progress = std::mem::take(&mut *waiter.state.lock().ignore_poison());
            if let Progress::Done(result) = progress {
                return Ok(Awaited::Done(result));
            }
            match (timed_out, writers.place_of(waiter)) {
                (None, Some(at)) if !writers.is_writing => {
                    writers.queue.remove(at);
                    return Ok(Awaited::Turn(self.begin(&mut writers)));
                }
                // Another thread has begun to write first.
                (None, _) => {}
                (Some(error), Some(_)) => return Err(error),
                // Another thread is running the statements, and cannot be stopped.
                (Some(_), None) => {
                    drop(writers);
                    blocking_hooks::blocking(|| {
                        let state = waiter.state.lock().ignore_poison();
                        drop(waiter.changed.wait_while(state, |progress| !is_over(progress)).ignore_poison());
                    });
                }
            }
        }
    }

    /// Begins the turn of this thread.
    fn begin(&self, writers: &mut Writers) -> Turn<'_> {
        writers.is_writing = true;
        Turn { group: self, connection: writers.connection.take(), taken: Vec::new() }
    }

    fn writers(&self) -> MutexGuard<'_, Writers> {
        self.0.lock().ignore_poison()
    }
}

impl Writers {
    /// Returns whether a thread that is not in the queue may write now. It runs the statements of the first one in the
    /// queue with its own. If these cannot be shared, other threads queue up, unless it is this thread that waits: when the
    /// wait ends, its executor may run code that writes.
    fn may_overtake(&self) -> bool {
        let is_harmless = |first: &Queued| first.statements.is_some() || first.waiter.thread == thread::current().id();
        !self.is_writing && self.queue.front().is_none_or(is_harmless)
    }

    fn place_of(&self, waiter: &Arc<Waiter>) -> Option<usize> {
        self.queue.iter().position(|queued| Arc::ptr_eq(&queued.waiter, waiter))
    }

    /// Wakes the first thread in the queue if no thread writes.
    fn wake_next(&self) {
        let Some(next) = self.queue.front().filter(|_| !self.is_writing) else { return };
        // A thread that runs code of its executor when a wait ends may have several places, and looks only at the last one.
        for Queued { waiter, .. } in self.queue.iter().filter(|queued| queued.waiter.thread == next.waiter.thread) {
            waiter.tell(Progress::MayTry);
        }
    }
}

/// The place of a thread in the queue, which it leaves when this is dropped, even if its executor panics.
struct QueuePlace<'a> {
    group: &'a Group,
    waiter: Arc<Waiter>,
}

impl Drop for QueuePlace<'_> {
    fn drop(&mut self) {
        let mut writers = self.group.writers();
        // If another thread has taken the statements, it does not put them back.
        *self.waiter.state.lock().ignore_poison() = Progress::Left;
        if let Some(at) = writers.place_of(&self.waiter) {
            writers.queue.remove(at);
            writers.wake_next();
        }
    }
}

/// The result of waiting.
enum Awaited<'a> {
    Turn(Turn<'a>),
    Done(Result<Vec<i64>, DbError>),
}

/// The turn to write, which ends when this is dropped.
struct Turn<'a> {
    group: &'a Group,
    connection: Option<Connection>,
    /// The batches of other threads that are in the transaction.
    taken: Vec<Queued>,
}

impl Turn<'_> {
    /// Runs the operation. Its connection is closed if it may not be usable afterwards.
    fn with<T>(
        mut self,
        connect: impl FnOnce() -> Result<Connection, DbError>,
        operation: impl FnOnce(&mut Self, &Connection) -> Result<T, DbError>,
    ) -> Result<T, DbError> {
        let connection = self.connection.take().map_or_else(connect, Ok)?;
        let done = operation(&mut self, &connection);
        let is_usable = done.as_ref().err().is_none_or(DbError::is_transient) && connection.is_autocommit();
        self.connection = Some(connection).filter(|_| is_usable);
        done
    }

    /// Takes the batches that are queued now.
    fn take_queued(&mut self) {
        let mut writers = self.group.writers();
        let mut total = 0;
        while self.taken.len() < MAX_BATCHES
            && let Some(Queued { statements: Some(statements), .. }) = writers.queue.front()
        {
            total += length(statements);
            if total > MAX_TOTAL_LEN {
                return;
            }
            self.taken.extend(writers.queue.pop_front());
        }
    }

    /// Puts the taken batches back to the front of the queue, where each waits for its own turn.
    fn put_back(&mut self) {
        let mut writers = self.group.writers();
        for Queued { waiter, .. } in self.taken.drain(..).rev() {
            if !matches!(*waiter.state.lock().ignore_poison(), Progress::Left) {
                writers.queue.push_front(Queued { waiter, statements: None });
            }
        }
    }

    /// Runs the statements and those of the taken batches in the transaction that has begun, commits, and tells the
    /// other threads. Returns the result of the first statements.
    ///
    /// # Errors
    /// Fails if the transaction as a whole failed. The other threads are not told.
    fn run_taken(
        &mut self,
        connection: &Connection,
        statements: &[Statement<'_>],
    ) -> Result<Result<Vec<i64>, DbError>, DbError> {
        // Statements that are alone need no savepoint: if they fail, so does the transaction.
        let own = if self.taken.is_empty() {
            Ok(run_all(connection, statements)?)
        } else {
            run_separately(connection, statements)?
        };
        let others = self.taken.iter().map(|queued| queued.statements.as_deref().unwrap_or_default());
        let other_results = others.map(|statements| run_separately(connection, statements));
        let other_results = other_results.collect::<Result<Vec<_>, _>>()?;
        run(connection, "COMMIT")?;
        #[cfg(test)]
        {
            self.group.writers().commits += 1;
        }
        for (queued, result) in self.taken.drain(..).zip(other_results) {
            queued.waiter.tell(Progress::Done(result));
        }
        Ok(own)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.put_back();
        let mut writers = self.group.writers();
        writers.connection = self.connection.take();
        writers.is_writing = false;
        writers.wake_next();
    }
}

/// Returns the total size of the parameters in bytes.
fn length(statements: &[Statement<'_>]) -> usize {
    statements.iter().map(Statement::bytes_sent).sum()
}

fn run(connection: &Connection, sql: &str) -> Result<(), DbError> {
    connection.prepare_cached(sql)?.execute([])?;
    Ok(())
}

/// Ends a transaction that has not ended.
fn roll_back(connection: &Connection) {
    if !connection.is_autocommit() {
        // If this fails, closing the connection rolls back.
        let _ = run(connection, "ROLLBACK");
    }
}

/// Runs the statements, and returns the numbers in the first column of the rows of the last one.
fn run_all(connection: &Connection, statements: &[Statement<'_>]) -> Result<Vec<i64>, DbError> {
    let mut numbers = Vec::new();
    for statement in statements {
        numbers.clear();
        execute::query(connection, statement, |row| {
            numbers.push(row.integer(0)?);
            Ok(())
        })?;
    }
    Ok(numbers)
}

/// Runs the statements so that none of them takes effect if one fails, whatever else the transaction contains.
///
/// # Errors
/// Fails if the whole transaction has failed.
fn run_separately(connection: &Connection, statements: &[Statement<'_>]) -> Result<Result<Vec<i64>, DbError>, DbError> {
    run(connection, "SAVEPOINT batch")?;
    let done = run_all(connection, statements);
    match &done {
        // SQLite rolls the transaction back after some errors.
        Err(_) if connection.is_autocommit() => return done.map(Ok),
        Err(_) => run(connection, "ROLLBACK TO batch")?,
        Ok(_) => {}
    }
    run(connection, "RELEASE batch")?;
    Ok(done)
}

#[cfg(test)]
mod tests {
    use std::{
        panic::panic_any,
        sync::mpsc,
        thread::{Scope, ScopedJoinHandle},
        time::Duration,
    };

    use fleche_core::job::blocking_hooks::{Awaited as AwaitedWork, AwaitedJob, Pool, within};
    use tempfile::TempDir;

    use super::*;

    type Numbers = Result<Vec<i64>, DbError>;

    /// The writers to a scratch file, whose table refuses the second copy of a number. Negative numbers fail the commit.
    struct Scratch {
        directory: TempDir,
        group: Group,
    }

    impl Scratch {
        fn new() -> Self {
            let scratch = Self { directory: tempfile::tempdir().unwrap(), group: Group::default() };
            let tables = "PRAGMA journal_mode = WAL; CREATE TABLE nowhere (n INTEGER PRIMARY KEY); CREATE TABLE t (n INTEGER UNIQUE, \
                          negative INTEGER REFERENCES nowhere DEFERRABLE INITIALLY DEFERRED)";
            scratch.connect().unwrap().execute_batch(tables).unwrap();
            scratch
        }

        fn connect(&self) -> Result<Connection, DbError> {
            let connection = Connection::open(self.directory.path().join("db"))?;
            connection.pragma_update(None, "foreign_keys", true)?;
            Ok(connection)
        }

        /// Takes the turn to write, while no thread has it.
        fn turn(&self) -> Turn<'_> {
            let Ok(Awaited::Turn(turn)) = self.group.wait(None, limit()) else { panic!("there is no turn") };
            turn
        }

        /// Writes the numbers on another thread, and returns once it is queued as the `nth`.
        fn queue<'scope>(
            &'scope self,
            scope: &'scope Scope<'scope, '_>,
            nth: usize,
            numbers: &[i64],
        ) -> ScopedJoinHandle<'scope, Numbers> {
            let statements = numbers.iter().copied().map(insert).collect::<Vec<_>>();
            let thread = scope.spawn(move || self.group.write(&statements, limit(), || self.connect()));
            while self.group.0.lock().unwrap().queue.len() < nth {
                thread::yield_now();
            }
            thread
        }

        fn stored(&self) -> Vec<i64> {
            run_all(&self.connect().unwrap(), &[Statement::new("SELECT n FROM t ORDER BY n")]).unwrap()
        }

        /// Returns the number of commits of the group, which must be idle.
        fn commits(&self) -> usize {
            let writers = self.group.0.lock().unwrap();
            assert!(!writers.is_writing && writers.queue.is_empty());
            writers.commits
        }
    }

    fn insert(number: i64) -> Statement<'static> {
        Statement::new("INSERT INTO t VALUES ($1, iif($1 < 0, $1, NULL)) RETURNING n").integer(number)
    }

    fn limit() -> Limit {
        Limit::new(Duration::from_mins(1), 0)
    }

    #[test]
    fn queued_batches_share_one_commit_and_fail_separately() {
        let scratch = Scratch::new();
        thread::scope(|scope| {
            let turn = scratch.turn();
            // The last two insert the same number.
            let batches = [[100, 0], [101, 1], [102, 2], [103, 2]];
            let threads = [1, 2, 3, 4].map(|nth| scratch.queue(scope, nth, &batches[nth - 1]));
            drop(turn);
            let results = threads.map(|thread| thread.join().unwrap());
            assert!(matches!(&results, [Ok(a), Ok(b), Ok(c), Err(_)] if (a[0], b[0], c[0]) == (0, 1, 2)));
        });
        assert_eq!(scratch.commits(), 1);
        // Neither row of the batch that failed is there.
        assert_eq!(scratch.stored(), [0, 1, 2, 100, 101, 102]);
    }

    #[test]
    fn batch_that_fails_the_shared_commit_gets_the_error_alone() {
        for failing in 0..3 {
            let scratch = Scratch::new();
            let mut numbers = [1, 2, 3];
            numbers[failing] *= -1;
            thread::scope(|scope| {
                let turn = scratch.turn();
                let threads = [1, 2, 3].map(|nth| scratch.queue(scope, nth, &[numbers[nth - 1]]));
                drop(turn);
                for (thread, number) in threads.into_iter().zip(numbers) {
                    let result = thread.join().unwrap();
                    assert_eq!(result.ok(), (number > 0).then(|| vec![number]));
                }
            });
            assert_eq!(scratch.commits(), 2);
            assert_eq!(scratch.stored(), numbers.into_iter().filter(|number| *number > 0).collect::<Vec<_>>());
        }
    }

    #[test]
    fn batches_that_a_panicking_writer_took_are_committed_by_their_own_threads() {
        let scratch = Scratch::new();
        thread::scope(|scope| {
            let turn = scratch.turn();
            let threads = [1, 2].map(|nth| scratch.queue(scope, nth, &[nth.try_into().unwrap()]));
            let scratch = &scratch;
            let writer = scope.spawn(move || {
                turn.with::<()>(
                    || scratch.connect(),
                    |turn, connection| {
                        run(connection, "BEGIN IMMEDIATE")?;
                        run_all(connection, &[insert(7)])?;
                        turn.take_queued();
                        panic_any(turn.taken.len())
                    },
                )
            });
            assert_eq!(*writer.join().unwrap_err().downcast::<usize>().unwrap(), 2);
            assert_eq!(threads.map(|thread| thread.join().unwrap().unwrap()), [[1], [2]]);
        });
        assert_eq!(scratch.commits(), 2);
        assert_eq!(scratch.stored(), [1, 2]);
    }

    /// The code that an executor runs when its thread resumes for the first time.
    type Resume = Box<dyn FnOnce(&Scratch) + Send>;

    struct Resuming {
        scratch: Arc<Scratch>,
        paused: Mutex<Option<mpsc::Sender<()>>>,
        resume: Mutex<Option<Resume>>,
    }

    impl Pool for Resuming {
        fn run_or_prioritize(&self, _: AwaitedJob<'_>, _: bool) {}

        fn pause(&self, _: Option<Arc<dyn AwaitedWork>>) {
            if let Some(paused) = self.paused.lock().unwrap().take() {
                paused.send(()).unwrap();
            }
        }

        fn resume(&self) {
            let resume = self.resume.lock().unwrap().take();
            if let Some(resume) = resume {
                resume(&self.scratch);
            }
        }
    }

    /// Inserts 1 with this many bytes of parameters, on a thread that waits for its turn and then runs `resume`. Returns the
    /// database, and the result unless the thread has panicked.
    fn insert_and_resume(
        bytes: usize,
        resume: impl FnOnce(&Scratch) + Send + 'static,
    ) -> (Arc<Scratch>, Option<Numbers>) {
        let scratch = Arc::new(Scratch::new());
        let (sender, paused) = mpsc::channel();
        let resume: Resume = Box::new(resume);
        let (paused_once, resume) = (Mutex::new(Some(sender)), Mutex::new(Some(resume)));
        let pool = Arc::new(Resuming { scratch: scratch.clone(), paused: paused_once, resume });
        let put = "INSERT INTO t SELECT $1, NULL WHERE length($2) > 0 RETURNING n";
        let put = Statement::new(put).integer(1).bytes(vec![7; bytes]);
        let turn = scratch.turn();
        let waiting = thread::spawn({
            let scratch = scratch.clone();
            move || within(pool, || scratch.group.write(&[put], limit(), || scratch.connect()))
        });
        paused.recv().unwrap();
        drop(turn);
        let inserted = waiting.join().ok();
        scratch.commits();
        (scratch, inserted)
    }

    #[test]
    fn executor_of_a_waiting_thread_can_write_before_that_thread() {
        for bytes in [1, MAX_SHARED_LEN + 1] {
            let (scratch, inserted) = insert_and_resume(bytes, |scratch| {
                assert_eq!(scratch.group.write(&[insert(9)], limit(), || scratch.connect()).unwrap(), [9]);
            });
            assert_eq!(inserted.unwrap().unwrap(), [1]);
            assert_eq!(scratch.stored(), [1, 9]);
        }
    }

    #[test]
    fn executor_of_a_waiting_thread_can_wait_for_its_turn_in_the_same_thread() {
        let (scratch, inserted) = insert_and_resume(1, |scratch| {
            let (sender, has_turn) = mpsc::channel();
            thread::scope(|scope| {
                scope.spawn(move || {
                    let turn = scratch.turn();
                    sender.send(()).unwrap();
                    // Both writes of the thread are in the queue.
                    while scratch.group.0.lock().unwrap().queue.len() < 2 {
                        thread::yield_now();
                    }
                    drop(turn);
                });
                has_turn.recv().unwrap();
                assert_eq!(scratch.group.write(&[insert(9)], limit(), || scratch.connect()).unwrap(), [9]);
            });
        });
        assert_eq!(inserted.unwrap().unwrap(), [1]);
        assert_eq!(scratch.stored(), [1, 9]);
    }

    #[test]
    fn panic_of_the_executor_of_a_waiting_thread_does_not_block_other_threads() {
        let (scratch, inserted) = insert_and_resume(MAX_SHARED_LEN + 1, |_| panic_any("resume"));
        assert!(inserted.is_none());
        assert_eq!(scratch.group.write(&[insert(2)], limit(), || scratch.connect()).unwrap(), [2]);
        assert_eq!(scratch.stored(), [2]);
    }

    #[test]
    fn batch_that_waits_too_long_is_withdrawn() {
        let group = Group::default();
        let in_memory = || Ok(Connection::open_in_memory()?);
        let timed_out = group.with(limit(), in_memory, |_| {
            let late = Limit::new(Duration::from_millis(5), 0);
            Ok(group.write(&[Statement::new("SELECT 1")], late, in_memory))
        });
        assert!(matches!(timed_out.unwrap(), Err(DbError::Io(_))));
        assert!(group.0.lock().unwrap().queue.is_empty());
        assert_eq!(group.write(&[Statement::new("SELECT 7")], limit(), in_memory).unwrap(), [7]);
    }
}
