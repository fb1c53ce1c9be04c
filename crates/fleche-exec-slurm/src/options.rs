//! Translates resources to the options of `sbatch`, and writes the script of a batch.

use std::{collections::BTreeMap, ffi::OsStr, os::unix::ffi::OsStrExt, path::Path, time::Duration};

use fleche_core::executor::Resources;

/// The variable that tells a process of the program that it runs an element of a batch.
pub(crate) const JOB_VARIABLE: &str = "FLECHE_SLURM_JOB";

/// The variable that tells the interval of heartbeats, in milliseconds.
pub(crate) const HEARTBEAT_VARIABLE: &str = "FLECHE_SLURM_HEARTBEAT";

/// The exit code of a script that cannot enter its working directory.
pub(crate) const NO_DIRECTORY: i32 = 76;

/// The exit code of a runner whose element was replaced by one of another batch, or cancelled.
pub(crate) const SUPERSEDED: i32 = 77;

/// The options of `sbatch` that this crate sets itself.
const OWN: [&str; 16] = [
    "array",
    "chdir",
    "cpus-per-task",
    "error",
    "export",
    "hold",
    "job-name",
    "mem",
    "nodes",
    "ntasks",
    "open-mode",
    "output",
    "parsable",
    "test-only",
    "wait",
    "wrap",
];

/// The time that Slurm grants beyond the `timeout` of a call, within which the runner reports the timeout itself.
const GRACE: Duration = Duration::from_mins(2);

/// Returns the options of `sbatch` that provide the resources. `defaults` are options for all jobs, which the resources override.
///
/// # Errors
/// Fails with the name of the resource or option that cannot be used, and what to do.
pub(crate) fn arguments(resources: &Resources, defaults: &BTreeMap<String, String>) -> Result<Vec<String>, String> {
    if let Some((name, _)) = resources.wanted_env().iter().find(|(name, value)| !is_variable(name, value)) {
        return Err(format!(
            "`{name:?}` in `env` is not a valid variable: a name consists of letters, digits and `_`, and a value must not \
             contain NUL"
        ));
    }
    if resources.wanted_tasks().is_some_and(|tasks| tasks > 1) {
        return Err("jobs of several `tasks` are not supported by this executor yet; leave `tasks` out".to_owned());
    }
    let mut options: BTreeMap<&str, String> = BTreeMap::new();
    for (name, value) in defaults.iter().chain(resources.wanted_options()) {
        let is_name = !name.is_empty() && name.bytes().all(|byte| byte == b'-' || byte.is_ascii_alphanumeric());
        if !is_name || name.starts_with('-') {
            return Err(format!("`{name}` is not the long name of an option of `sbatch`, such as `partition`"));
        }
        if OWN.contains(&&**name) {
            return Err(format!(
                "the option `{name}` of `sbatch` is set by this executor; leave it out, or use the method of \
                                `Resources` for it"
            ));
        }
        if value.contains('\0') {
            return Err(format!("the value of the option `{name}` of `sbatch` contains NUL"));
        }
        options.insert(name, value.clone());
    }
    let number = |value: Option<usize>| value.map(|value| value.max(1).to_string());
    let mut set = |name, value: Option<String>| {
        if let Some(value) = value {
            options.insert(name, value);
        }
    };
    set("cpus-per-task", number(resources.wanted_cores()));
    set("mem", resources.wanted_memory_mb().map(|memory| format!("{memory}M")));
    set("nodes", number(resources.wanted_nodes()));
    set("ntasks", resources.wanted_nodes().map(|nodes| nodes.max(1).to_string()));
    let gpus = resources.wanted_gpus().filter(|gpus| *gpus > 0).map(|gpus| gpus.to_string());
    set("gpus-per-node", gpus);
    if !options.contains_key("time") {
        let minutes = resources.wanted_timeout().map(|timeout| (timeout + GRACE).as_secs().div_ceil(60).to_string());
        options.extend(minutes.map(|minutes| ("time", minutes)));
    }
    if !options.contains_key("requeue") {
        options.insert("no-requeue", String::new());
    }
    let argument = |(name, value): (&str, String)| {
        if value.is_empty() { format!("--{name}") } else { format!("--{name}={value}") }
    };
    Ok(options.into_iter().map(argument).collect())
}

fn is_variable(name: &str, value: &str) -> bool {
    let letters = name.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric());
    letters && !name.is_empty() && !name.starts_with(|first: char| first.is_ascii_digit()) && !value.contains('\0')
}

/// What the script of a batch runs.
pub(crate) struct Script<'a> {
    /// Lines of the user that run first.
    pub(crate) prologue: &'a [String],
    pub(crate) env: Vec<(&'a str, &'a str)>,
    /// The submitter's working directory.
    pub(crate) directory: &'a Path,
    pub(crate) program: &'a Path,
    pub(crate) arguments: &'a [&'a str],
    pub(crate) batch: &'a Path,
    pub(crate) heartbeat: Duration,
}

