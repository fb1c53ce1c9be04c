//! The task queue of a thread pool: accepted tasks in order, each of which is found directly when its job is waited
//! for.

use std::collections::VecDeque;

use fleche_core::{
    Task,
    job::blocking_hooks::{AwaitedJob, QueueSlot},
};

use crate::budget::Demand;

/// A task that has not started.
pub(super) struct Entry {
    pub(super) task: Task,
    pub(super) demand: Demand,
    /// Whether a thread of the pool waits or has waited for the task's job.
    pub(super) awaited: bool,
    /// Whether the pool is notified when the task's job is cancelled.
    pub(super) watched: bool,
}

/// A queue of tasks in numbered slots. Each task stores the number of its slot, so it is found by its job.
pub(super) struct TaskQueue {
    /// The number that identifies the pool.
    pool: usize,
    /// The slots; the first one has the number `first`. The slots at both ends are never empty.
    entries: VecDeque<Option<Entry>>,
    first: u64,
    /// The number of slots that hold a task.
    len: usize,
}

/// The number of slots above which a queue is compacted when most of them are empty.
const SPARSE: usize = 64;

impl TaskQueue {
    /// Creates an empty queue for the pool with this number.
    pub(super) fn new(pool: usize) -> Self {
        // Leaves more numbers on both sides than are ever used.
        Self { pool, entries: VecDeque::new(), first: 1 << 63, len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn first(&self) -> Option<&Entry> {
        self.entries.front()?.as_ref()
    }

    pub(super) fn first_mut(&mut self) -> Option<&mut Entry> {
        self.entries.front_mut()?.as_mut()
    }

    /// Adds a task at the end.
    pub(super) fn push(&mut self, task: Task, demand: Demand) {
        let number = self.first + self.entries.len() as u64;
        task.put(QueueSlot { pool: self.pool, number });
        self.entries.push_back(Some(Entry { task, demand, awaited: false, watched: false }));
        self.len += 1;
    }

    /// Removes and returns the first task, if there is one.
    pub(super) fn pop(&mut self) -> Option<Entry> {
        self.take(0)
    }

    /// Returns the position of the task of this job, or `None` if it is not in the queue.
    pub(super) fn find(&self, job: AwaitedJob<'_>) -> Option<usize> {
        let slot = job.slot().filter(|slot| slot.pool == self.pool)?;
        let at = usize::try_from(slot.number.checked_sub(self.first)?).ok()?;
        let entry = self.entries.get(at)?.as_ref()?;
        // The slot may have passed to another task.
        entry.task.completes(job.job()).then_some(at)
    }

    pub(super) fn demand(&self, at: usize) -> Option<Demand> {
        self.entries.get(at)?.as_ref().map(|entry| entry.demand)
    }

    /// Removes and returns the task at this position, if there is one.
    pub(super) fn take(&mut self, at: usize) -> Option<Entry> {
        let entry = self.entries.get_mut(at)?.take()?;
        self.len -= 1;
        self.tidy();
        Some(entry)
    }

    /// Moves the task at this position to the front, because a thread waits for its job.
    pub(super) fn prioritize(&mut self, at: usize) {
        let Some(Some(mut entry)) = self.entries.get_mut(at).map(Option::take) else { return };
        entry.awaited = true;
        if at == 0 {
            self.entries[0] = Some(entry);
            return;
        }
        self.first -= 1;
        entry.task.put(QueueSlot { pool: self.pool, number: self.first });
        self.entries.push_front(Some(entry));
        self.tidy();
    }

    /// Removes all tasks.
    pub(super) fn take_all(&mut self) -> Vec<Task> {
        self.len = 0;
        self.entries.drain(..).flatten().map(|entry| entry.task).collect()
    }

    fn tidy(&mut self) {
        while let Some(None) = self.entries.front() {
            self.entries.pop_front();
            self.first += 1;
        }
        while let Some(None) = self.entries.back() {
            self.entries.pop_back();
        }
        if self.entries.len() > SPARSE.max(2 * self.len) {
            self.entries.retain(Option::is_some);
            for (entry, number) in self.entries.iter().flatten().zip(self.first..) {
                entry.task.put(QueueSlot { pool: self.pool, number });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, Mutex},
        time::Duration,
    };

    use fleche_core::{
        Job,
        job::blocking_hooks::{self, Awaited, Pool},
    };

    use super::*;

    /// A queue as the pool of a thread. Waiting for a job there removes and runs its task.
    struct Lined(Mutex<TaskQueue>);

    impl Pool for Lined {
        fn run_or_prioritize(&self, job: AwaitedJob<'_>, here: bool) {
            let mut line = self.0.lock().unwrap();
            let Some(at) = line.find(job) else { return };
            if !here {
                return line.prioritize(at);
            }
            let entry = line.take(at);
            drop(line);
            entry.unwrap().task.run();
        }

        fn pause(&self, _: Option<Arc<dyn Awaited>>) {}

        fn resume(&self) {}
    }

    fn lined(tasks: u64) -> (Arc<Lined>, Vec<Option<Job<u64>>>) {
        let mut line = TaskQueue::new(1);
        let jobs = (0..tasks).map(|x| {
            let (task, job) = Task::from_closure(move || x);
            line.push(task, Demand::default());
            Some(job)
        });
        let jobs = jobs.collect();
        (Arc::new(Lined(Mutex::new(line))), jobs)
    }

    #[test]
    fn tasks_are_found_in_any_order_of_waiting() {
        let (line, mut jobs) = lined(1000);
        blocking_hooks::within(line.clone(), || {
            // 7 and 1000 have no common factor, so each index occurs once.
            for at in (0..1000).map(|at| at * 7 % 1000) {
                let job = jobs[at].take().unwrap();
                assert_eq!(job.result(), Ok(at as u64));
            }
        });
        assert!(line.0.lock().unwrap().is_empty());
    }

    #[test]
    fn empty_slots_are_compacted() {
        let (line, mut jobs) = lined(10_000);
        blocking_hooks::within(line.clone(), || {
            for (at, job) in jobs.iter_mut().enumerate().take(9_999).skip(1) {
                assert_eq!(job.take().unwrap().result(), Ok(at as u64));
                let line = line.0.lock().unwrap();
                assert_eq!(line.len(), 9_999 - at + 1);
                assert!(line.entries.len() <= SPARSE.max(2 * line.len()));
            }
            // Tasks whose slots have changed are still found.
            for at in [9_999, 0] {
                assert_eq!(jobs[at].take().unwrap().result(), Ok(at as u64));
            }
        });
    }

    #[test]
    fn awaited_task_moves_to_the_front_and_is_found_there() {
        let (line, mut jobs) = lined(5);
        blocking_hooks::within(line.clone(), || {
            for at in [1, 3, 3] {
                assert!(!jobs[at].as_ref().unwrap().wait_timeout(Duration::ZERO));
            }
            assert_eq!(jobs[1].take().unwrap().result(), Ok(1));
            assert!(!jobs[4].as_ref().unwrap().wait_timeout(Duration::ZERO));
        });
        let mut line = line.0.lock().unwrap();
        for at in [4, 3, 0, 2] {
            let entry = line.pop().unwrap();
            assert_eq!(entry.awaited, at > 2);
            entry.task.run();
            assert_eq!(jobs[at].take().unwrap().result(), Ok(at as u64));
        }
    }
}
