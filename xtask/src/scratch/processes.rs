//! What `/proc` knows about processes, and how they are ended.

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// The time between two checks of a condition that has no event to wait for.
pub(crate) const POLL: Duration = Duration::from_millis(5);
/// The time that a process has to end by itself after it was asked to.
const GRACE: Duration = Duration::from_secs(5);

/// Sends a signal to a process. One that has ended needs no signal.
pub(crate) fn signal(process: u32, signal: Signal) {
    // 0 and negative numbers mean groups of processes.
    if let Some(id) = i32::try_from(process).ok().filter(|id| *id > 0) {
        let _ = kill(Pid::from_raw(id), signal);
    }
}

/// Returns the parent of a running process, or `None` if there is no such process or it has ended.
pub(crate) fn parent_of(process: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The program's name in parentheses may contain any characters, so parsing begins after the last parenthesis.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    if fields.next()? == "Z" { None } else { fields.next()?.parse().ok() }
}

/// Returns whether a process is running. A process that has ended is not, even if its parent has not yet waited for it.
pub(crate) fn is_running(process: u32) -> bool {
    parent_of(process).is_some()
}

/// Returns the processes of this machine.
pub(crate) fn all() -> impl Iterator<Item = u32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Returns the processes that a process has started and that are still running.
pub(crate) fn children_of(process: u32) -> Vec<u32> {
    all().filter(|id| parent_of(*id) == Some(process)).collect()
}

/// Returns the processes that a process, and those that it has started, have started and that are still running.
pub(crate) fn descendants_of(process: u32) -> Vec<u32> {
    let mut found = children_of(process);
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(children_of(parent));
        next += 1;
    }
    found
}

/// Returns a process's program, cut to 15 characters, or an empty text if there is no such process.
pub(crate) fn program_of(process: u32) -> String {
    fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default().trim_end().to_owned()
}

/// Returns whether a process was started with a path in its arguments.
pub(crate) fn has_path_in_arguments(process: u32, path: &Path) -> bool {
    read_contains(&format!("/proc/{process}/cmdline"), path.as_os_str().as_encoded_bytes())
}

/// Returns whether a process has opened a file in a directory, even if the file has been removed since.
pub(crate) fn has_opened_file_in(process: u32, directory: &Path) -> bool {
    let files = fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().filter_map(Result::ok);
    files.filter_map(|file| fs::read_link(file.path()).ok()).any(|path| path.starts_with(directory))
}

/// Returns whether a process was started with an environment variable of this value.
pub(crate) fn has_variable(process: u32, name: &str, value: &[u8]) -> bool {
    let entry = [b"\0", name.as_bytes(), b"=", value, b"\0"].concat();
    let Ok(environment) = fs::read(format!("/proc/{process}/environ")) else { return false };
    let environment = [b"\0", &environment[..]].concat();
    environment.windows(entry.len()).any(|window| window == entry)
}

/// Returns whether an environment variable of this name was set when a process started.
pub(crate) fn has_variable_named(process: u32, name: &str) -> bool {
    read_contains(&format!("/proc/{process}/environ"), format!("{name}=").as_bytes())
}

fn read_contains(file: &str, part: &[u8]) -> bool {
    fs::read(file).is_ok_and(|bytes| bytes.windows(part.len()).any(|window| window == part))
}

/// Asks a process to end, and kills it if it has not ended after 5 seconds.
pub(crate) fn end(process: u32, request: Signal) {
    signal(process, request);
    // A stopped process does not handle other signals.
    signal(process, Signal::SIGCONT);
    if !wait_until(GRACE, || !is_running(process)) {
        signal(process, Signal::SIGKILL);
        wait_until(GRACE, || !is_running(process));
    }
}

/// Kills processes at once, and waits until they have ended.
pub(crate) fn kill_all(processes: &[u32]) {
    for process in processes {
        signal(*process, Signal::SIGKILL);
    }
    wait_until(GRACE, || !processes.iter().any(|process| is_running(*process)));
}

/// Waits until a condition holds, and returns whether it does within the time limit.
pub(crate) fn wait_until(limit: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    loop {
        if holds() {
            return true;
        }
        if begun.elapsed() >= limit {
            return false;
        }
        thread::park_timeout(POLL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn process_is_recognized_by_its_arguments_and_its_environment_until_it_ends() {
        let mut command = Command::new("cat");
        command.args(["-", "/nowhere/cat.conf"]).env("FLECHE_TEST", "/nowhere").stdin(Stdio::piped());
        let mut child = command.stderr(Stdio::null()).spawn().unwrap();
        let id = child.id();
        assert!(is_running(id) && children_of(std::process::id()).contains(&id));
        assert_eq!(program_of(id), "cat");
        assert!(
            has_path_in_arguments(id, Path::new("/nowhere")) && !has_path_in_arguments(id, Path::new("/elsewhere"))
        );
        assert!(has_variable(id, "FLECHE_TEST", b"/nowhere") && !has_variable(id, "FLECHE_TEST", b"/now"));
        assert!(has_variable_named(id, "FLECHE_TEST"));
        end(id, Signal::SIGTERM);
        assert!(!is_running(id));
        child.wait().unwrap();
    }
}
