//! What a worker process does: it runs calls, one after the other, until its pool ends.

mod bindings;
mod channel;
mod inbox;
mod proxy;
mod setting;

use std::{
    io::{BufReader, Write},
    os::unix::net::UnixStream,
    process,
    sync::Arc,
    thread,
    time::Instant,
};

use bytes::Bytes;
use fleche_core::{JobError, bound::FunctionRef, encoding, job};
use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::{Pid, getpgrp},
};

use super::{
    frame::{self, Frame, Kind},
    hand::SETTING,
    start,
};
use bindings::Bindings;
use channel::Channel;
use inbox::Inbox;

/// Runs calls from this channel on this thread. Never returns.
pub(super) fn work(stream: UnixStream) -> ! {
    let reading = stream.try_clone();
    let channel = Arc::new(Channel::new(stream));
    let inbox = Arc::new(Inbox::default());
    let listening = reading.and_then(|reading| {
        let (channel, inbox) = (channel.clone(), inbox.clone());
        thread::Builder::new().name("fleche-channel".to_owned()).spawn(move || listen(reading, &channel, &inbox))
    });
    let greeted = channel.send(Vec::new(), Kind::Hello, 0, &[start::executable().as_bytes()]);
    if listening.is_ok() && greeted.is_ok() {
        run(&channel, &inbox);
        // What bodies have printed is written out.
        let _ = std::io::stdout().flush();
        process::exit(0);
    }
    end()
}

/// Reads what the pool says, and never waits for it to hear anything.
fn listen(channel: UnixStream, answers: &Arc<Channel>, inbox: &Inbox) {
    let mut reader = BufReader::with_capacity(1 << 16, channel);
    while let Ok(Some(frame)) = Frame::read(&mut reader) {
        match frame.kind {
            Kind::Hello if frame.part(0) != start::executable().as_bytes()[..] => break,
            Kind::Task => inbox.put(frame),
            Kind::TakeBack => {
                let numbers: Vec<u8> = inbox.take_back().into_iter().flat_map(u64::to_le_bytes).collect();
                let channel = answers.clone();
                // Not written here: the pool may wait for this thread to read.
                let sent = thread::Builder::new()
                    .spawn(move || channel.send(Vec::new(), Kind::TakenBack, 0, &[&numbers]).is_ok());
                if sent.is_err() {
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

/// The pool is gone, and with it whoever waits for anything that happens here: ends this process at once, with the
/// programs that bodies have started.
fn end() -> ! {
    if getpgrp() == Pid::this() {
        let _ = killpg(Pid::this(), Signal::SIGKILL);
    }
    let _ = kill(Pid::this(), Signal::SIGKILL);
    process::abort()
}

/// Runs what comes until nothing will.
fn run(channel: &Arc<Channel>, inbox: &Inbox) {
    let mut bindings = Bindings::new(channel.clone());
    // What is written together with the next start.
    let mut next = inbox.wait();
    let mut before = Vec::new();
    while let Some(task) = next {
        // The pool hears that the task starts before it can bring this process down.
        if channel.send(before, Kind::Started, task.number, &[]).is_err() {
            end();
        }
        let begun = Instant::now();
        let outcome = call(&mut bindings, &task);
        let took = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX).to_le_bytes();
        let number = task.number;
        drop(task);
        let (kind, result) = match outcome {
            Ok(result) => (Kind::Done, result),
            Err(error) => (Kind::Failed, encoding::to_vec(&error).unwrap_or_default()),
        };
        next = inbox.poll();
        if next.is_some() && result.len() < 1 << 14 {
            before = frame::bytes(kind, number, &[&took, &result]);
            continue;
        }
        before = Vec::new();
        if channel.send(Vec::new(), kind, number, &[&took, &result]).is_err() {
            end();
        }
        drop(result);
        next = next.or_else(|| inbox.wait());
    }
}

fn call(bindings: &mut Bindings, task: &Frame) -> Result<Vec<u8>, JobError> {
    let refused =
        |what: &str, why: &dyn std::fmt::Display| JobError::rejected(format!("the {what} did not arrive: {why}"));
    let function: FunctionRef = encoding::from_slice(&task.part(0)).map_err(|error| refused("function", &error))?;
    let binding = bindings.of(&task.part(1)).map_err(|error| refused("binding", &error))?;
    let arguments: Vec<&[u8]> = task.parts.iter().skip(SETTING + 1).map(|part: &Bytes| &**part).collect();
    // The call itself catches panics of the body; this is for what dropping something may do.
    job::catch(|| {
        let _bound = binding.as_ref().map(fleche_core::context::Binding::enter);
        setting::within(&task.part(SETTING), || function.call(&arguments))
    })?
}
