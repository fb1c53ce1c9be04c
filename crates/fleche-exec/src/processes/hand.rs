//! A worker as its pool sees it: what it was given, and the threads that talk with it.

use std::{
    collections::VecDeque,
    mem,
    sync::{Arc, mpsc::Sender},
    time::{Duration, Instant},
};

use bytes::Bytes;
use fleche_core::{
    CallKey,
    claim::{Counted, Owed},
    context::Binding,
    waiting::JobId,
};
use nix::unistd::Pid;

use super::{
    frame::{Frame, Kind},
    launch,
    rights::{Rights, TaskRight},
    waiting::{Env, Waiting},
    wire,
};
use crate::budget::{Demand, Grant};

/// The name of the pool's own threads.
pub(super) const THREAD: &str = "fleche-worker";

/// Whether this is one of them, of any pool.
pub(super) fn is_own_thread() -> bool {
    std::thread::current().name() == Some(THREAD)
}

/// So many tasks may be on their way to a worker that works through short ones, with so many bytes in all.
const CREDIT: usize = 64;
const CREDIT_BYTES: usize = 1 << 20;
/// Tasks that take less than this are short.
const SHORT: Duration = Duration::from_millis(1);

/// What is to be sent to a worker.
pub(super) enum Message {
    Frame(Frame),
    /// With what it is bound to, and room for the right to compute it.
    Task(Frame, Option<Binding>, TaskRight),
}

/// A worker of a pool.
pub(super) struct Hand {
    pub(super) id: u64,
    process: Pid,
    outbox: Sender<Message>,
    /// What it was given, in order.
    given: VecDeque<Given>,
    bytes: usize,
    /// How much of that it has still to do, for who looks whether anything happens.
    owed: Arc<Owed>,
    /// Whether it is given more: from when half of its credit is free until none is, so that its threads wake for many
    /// tasks at once.
    fills: bool,
    /// How long its recent tasks took; nothing is known at first.
    recent: Option<Duration>,
    /// What it was started with.
    env: Env,
    /// What the task that it runs has of the pool's budget; the next one takes it over if it asks for the same.
    demand: Demand,
    grant: Grant,
    /// The cores that are free for others while what it runs waits.
    lent: Option<usize>,
    /// The call that its task waits for, if any.
    awaits: Option<CallKey>,
    /// How many tasks it may still be given.
    left: u64,
    /// Whether it was asked to give back what it has not started, and has not answered.
    asked: bool,
    ending: bool,
}

struct Given {
    number: u64,
    size: usize,
    started: bool,
    /// When it is to end, once it has started.
    deadline: Option<Instant>,
    /// Whether it is not to start, if it can still be kept from it.
    cancelled: bool,
    recall: Recall,
    task: Waiting,
    _owed: Counted,
}

/// Whether a task is asked back, for who waits for that.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Recall {
    #[default]
    No,
    Asked,
    /// It had started.
    Late,
}

/// Tasks that come back, in order.
#[derive(Default)]
pub(super) struct Back {
    /// Somebody waits for them.
    pub(super) recalled: Vec<Waiting>,
    pub(super) cancelled: Vec<Waiting>,
    /// For other workers.
    pub(super) rest: Vec<Waiting>,
}

impl Back {
    fn of(given: impl IntoIterator<Item = Given>) -> Self {
        let mut back = Self::default();
        for Given { task, cancelled, recall, .. } in given {
            let to = match recall {
                Recall::Asked | Recall::Late => &mut back.recalled,
                Recall::No if cancelled => &mut back.cancelled,
                Recall::No => &mut back.rest,
            };
            to.push(task);
        }
        back
    }
}

/// What a worker that is gone leaves behind.
pub(super) struct Left {
    pub(super) started: Vec<Waiting>,
    pub(super) back: Back,
    pub(super) grant: Grant,
}

impl Hand {
    /// A worker that runs in this process, hears what is put into its outbox, and may be given so many tasks.
    pub(super) fn new(id: u64, process: Pid, outbox: Sender<Message>, owed: Arc<Owed>, env: Env, left: u64) -> Self {
        Self {
            id,
            process,
            outbox,
            given: VecDeque::new(),
            bytes: 0,
            owed,
            fills: true,
            recent: None,
            env,
            demand: Demand::default(),
            grant: Grant::default(),
            lent: None,
            awaits: None,
            left,
            asked: false,
            ending: false,
        }
    }

