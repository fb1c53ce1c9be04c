//! A scratch server of PostgreSQL: on loopback, in a temporary directory, for as long as a run takes.

use std::{
    env,
    ffi::OsString,
    fs,
    io::{BufRead, BufReader},
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, User, geteuid},
};
use tempfile::TempDir;

/// The backend that needs the server.
pub(crate) const BACKEND: &str = "sql-postgres";
/// The environment variable by which that backend finds it.
const VARIABLE: &str = "FLECHE_POSTGRES";
/// What the server says when it can be asked.
const READY: &str = "database system is ready to accept connections";
const STARTING: &str = "starting PostgreSQL ";
const CURE: &str = "install PostgreSQL's server: on Debian, `apt-get install postgresql`";

/// Whether a server is named already: one of the user's own, or that of the run that this one is part of.
pub(crate) fn is_there() -> bool {
    env::var_os(VARIABLE).is_some()
}

/// What to run.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The command, with its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Runs a command while there is a server.
///
/// # Errors
/// A message where there is no server, and where the command fails.
pub(crate) fn run(arguments: &Arguments) -> Result<(), String> {
    let [program, rest @ ..] = &arguments.command[..] else { return Err("there is no command".to_owned()) };
    with_server(Command::new(program).args(rest))
}

/// Runs this program again, with the same arguments, while there is a server.
///
/// # Errors
/// As [`run`].
pub(crate) fn run_again() -> Result<(), String> {
    let program = env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
    with_server(Command::new(program).args(env::args_os().skip(1)))
}

/// The server ends with the command, however that ends.
fn with_server(command: &mut Command) -> Result<(), String> {
    let server = Server::start()?;
    println!("{BACKEND}: PostgreSQL {}", server.version);
    let run = command.env(VARIABLE, &server.url).status();
    drop(server);
    println!("{BACKEND}: the server is stopped");
    match run {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("the run with a server of PostgreSQL failed ({status})")),
        Err(error) => Err(format!("cannot run {}: {error}", command.get_program().display())),
    }
}

/// A server that runs. Dropped, it is stopped, and its directory removed.
struct Server {
    child: Child,
    url: String,
    version: String,
    _directory: TempDir,
}

impl Server {
    fn start() -> Result<Self, String> {
        let programs = programs().ok_or_else(|| format!("there is no PostgreSQL here: {CURE}"))?;
        let directory = tempfile::Builder::new().prefix("fleche-postgres-").tempdir();
        let directory = directory.map_err(|error| format!("cannot make a directory for PostgreSQL: {error}"))?;
        let account = Account::find()?;
        account.give(directory.path())?;
        let data = directory.path().join("data");
        let mut prepare = account.command(&programs.join("initdb"), directory.path());
        prepare.arg("--pgdata").arg(&data).args(["--username=fleche", "--auth=trust", "--no-sync", "--encoding=UTF8"]);
        let prepared = prepare.output().map_err(|error| format!("cannot run initdb: {error}"))?;
        succeeded("initdb", prepared.status, &prepared.stderr)?;
        let port = free_port()?;
        let mut server = account.command(&programs.join("postgres"), directory.path());
        server.arg("-D").arg(&data).args(["-h", "127.0.0.1", "-p", &port.to_string(), "-c", "fsync=off"]);
        // The directory of sockets is Debian's own otherwise, in which not everybody may write.
        server.args(["-c", "unix_socket_directories=", "-c", "log_destination=stderr", "-c", "logging_collector=off"]);
        let child = server.stdin(Stdio::null()).stderr(Stdio::piped()).spawn();
        let child = child.map_err(|error| format!("cannot run postgres: {error}"))?;
        let url = format!("postgres://fleche@127.0.0.1:{port}/postgres");
        let mut server = Self { child, url, version: String::new(), _directory: directory };
        server.version = server.wait_until_ready()?;
        Ok(server)
    }

    /// Reads what the server says until it answers: its version. A thread reads on, so that it never waits for a reader.
    fn wait_until_ready(&mut self) -> Result<String, String> {
        let said = self.child.stderr.take().ok_or("postgres has no error stream")?;
        let mut lines = BufReader::new(said).lines().map_while(Result::ok);
        let (mut version, mut before) = (None, String::new());
        for line in lines.by_ref() {
            if let Some((_, rest)) = line.split_once(STARTING) {
                version = Some(rest.split(" on ").next().unwrap_or(rest).to_owned());
            }
            if line.contains(READY) {
                thread::spawn(move || lines.for_each(drop));
                return version.ok_or_else(|| "PostgreSQL does not tell its version".to_owned());
            }
            before += &line;
            before.push('\n');
        }
        Err(format!("postgres ended before it was ready:\n{before}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // So a server is told to end at once, with all connections: postgres(1).
        let told = i32::try_from(self.child.id()).map(|id| kill(Pid::from_raw(id), Signal::SIGINT));
        if !matches!(told, Ok(Ok(()))) {
            // It has ended by itself, or is ended now.
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

/// Who runs the server, which refuses to be run by root.
struct Account(Option<User>);

impl Account {
    fn find() -> Result<Self, String> {
        if !geteuid().is_root() {
            return Ok(Self(None));
        }
        match User::from_name("postgres") {
            Ok(Some(user)) => Ok(Self(Some(user))),
            Ok(None) => Err(format!("there is no user `postgres` to run PostgreSQL as, which root cannot: {CURE}")),
            Err(error) => Err(format!("cannot look for the user `postgres`: {error}")),
        }
    }

    fn give(&self, directory: &Path) -> Result<(), String> {
        let Self(Some(user)) = self else { return Ok(()) };
        std::os::unix::fs::chown(directory, Some(user.uid.as_raw()), Some(user.gid.as_raw()))
            .map_err(|error| format!("cannot give {} to `postgres`: {error}", directory.display()))
    }

    fn command(&self, program: &Path, directory: &Path) -> Command {
        use std::os::unix::process::CommandExt;
        let mut command = Command::new(program);
        // The working directory may be one that the account cannot enter, and its messages in another language.
        command.current_dir(directory).env("LC_ALL", "C").stdin(Stdio::null());
        if let Self(Some(user)) = self {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        command
    }
}

fn succeeded(program: &str, status: ExitStatus, said: &[u8]) -> Result<(), String> {
    if status.success() {
        return Ok(());
    }
    Err(format!("{program} failed ({status}):\n{}", String::from_utf8_lossy(said)))
}

/// The directory of the newest server's programs: where Debian keeps them, or in `PATH`.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().filter_map(Result::ok);
    let mut versions: Vec<_> =
        versions.filter_map(|entry| Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path()))).collect();
    versions.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    let debian = versions.into_iter().map(|(_, path)| path.join("bin"));
    let path = env::var_os("PATH").unwrap_or_default();
    let mut places = debian.chain(env::split_paths(&path));
    places.find(|place| ["initdb", "postgres"].iter().all(|program| place.join(program).is_file()))
}

/// A port that was free just now.
fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let address = listener.and_then(|listener| listener.local_addr());
    address.map(|address| address.port()).map_err(|error| format!("there is no free port: {error}"))
}
