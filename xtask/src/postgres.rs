//! Runs a temporary PostgreSQL server, on loopback and in a temporary directory, for the time of a command.

use std::{
    env,
    ffi::OsString,
    fs,
    io::{BufRead, BufReader},
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, User, geteuid},
};
use tempfile::TempDir;

/// The backend that needs the server.
pub(crate) const BACKEND: &str = "sql-postgres";
/// The environment variable that contains the server's URL for that backend.
const VARIABLE: &str = "FLECHE_POSTGRES";
/// The line of the server's log after which it accepts connections.
const READY: &str = "database system is ready to accept connections";
const STARTING: &str = "starting PostgreSQL ";
const CURE: &str = "install the PostgreSQL server: on Debian, `apt-get install postgresql`";

/// Returns whether a server is already set: the user's own, or the one of an enclosing run.
pub(crate) fn is_installed() -> bool {
    env::var_os(VARIABLE).is_some()
}

/// The arguments of `cargo xtask postgres`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The command and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Runs a command with a server.
///
/// # Errors
/// Fails if the server cannot be started, or if the command fails.
pub(crate) fn run(arguments: &Arguments) -> Result<(), String> {
    let [program, rest @ ..] = &arguments.command[..] else { return Err("no command is given".to_owned()) };
    with_server(Command::new(program).args(rest))
}

/// Runs this program again, with the same arguments and with a server.
///
/// # Errors
/// Fails if the server cannot be started, or if the program fails.
pub(crate) fn run_again() -> Result<(), String> {
    let program = env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
    with_server(Command::new(program).args(env::args_os().skip(1)))
}

/// Runs a command with a server, which is stopped when the command ends, even if it fails.
fn with_server(command: &mut Command) -> Result<(), String> {
    let server = Server::start()?;
    println!("{BACKEND}: PostgreSQL {}", server.version);
    let run = command.env(VARIABLE, &server.url).status();
    drop(server);
    println!("{BACKEND}: stopped the server");
    match run {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("the command that was run with PostgreSQL failed ({status})")),
        Err(error) => Err(format!("cannot run {}: {error}", command.get_program().display())),
    }
}

/// A running server. Dropping it stops the server and removes its directory.
pub(crate) struct Server {
    child: Child,
    pub(crate) url: String,
    pub(crate) version: String,
    programs: PathBuf,
    account: Account,
    port: u16,
    directory: TempDir,
}

impl Server {
    /// Starts a server in an empty directory.
    ///
    /// # Errors
    /// Fails if PostgreSQL is not installed, or does not start.
    pub(crate) fn start() -> Result<Self, String> {
        let programs = programs().ok_or_else(|| format!("cannot find PostgreSQL's `initdb` and `postgres`; {CURE}"))?;
        let directory = tempfile::Builder::new().prefix("fleche-postgres-").tempdir();
        let directory = directory.map_err(|error| format!("cannot create a directory for PostgreSQL: {error}"))?;
        let account = Account::find()?;
        account.give_ownership(directory.path())?;
        let data = directory.path().join("data");
        let mut prepare = account.command(&programs.join("initdb"), directory.path());
        prepare.arg("--pgdata").arg(&data).args(["--username=fleche", "--auth=trust", "--no-sync", "--encoding=UTF8"]);
        let prepared = prepare.output().map_err(|error| format!("cannot run initdb: {error}"))?;
        succeeded("initdb", prepared.status, &prepared.stderr)?;
        let port = free_port()?;
        let child = run_postgres(&programs, &account, &directory, port)?;
        let url = format!("postgres://fleche@127.0.0.1:{port}/postgres");
        let mut server = Self { child, url, version: String::new(), programs, account, port, directory };
        server.version = server.wait_until_ready()?;
        Ok(server)
    }

    /// Starts the server again after it was killed, with the same data and on the same port.
    ///
    /// # Errors
    /// Fails if it does not start.
    pub(crate) fn restart(&mut self) -> Result<(), String> {
        self.child = run_postgres(&self.programs, &self.account, &self.directory, self.port)?;
        self.wait_until_ready().map(drop)
    }

    /// Stops all processes of the server, so that it neither answers nor closes a connection.
    pub(crate) fn suspend(&self) {
        // The main process is stopped first, since it would start others.
        signal(self.child.id(), Signal::SIGSTOP);
        self.children().into_iter().for_each(|child| signal(child, Signal::SIGSTOP));
    }

    /// Continues all processes of the server.
    pub(crate) fn resume(&self) {
        for child in self.children() {
            signal(child, Signal::SIGCONT);
        }
        signal(self.child.id(), Signal::SIGCONT);
    }