    /// Whether it waits for a task, of any environment.
    pub(super) fn is_idle(&self) -> bool {
        self.given.is_empty() && !self.ending && self.left > 0
    }

    /// Whether what it runs waits.
    pub(super) fn is_paused(&self) -> bool {
        self.lent.is_some()
    }

    /// Returns whether it runs something that does not wait.
    pub(super) fn is_running(&self) -> bool {
        self.is_busy() && !self.is_paused()
    }

    /// Returns the call that its task waits for; `None` where it does not wait, or waits for something else.
    pub(super) fn awaited_call(&self) -> Option<&CallKey> {
        self.awaits.as_ref()
    }

    /// Notes that its task begins to wait, for this call or for something else. Returns how many cores are free during the
    /// wait. Tasks queued behind it go to other workers.
    pub(super) fn pause(&mut self, call: Option<CallKey>) -> usize {
        let cores = self.grant.without_cores();
        self.lent = Some(cores);
        self.awaits = call;
        self.owed.rest(true);
        self.take_back();
        cores
    }

    /// It goes on: with so many cores.
    pub(super) fn resume(&mut self) -> usize {
        let cores = self.lent.take().unwrap_or_default();
        self.awaits = None;
        self.owed.rest(false);
        self.grant.with_cores(cores);
        cores
    }

    /// Whether it has run all the tasks that it may.
    pub(super) fn is_spent(&self) -> bool {
        self.given.is_empty() && !self.ending && self.left == 0
    }

    /// What it was started with.
    pub(super) fn env(&self) -> &Env {
        &self.env
    }

    pub(super) fn has(&self, env: &Env) -> bool {
        self.env == *env
    }

    pub(super) fn is_busy(&self) -> bool {
        !self.given.is_empty()
    }

    pub(super) fn is_ending(&self) -> bool {
        self.ending
    }

    pub(super) fn given(&self) -> usize {
        self.given.len()
    }

    /// Whether this task may be on its way too, though the worker is busy: behind tasks that take as much and are short.
    pub(super) fn has_room(&self, task: &Waiting) -> bool {
        let short = self.recent.is_some_and(|recent| recent < SHORT);
        let open = !self.asked && !self.ending && !self.is_paused() && self.left > 0;
        let alike = self.has(&task.wants.env) && self.demand == task.wants.demand && self.grant.gpus.is_empty();
        short && open && alike && self.fills && self.bytes + task.size() <= CREDIT_BYTES
    }

    /// Sends a task that is marked as started. With what it was granted, unless it takes over what the tasks before it
    /// have.
    pub(super) fn give(&mut self, number: u64, task: Waiting, grant: Option<Grant>) {
        if let Some(grant) = grant {
            (self.demand, self.grant) = (task.wants.demand, grant);
        }
        let mut parts = task.parts.clone();
        parts[wire::SETTING] = task.wants.setting(&self.grant);
        let frame = Frame::new(Kind::Task, number, parts);
        let size = frame.size();
        // A dead worker reads nothing. The reader thread notices its death.
        let _ = self.outbox.send(Message::Task(frame, task.binding.clone(), task.right.clone()));
        self.bytes += size;
        self.left -= 1;
        let recall = Recall::default();
        self.given.push_back(Given {
            number,
            size,
            started: false,
            deadline: None,
            cancelled: false,
            recall,
            task,
            _owed: self.owed.ask(),
        });
        self.fills &= self.given.len() < CREDIT;
    }

    /// Notes the start: when the task is to end, and what need not be kept any more.
    pub(super) fn started(&mut self, number: u64, rights: &Rights) -> (Option<Instant>, Vec<Bytes>) {
        let Some(given) = self.given.iter_mut().find(|given| given.number == number) else { return (None, Vec::new()) };
        rights.task(&given.task.right, given.task.binding.as_ref().map_or(&[], |binding| &binding.flights()[..]));
        given.started = true;
        // From here on it cannot be cancelled.
        given.task.reply.start();
        given.deadline = given.task.wants.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        // What travels with the task may be large.
        let parts = if given.task.wants.retries == 0 { mem::take(&mut given.task.parts) } else { Vec::new() };
        (given.deadline, parts)
    }

