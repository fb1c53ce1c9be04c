//! Runs a client program with a time limit.

use std::{
    io::Read,
    process::{Command, Output, Stdio},
    thread,
    time::Duration,
};

use super::processes;

/// Runs a program to its end, and returns its output. It is killed when the time limit has passed.
///
/// # Errors
/// Fails if the program cannot be run, if the time limit passes, or if the program fails; then the error contains its messages.
pub(crate) fn output_within(limit: Duration, command: &mut Command) -> Result<Output, String> {
    let name = command.get_program().display().to_string();
    let started = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = started.map_err(|error| format!("cannot run {name}: {error}"))?;
    let (output, messages) = (read(child.stdout.take()), read(child.stderr.take()));
    let mut ended = None;
    processes::wait_until(limit, || {
        ended = child.try_wait().transpose();
        ended.is_some()
    });
    let Some(status) = ended else {
        let _ = child.kill();
        let _ = child.wait();
        return Err(format!("{name} has not ended after {} s", limit.as_secs()));
    };
    let status = status.map_err(|error| format!("cannot wait for {name}: {error}"))?;
    let (stdout, stderr) = (output.join().unwrap_or_default(), messages.join().unwrap_or_default());
    if status.success() {
        return Ok(Output { status, stdout, stderr });
    }
    Err(format!("{name} failed ({status}):\n{}", String::from_utf8_lossy(&stderr)))
}

/// Reads a stream on a thread, so that the program never blocks on a full pipe.
fn read(stream: Option<impl Read + Send + 'static>) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            let _ = stream.read_to_end(&mut bytes);
        }
        bytes
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn program_that_writes_more_than_a_pipe_holds_ends() {
        let output = output_within(Duration::from_mins(1), Command::new("sh").args(["-c", "seq 100000"])).unwrap();
        assert!(output.stdout.ends_with(b"100000\n"));
    }

    #[test]
    fn program_is_killed_after_its_time_limit() {
        let message = output_within(Duration::ZERO, Command::new("sleep").arg("600")).unwrap_err();
        assert_eq!(message, "sleep has not ended after 0 s");
    }

    #[test]
    fn error_contains_the_messages_of_a_program_that_fails() {
        let message = output_within(Duration::from_mins(1), Command::new("sh").args(["-c", "echo why >&2; exit 2"]));
        assert_eq!(message.unwrap_err(), "sh failed (exit status: 2):\nwhy\n");
    }
}