    /// Kills all processes of the server at once.
    pub(crate) fn kill(&mut self) {
        self.suspend();
        let children = self.children();
        signal(self.child.id(), Signal::SIGKILL);
        for child in &children {
            signal(*child, Signal::SIGKILL);
        }
        let _ = self.child.wait();
        // A new server refuses to start while a process of the old one exists.
        while children.iter().any(|child| parent_of(*child).is_some()) {
            thread::park_timeout(Duration::from_millis(10));
        }
    }

    /// Returns the processes that the server has started.
    fn children(&self) -> Vec<u32> {
        let processes = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
        let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        ids.filter(|id| parent_of(*id) == Some(self.child.id())).collect()
    }

    /// Reads the server's log until it accepts connections, and returns its version.
    ///
    /// A thread reads the rest of the log, so that the server never blocks on a full pipe.
    fn wait_until_ready(&mut self) -> Result<String, String> {
        let output = self.child.stderr.take().ok_or("postgres has no error stream")?;
        let mut lines = BufReader::new(output).lines().map_while(Result::ok);
        let (mut version, mut before) = (None, String::new());
        for line in lines.by_ref() {
            if let Some((_, rest)) = line.split_once(STARTING) {
                version = Some(rest.split(" on ").next().unwrap_or(rest).to_owned());
            }
            if line.contains(READY) {
                thread::spawn(move || lines.for_each(drop));
                return version.ok_or_else(|| "PostgreSQL has not logged its version".to_owned());
            }
            before += &line;
            before.push('\n');
        }
        Err(format!("postgres ended before it was ready:\n{before}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SIGINT is the fast shutdown, which closes all connections: see postgres(1).
        let signalled = i32::try_from(self.child.id()).map(|id| kill(Pid::from_raw(id), Signal::SIGINT));
        self.resume();
        if !matches!(signalled, Ok(Ok(()))) {
            // The server has ended by itself, or cannot be signalled and is killed.
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

fn run_postgres(programs: &Path, account: &Account, directory: &TempDir, port: u16) -> Result<Child, String> {
    let mut server = account.command(&programs.join("postgres"), directory.path());
    server.arg("-D").arg(directory.path().join("data"));
    server.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-c", "fsync=off"]);
    // Without Unix sockets, since Debian's default directory for them is not writable for every user.
    server.args(["-c", "unix_socket_directories=", "-c", "log_destination=stderr", "-c", "logging_collector=off"]);
    let child = server.stdin(Stdio::null()).stderr(Stdio::piped()).spawn();
    child.map_err(|error| format!("cannot run postgres: {error}"))
}

fn signal(process: u32, signal: Signal) {
    // A process that has ended needs no signal.
    let _ = i32::try_from(process).map(|id| kill(Pid::from_raw(id), signal));
}

/// Returns the parent of a running process, or `None` if there is no such process or it has ended.
fn parent_of(process: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The program's name in parentheses may contain any characters, so parsing begins after the last parenthesis.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    if fields.next()? == "Z" { None } else { fields.next()?.parse().ok() }
}

/// The user that runs the server, which refuses to run as root: `postgres` if this process is root, else its own user.
struct Account(Option<User>);

impl Account {
    fn find() -> Result<Self, String> {
        if !geteuid().is_root() {
            return Ok(Self(None));
        }
        match User::from_name("postgres") {
            Ok(Some(user)) => Ok(Self(Some(user))),
            Ok(None) => Err(format!("cannot run PostgreSQL as root, and there is no user `postgres`; {CURE}")),
            Err(error) => Err(format!("cannot look up the user `postgres`: {error}")),
        }
    }

    fn give_ownership(&self, directory: &Path) -> Result<(), String> {
        let Self(Some(user)) = self else { return Ok(()) };
        std::os::unix::fs::chown(directory, Some(user.uid.as_raw()), Some(user.gid.as_raw()))
            .map_err(|error| format!("cannot change the owner of {} to `postgres`: {error}", directory.display()))
    }

    fn command(&self, program: &Path, directory: &Path) -> Command {
        use std::os::unix::process::CommandExt;
        let mut command = Command::new(program);
        // The account may not be able to enter the current directory, and the log is parsed in English.
        command.current_dir(directory).env("LC_ALL", "C").stdin(Stdio::null());
        if let Self(Some(user)) = self {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        command
    }
}

fn succeeded(program: &str, status: ExitStatus, output: &[u8]) -> Result<(), String> {
    if status.success() {
        return Ok(());
    }
    Err(format!("{program} failed ({status}):\n{}", String::from_utf8_lossy(output)))
}

/// Returns the directory of the newest version's programs in Debian's location, or else of the first in `PATH`, if
/// there is one.
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

/// Returns a port that is free at the moment.
fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let address = listener.and_then(|listener| listener.local_addr());
    address.map(|address| address.port()).map_err(|error| format!("cannot find a free port: {error}"))
}