    /// The task, if it was here, and its deadline.
    pub(super) fn done(&mut self, number: u64, took: Duration) -> Option<(Waiting, Option<Instant>)> {
        // One long task tells at once; after it, a few short ones have to follow.
        self.recent = Some(self.recent.map_or(took, |recent| took.max((recent * 3 + took) / 4)));
        self.remove(number).map(|given| (given.task, given.deadline))
    }

    /// What the tasks have had of the budget, once there are none.
    pub(super) fn grant_back(&mut self) -> Option<Grant> {
        self.given.is_empty().then(|| mem::take(&mut self.grant))
    }

    /// Takes a task away whose time is over, and kills the worker: nothing else ends a body.
    pub(super) fn time_out(&mut self, number: u64) -> Option<Waiting> {
        let given = self.remove(number)?;
        self.kill();
        Some(given.task)
    }

    fn remove(&mut self, number: u64) -> Option<Given> {
        let at = self.given.iter().position(|given| given.number == number)?;
        let given = self.given.remove(at)?;
        self.bytes -= given.size;
        self.fills |= self.given.len() <= CREDIT / 2;
        Some(given)
    }

    /// Keeps from starting whatever has not, if it still can: it is cancelled when the worker gives it back. How many.
    pub(super) fn cancel_waiting(&mut self) -> usize {
        let waiting = self.given.iter_mut().filter(|given| !given.started && !given.cancelled);
        let count = waiting.map(|given| given.cancelled = true).count();
        self.take_back();
        count
    }

    /// Asks for what has not started, if there is more than the one task that runs or is about to.
    pub(super) fn take_back(&mut self) {
        if self.given.len() > 1 && !self.asked && !self.ending {
            self.asked = true;
            let _ = self.outbox.send(Message::Frame(Frame::new(Kind::TakeBack, 0, Vec::new())));
        }
    }

    /// Asks for the task of this job, for who waits for it. Whether it may still come back; `None` where it is not here.
    pub(super) fn recall(&mut self, job: JobId) -> Option<bool> {
        let given = self.given.iter_mut().find(|given| given.task.reply.is_of(job))?;
        if !given.started && given.recall == Recall::No {
            given.recall = Recall::Asked;
            let _ = self.outbox.send(Message::Frame(Frame::new(Kind::TakeBack, given.number, Vec::new())));
        }
        Some(!given.started && given.recall == Recall::Asked)
    }

    /// Nobody waits for it any more.
    pub(super) fn forget_recall(&mut self, job: JobId) {
        if let Some(given) = self.given.iter_mut().find(|given| given.task.reply.is_of(job)) {
            given.recall = Recall::No;
        }
    }

    /// What it gives back, asked for one task, or for all that it can (0).
    pub(super) fn taken_back(&mut self, asked: u64, numbers: &[u64]) -> Back {
        if asked == 0 {
            self.asked = false;
        }
        let back: Vec<_> = numbers.iter().filter_map(|number| self.remove(*number)).collect();
        self.left += back.len() as u64;
        if let Some(late) = self.given.iter_mut().find(|given| given.number == asked) {
            late.recall = Recall::Late;
        }
        Back::of(back)
    }

    /// Tells it to end, once.
    pub(super) fn end(&mut self) {
        if !mem::replace(&mut self.ending, true) {
            let _ = self.outbox.send(Message::Frame(Frame::new(Kind::End, 0, Vec::new())));
        }
    }

    /// Kills it, with the programs that its bodies started.
    pub(super) fn kill(&mut self) {
        self.ending = true;
        launch::kill(self.process);
    }

    /// What it leaves behind.
    pub(super) fn into_left(self) -> Left {
        let (started, rest): (Vec<_>, Vec<_>) = self.given.into_iter().partition(|given| given.started);
        Left { started: started.into_iter().map(|given| given.task).collect(), back: Back::of(rest), grant: self.grant }
    }
}