impl Script<'_> {
    /// Returns the text of the script. It records the exit code of the program, and exits with it.
    pub(crate) fn text(&self) -> Vec<u8> {
        let mut text = b"#!/bin/bash\n".to_vec();
        let mut line = |parts: &[&[u8]]| {
            for part in parts {
                text.extend_from_slice(part);
            }
            text.push(b'\n');
        };
        for prologue in self.prologue {
            line(&[prologue.as_bytes()]);
        }
        for (name, value) in &self.env {
            line(&[b"export ", name.as_bytes(), b"=", &quoted(value.as_ref())]);
        }
        let heartbeat = self.heartbeat.as_millis().to_string();
        line(&[b"export ", HEARTBEAT_VARIABLE.as_bytes(), b"=", heartbeat.as_bytes()]);
        let batch = quoted(self.batch.as_os_str());
        // The number of this process tells the program that it was started here, and not by the body of a call.
        line(&[b"export ", JOB_VARIABLE.as_bytes(), b"=$$:", &batch]);
        let directory = quoted(self.directory.as_os_str());
        line(&[b"cd -- ", &directory, b" || exit ", NO_DIRECTORY.to_string().as_bytes()]);
        let mut command = quoted(self.program.as_os_str());
        for argument in self.arguments {
            command.push(b' ');
            command.extend(quoted(argument.as_ref()));
        }
        line(&[&command]);
        line(&[b"code=$?"]);
        line(&[b"end=", &batch, b"/state/$SLURM_ARRAY_TASK_ID.exit.${SLURM_RESTART_COUNT:-0}"]);
        line(&[b"echo $code > \"$end.new\" && mv -f -- \"$end.new\" \"$end\""]);
        // Tells the processes that wait where to look.
        line(&[b"for waiter in ", &batch, b"/waiters/*/; do"]);
        line(&[b"    : > \"$waiter$SLURM_ARRAY_TASK_ID.${SLURM_RESTART_COUNT:-0}\""]);
        line(&[b"done 2> /dev/null"]);
        line(&[b"exit $code"]);
        text
    }
}

/// Quotes text for the shell.
fn quoted(text: &OsStr) -> Vec<u8> {
    let mut quoted = vec![b'\''];
    for byte in text.as_bytes() {
        if *byte == b'\'' {
            quoted.extend(b"'\\''");
        } else {
            quoted.push(*byte);
        }
    }
    quoted.push(b'\'');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(resources: &Resources) -> Result<Vec<String>, String> {
        arguments(resources, &BTreeMap::from([("partition".to_owned(), "long".to_owned())]))
    }

    #[test]
    fn resources_become_options() {
        assert_eq!(options(&Resources::new()).unwrap(), ["--no-requeue", "--partition=long"]);
        let all = Resources::new().cores(4).memory_mb(2000).gpus(2).nodes(3).timeout(Duration::from_secs(61));
        let all = all.option("partition", "short").option("requeue", "").option("account", "chem");
        let expected = "--account=chem --cpus-per-task=4 --gpus-per-node=2 --mem=2000M --nodes=3 --ntasks=3 \
                        --partition=short --requeue --time=4";
        assert_eq!(options(&all).unwrap().join(" "), expected);
        let longer = Resources::new().timeout(Duration::from_mins(1)).option("time", "1-0");
        assert!(options(&longer).unwrap().contains(&"--time=1-0".to_owned()));
    }

    #[test]
    fn unusable_options_are_refused_by_name() {
        for name in ["array", "wrap", "hold", "Bad Name", "-x", ""] {
            let why = options(&Resources::new().option(name, "1")).unwrap_err();
            assert!(why.contains(&format!("`{name}`")), "{why}");
        }
        assert!(options(&Resources::new().tasks(2)).unwrap_err().contains("`tasks`"));
        assert!(options(&Resources::new().env("A-B", "1")).unwrap_err().contains("A-B"));
    }

    #[test]
    fn script_runs_the_program_with_quoted_text_and_keeps_its_exit_code() {
        let directory = tempfile::tempdir().unwrap();
        let (batch, odd) = (directory.path().join("it's"), directory.path().join("a b"));
        std::fs::create_dir_all(batch.join("state")).unwrap();
        std::fs::create_dir_all(batch.join("waiters/a waiter")).unwrap();
        std::fs::create_dir(&odd).unwrap();
        let script = Script {
            prologue: &["FROM_PROLOGUE=1".to_owned()],
            env: vec![("VALUE", "x'y $z")],
            directory: &odd,
            program: Path::new("/bin/sh"),
            arguments: &["-c", "echo \"$VALUE\" \"$FLECHE_SLURM_JOB\" \"$PPID\"; pwd; exit 5"],
            batch: &batch,
            heartbeat: Duration::from_secs(1),
        };
        let file = directory.path().join("script");
        std::fs::write(&file, script.text()).unwrap();
        let output = std::process::Command::new("bash").arg(&file).env("SLURM_ARRAY_TASK_ID", "3").output().unwrap();
        assert_eq!(output.status.code(), Some(5));
        let printed = String::from_utf8(output.stdout).unwrap();
        let (first, second) = printed.split_once('\n').unwrap();
        let (values, parent) = first.rsplit_once(' ').unwrap();
        assert_eq!(values, format!("x'y $z {parent}:{}", batch.display()));
        assert_eq!(second.trim_end(), odd.to_str().unwrap());
        assert_eq!(std::fs::read_to_string(batch.join("state/3.exit.0")).unwrap(), "5\n");
        assert!(batch.join("waiters/a waiter/3.0").exists());
        std::fs::remove_dir(&odd).unwrap();
        let output = std::process::Command::new("bash").arg(&file).output().unwrap();
        assert_eq!(output.status.code(), Some(NO_DIRECTORY));
    }
}
