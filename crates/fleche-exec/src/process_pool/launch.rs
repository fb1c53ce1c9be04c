//! Starts and kills workers and the threads of their connections.

use std::{
    io,
    process::Child,
    sync::{Arc, mpsc},
};

use bytes::Bytes;
use fleche_core::{
    Error, Result,
    spi::{PendingReplies, thread_spawner},
};
use nix::{
    sys::signal::{self, Signal, killpg},
    unistd::Pid,
};

use super::{
    frame::{Frame, Kind},
    queued_task::Env,
    scheduler::Scheduler,
    spawn, worker_connection,
    worker_handle::{Message, THREAD, WorkerHandle},
};

pub(super) fn kill(process: Pid) {
    // The worker leads a process group, unless a body has moved it. Errors mean that it is gone.
    let _ = (killpg(process, Signal::SIGKILL), signal::kill(process, Signal::SIGKILL));
}

/// Starts a worker and the threads of its connection. The threads start first: they end by themselves if no process
/// starts.
pub(super) fn start(id: u64, schedule: &Arc<Scheduler>, env: Env) -> Result<WorkerHandle> {
    let (channel, theirs) = spawn::channel_pair()?;
    let (outbox, out) = mpsc::channel();
    let (watched, to_watch) = mpsc::channel();
    let (heard, to_hear) = mpsc::channel();
    let owed = Arc::<PendingReplies>::default();
    let threads = || -> io::Result<()> {
        let (writing, watching) = (channel.try_clone()?, channel.try_clone()?);
        thread_spawner::spawn(THREAD, move || worker_connection::send(&out, writing))?;
        let death = thread_spawner::spawn(THREAD, move || worker_connection::watch(&to_watch, &watching))?;
        let (schedule, answers, owed) = (schedule.clone(), outbox.clone(), owed.clone());
        thread_spawner::spawn(THREAD, move || {
            if let Ok(child) = to_hear.recv() {
                worker_connection::listen(id, &schedule, &channel, child, death, &answers, owed);
            }
        })?;
        Ok(())
    };
    threads().map_err(Error::io("start a thread for", "a worker process"))?;
    let child = spawn::start(theirs, schedule.directory.as_deref(), env.as_deref())?;
    let process = process_of(&child);
    // The watching and the reading thread wait for these.
    let _ = (watched.send(process), heard.send(child));
    let build = Bytes::copy_from_slice(spawn::build().as_bytes());
    let _ = outbox.send(Message::Frame(Frame::new(Kind::Hello, 0, vec![build])));
    let left = schedule.replace_after.unwrap_or(u64::MAX);
    Ok(WorkerHandle::new(id, process, outbox, owed, env, left))
}

pub(super) fn process_of(child: &Child) -> Pid {
    #[allow(clippy::cast_possible_wrap)] // Process ids are positive `i32`s.
    Pid::from_raw(child.id() as i32)
}
