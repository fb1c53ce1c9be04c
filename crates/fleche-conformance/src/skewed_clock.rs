//! Runs child processes whose clocks differ from this system's, to test stores that several hosts share.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

/// Shifts the time of day by the seconds in the environment variable `FLECHE_CLOCK_OFFSET`. The program `faketime` does not suit:
/// it also replaces the server's time in `utimensat`, which no host with a wrong clock does.
const SOURCE: &str = r#"
    #define _GNU_SOURCE
    #include <stdlib.h>
    #include <sys/syscall.h>
    #include <time.h>
    #include <unistd.h>

    int clock_gettime(clockid_t clock, struct timespec *time) {
        int failed = syscall(SYS_clock_gettime, clock, time);
        if (!failed && clock == CLOCK_REALTIME) time->tv_sec += atol(getenv("FLECHE_CLOCK_OFFSET"));
        return failed;
    }
"#;

/// Makes the clock of this child process, once it is started, differ by this number of seconds from this system's. Times that the
/// system sets, such as those of files, and the monotonic clock do not change.
///
/// The C compiler `cc`, which also links Rust programs, builds a library in this directory, which the child process loads.
///
/// # Panics
/// Panics if the library cannot be built.
pub fn skew_clock(command: &mut Command, seconds: i64, directory: &Path) {
    let (source, library) = (directory.join("skewed_clock.c"), directory.join("skewed_clock.so"));
    if !library.exists() {
        fs::write(&source, SOURCE).expect("the directory can be written to");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-o"]).args([&library, &source]).stdin(Stdio::null());
        let built = compiler.status().unwrap_or_else(|error| panic!("cannot start the C compiler `cc`: {error}"));
        assert!(built.success(), "`cc` cannot build {}", source.display());
    }
    command.env("LD_PRELOAD", library).env("FLECHE_CLOCK_OFFSET", seconds.to_string());
}
