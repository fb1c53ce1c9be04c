//! The worker process: it runs calls, one after the other, until its pool ends.

mod bindings;
mod block_notifier;
mod channel;
mod inbox;
mod last;
mod parent;
mod store_proxy;
mod task_env;

use std::{
    io::{self, Write},
    os::unix::net::UnixStream,
    process,
    sync::Arc,
    time::Instant,
};

use bytes::Bytes;
use fleche_core::{
    JobError,
    bound::FunctionRef,
    context::{Binding, with_known_miss},
    encoding,
    job::{self, blocking_hooks},
    spi::thread_spawner,
};
use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::{Pid, getpgrp},
};

use super::{
    codec::{self, ARGUMENTS, BINDING, FILES, FUNCTION, MISSED, TASK_ENV},
    frame::{Frame, Kind},
    pieces::Reader,
    spawn,
};
use bindings::Bindings;
use block_notifier::BlockNotifier;
use channel::Channel;
use inbox::Inbox;

/// Runs calls from this channel on this thread, for the pool of the process `pool`. Never returns.
pub(super) fn work(stream: UnixStream, pool: Pid) -> ! {
    parent::watch(pool);
    let reading = stream.try_clone();
    let channel = Arc::new(Channel::new(stream));
    let inbox = Arc::new(Inbox::default());
    let listening = reading.and_then(|reading| {
        let (channel, inbox) = (channel.clone(), inbox.clone());
        thread_spawner::spawn("fleche-channel", move || listen(reading, &channel, &inbox))
    });
    let greeted = channel.send(Kind::Hello, 0, &[spawn::build().as_bytes()]);
    if listening.is_ok() && greeted.is_ok() {
        blocking_hooks::within(Arc::new(BlockNotifier::new(channel.clone())), || run(&channel, &inbox));
        channel.finish();
        // Writes out what bodies have printed.
        let _ = std::io::stdout().flush();
        process::exit(0);
    }
    end()
}

/// Reads the pool's messages, and never waits for the pool to read.
fn listen(channel: UnixStream, answers: &Arc<Channel>, inbox: &Inbox) {
    let mut reader = Reader::new(channel);
    let _listens = answers.listen();
    loop {
        let frame = match reader.next() {
            Ok(Some(frame)) => frame,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                fleche_core::spi::log::error!(
                    "a body has read from the channel to the worker's pool, or written to it; the worker ends"
                );
                break;
            }
            Ok(None) | Err(_) => break,
        };
        match frame.kind {
            Kind::Hello if frame.part(0) != spawn::build().as_bytes()[..] => break,
            Kind::Task => inbox.put(frame),
            Kind::Revoke => {
                let asked = frame.number;
                let numbers: Vec<u8> = inbox.revoke(asked).into_iter().flat_map(u64::to_le_bytes).collect();
                let channel = answers.clone();
                // Not written on this thread: the pool may wait for it to read.
                let answer = move || channel.send(Kind::Revoked, asked, &[&numbers]).is_ok();
                if thread_spawner::spawn("fleche-results", answer).is_err() {
                    break;
                }
            }
            Kind::Answer => answers.answer(frame),
            Kind::End => inbox.close(),
            _ => {}
        }
    }
    if !inbox.is_closed() {
        end();
    }
}

/// Ends this process at once, with the programs that its bodies have started. It is called when the pool is gone, so
/// nothing waits for results.
fn end() -> ! {
    if getpgrp() == Pid::this() {
        let _ = killpg(Pid::this(), Signal::SIGKILL);
    }
    let _ = kill(Pid::this(), Signal::SIGKILL);
    process::abort()
}

/// Runs tasks until no more will arrive.
fn run(channel: &Arc<Channel>, inbox: &Inbox) {
    task_env::begin();
    let mut bindings = Bindings::new(channel.clone());
    let mut next = inbox.wait();
    while let Some(task) = next {
        // The pool must learn that the task starts before the task can bring this process down.
        if channel.send(Kind::Started, task.number, &[]).is_err() {
            end();
        }
        let begun = Instant::now();
        let (outcome, stats) = call(&mut bindings, &task);
        let took = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX).to_le_bytes();
        let number = task.number;
        drop(task);
        let (kind, result) = match outcome {
            Ok(result) => (Kind::Done, result),
            Err(error) => (Kind::Failed, encoding::to_vec(&error).unwrap_or_default()),
        };
        next = inbox.poll();
        if next.is_some() && result.len() < SMALL {
            // The result is sent with the next start.
            channel.queue(kind, number, &[&took, &stats, &result]);
            continue;
        }
        if channel.send_result(kind, number, [took.to_vec(), stats, result]).is_err() {
            end();
        }
        next = next.or_else(|| inbox.wait());
    }
}

/// The size in bytes below which a result is copied into the next message rather than written separately.
const SMALL: usize = 1 << 14;

/// Runs a task. Returns its outcome, and the encoded counters.
fn call(bindings: &mut Bindings, task: &Frame) -> (Result<Vec<u8>, JobError>, Vec<u8>) {
    match bindings.of(&task.part(BINDING)) {
        Err(error) => (Err(not_here("binding", &error)), Vec::new()),
        Ok(None) => (call_bound(None, task), Vec::new()),
        Ok(Some(known)) => (call_bound(Some(&known.binding), task), known.news()),
    }
}

fn call_bound(binding: Option<&Binding>, task: &Frame) -> Result<Vec<u8>, JobError> {
    let function: FunctionRef =
        encoding::from_slice(&task.part(FUNCTION)).map_err(|error| not_here("function", &error))?;
    codec::register_files(&task.part(FILES)).map_err(|error| not_here("files", &error))?;
    let arguments: Vec<&[u8]> = task.parts.iter().skip(ARGUMENTS).map(|part: &Bytes| &**part).collect();
    let run = || task_env::within(&task.part(TASK_ENV), || function.call(&arguments));
    // The call catches panics of the body. This catches panics of destructors.
    job::catch(|| {
        let _bound = binding.map(Binding::enter);
        match codec::missed(&task.part(MISSED)) {
            None => run(),
            Some(key) => {
                let _task = last::Task::of(key);
                with_known_miss(key, run)
            }
        }
    })?
}

fn not_here(what: &str, why: &dyn std::fmt::Display) -> JobError {
    JobError::rejected(format!("the worker cannot use the {what} of the task: {why}"))
}
