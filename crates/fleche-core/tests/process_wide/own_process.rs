//! Runs a test in its own process, with its own cache directory and working directory.

use std::{
    env, fs,
    io::Read,
    path::Path,
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

/// Runs the closure in its own process. `test` is the calling test, as `module::name`.
pub(crate) fn run_alone(test: &str, run: impl FnOnce()) {
    run_alone_with(test, |_, _| {}, run);
}

/// Like [`run_alone`]; `prepare` gets the command and the temporary directory.
pub(crate) fn run_alone_with(test: &str, prepare: impl FnOnce(&mut Command, &Path), run: impl FnOnce()) {
    if env::var_os("FLECHE_TEST_ALONE").is_some() {
        return run();
    }
    let directory = tempfile::tempdir().unwrap();
    let (caches, work) = (directory.path().join("caches"), directory.path().join("work"));
    fs::create_dir(&caches).unwrap();
    fs::create_dir(&work).unwrap();
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).current_dir(work);
    command.env("FLECHE_TEST_ALONE", "1").env("XDG_CACHE_HOME", caches).stdout(Stdio::piped()).stderr(Stdio::piped());
    prepare(&mut command, directory.path());
    let mut child = command.spawn().unwrap();
    let (done, ended) = mpsc::channel();
    let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let errors = thread::spawn(move || {
        let mut written = String::new();
        err.read_to_string(&mut written).map(|_| written)
    });
    thread::spawn(move || {
        let mut written = String::new();
        let _ = done.send(out.read_to_string(&mut written).map(|_| written));
    });
    // The output ends when the process ends.
    let output = ended.recv_timeout(Duration::from_mins(2));
    if output.is_err() {
        child.kill().unwrap();
    }
    let status = child.wait().unwrap();
    let output = output.expect("the process should end within two minutes").unwrap();
    assert!(status.success(), "{output}\n{}", errors.join().unwrap().unwrap());
    assert!(output.contains("1 passed"), "there is no test `{test}`:\n{output}");
}
