//! Runs a temporary PostgreSQL server, on loopback and in a temporary directory, for the time of a command.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode, ExitStatus},
    time::Duration,
};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::scratch::{
    self, Account, CommandArguments, Daemon, catch_signals, exit_code, free_ports, output_within,
    processes::{self, signal},
    run_to_end,
};

/// The backend that needs the server.
pub(crate) const BACKEND: &str = "sql-postgres";
/// The environment variable that contains the server's URL for that backend.
const VARIABLE: &str = "FLECHE_POSTGRES";
/// The environment variable that contains the path of the server's certificate, which is signed by its own key.
const CERTIFICATE: &str = "FLECHE_POSTGRES_CERTIFICATE";
/// The rules of authentication, for tests: members of the role `needs_password` need a password, and members of `needs_tls` an
/// encrypted connection.
const AUTHENTICATION: &str = "\
host all +needs_password all scram-sha-256
hostnossl all +needs_tls all reject
host all all all trust
";
/// The description of the certificate, for `openssl req`.
const CERTIFICATE_REQUEST: &str = "\
[req]
prompt = no
distinguished_name = name
x509_extensions = extensions
[name]
CN = localhost
[extensions]
basicConstraints = critical, CA:FALSE
subjectAltName = DNS:localhost, IP:127.0.0.1
";
/// The line of the server's log after which it accepts connections.
const READY: &str = "database system is ready to accept connections";
const STARTING: &str = "starting PostgreSQL ";
const PACKAGE: &str = "postgresql";
/// The time limit for preparing the server's directory, and for its start. Each takes less than a second on an idle machine.
const LIMIT: Duration = Duration::from_mins(1);

/// Returns whether a server is already set: the user's own, or the one of an enclosing run.
pub(crate) fn is_installed() -> bool {
    env::var_os(VARIABLE).is_some()
}

/// The arguments of `cargo xtask postgres`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    command: CommandArguments,
}

/// Runs a command with a server, and passes on its exit code.
///
/// # Errors
/// Fails if the server cannot be started, or the command cannot be run.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, String> {
    with_server(&mut arguments.command.command()).map(exit_code)
}

/// Runs this program again, with the same arguments and with a server.
///
/// # Errors
/// Fails if the server cannot be started, or if the program fails.
pub(crate) fn run_again() -> Result<(), String> {
    let program = env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
    let status = with_server(Command::new(program).args(env::args_os().skip(1)))?;
    if status.success() { Ok(()) } else { Err(format!("the run with PostgreSQL failed ({status})")) }
}

/// Runs a command with a server, which is stopped when the command ends, even if it fails.
fn with_server(command: &mut Command) -> Result<ExitStatus, String> {
    catch_signals()?;
    let server = Server::start()?;
    println!("{BACKEND}: PostgreSQL {}", server.version);
    let ended = run_to_end(command.env(VARIABLE, &server.url).env(CERTIFICATE, server.certificate()));
    drop(server);
    println!("{BACKEND}: stopped the server");
    ended
}

/// A running server. Dropping it stops the server and removes its directory.
pub(crate) struct Server {
    daemon: Daemon,
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
        let programs = programs().ok_or_else(|| {
            format!("cannot find PostgreSQL's `initdb` and `postgres`: on Debian, `apt-get install {PACKAGE}`")
        })?;
        let directory = scratch::directory("postgres")?;
        let account = Account::for_daemon("postgres", "PostgreSQL", PACKAGE)?;
        account.give_ownership(directory.path())?;
        let data = directory.path().join("data");
        let mut prepare = account.command(programs.join("initdb"), directory.path());
        prepare.arg("--pgdata").arg(&data).args(["--username=fleche", "--auth=trust", "--no-sync", "--encoding=UTF8"]);
        output_within(LIMIT, &mut prepare)?;
        let written = fs::write(data.join("pg_hba.conf"), AUTHENTICATION);
        written.map_err(|error| format!("cannot write pg_hba.conf: {error}"))?;
        create_certificate(&account, directory.path())?;
        let port = free_ports(1)?[0];
        let daemon = run_postgres(&programs, &account, &directory, port)?;
        let url = format!("postgres://fleche@127.0.0.1:{port}/postgres");
        let mut server = Self { daemon, url, version: String::new(), programs, account, port, directory };
        server.version = server.wait_until_ready()?;
        Ok(server)
    }

    fn certificate(&self) -> PathBuf {
        self.directory.path().join("data/server.crt")
    }

    /// Starts the server again after it was killed, with the same data and on the same port.
    ///
    /// # Errors
    /// Fails if it does not start.
    pub(crate) fn restart(&mut self) -> Result<(), String> {
        self.daemon = run_postgres(&self.programs, &self.account, &self.directory, self.port)?;
        self.wait_until_ready().map(drop)
    }

    /// Stops all processes of the server, so that it neither answers nor closes a connection.
    pub(crate) fn suspend(&self) {
        // The main process is stopped first, since it would start others.
        signal(self.daemon.id(), Signal::SIGSTOP);
        self.children().into_iter().for_each(|child| signal(child, Signal::SIGSTOP));
    }

    /// Continues all processes of the server.
    pub(crate) fn resume(&self) {
        for child in self.children() {
            signal(child, Signal::SIGCONT);
        }
        signal(self.daemon.id(), Signal::SIGCONT);
    }

    /// Kills all processes of the server at once.
    pub(crate) fn kill(&mut self) {
        self.suspend();
        // A new server refuses to start while a process of the old one exists.
        let mut all = self.children();
        all.push(self.daemon.id());
        processes::kill_all(&all);
        self.daemon.wait();
    }

    /// Returns the processes that the server has started.
    fn children(&self) -> Vec<u32> {
        processes::children_of(self.daemon.id())
    }

    /// Waits until the server's log says that it accepts connections, and returns its version.
    fn wait_until_ready(&mut self) -> Result<String, String> {
        let file = log(&self.directory);
        let mut text = String::new();
        self.daemon.wait_until(LIMIT, || {
            text = fs::read_to_string(&file).unwrap_or_default();
            text.contains(READY)
        })?;
        let version = text.split_once(STARTING).and_then(|(_, rest)| rest.split(" on ").next());
        version.map(str::to_owned).ok_or_else(|| "PostgreSQL has not logged its version".to_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for child in self.children() {
            signal(child, Signal::SIGCONT);
        }
        // SIGINT is the fast shutdown, which closes all connections: see postgres(1).
        self.daemon.stop(Signal::SIGINT);
    }
}

/// Creates the server's key and certificate where PostgreSQL looks for them.
fn create_certificate(account: &Account, directory: &Path) -> Result<(), String> {
    let request = directory.join("certificate.conf");
    fs::write(&request, CERTIFICATE_REQUEST).map_err(|error| format!("cannot write {}: {error}", request.display()))?;
    let mut create = account.command("openssl", directory);
    create.args(["req", "-x509", "-days", "30", "-noenc", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]);
    create.args(["-keyout", "data/server.key", "-out", "data/server.crt", "-config"]).arg(&request);
    output_within(LIMIT, &mut create).map(drop)
}

fn run_postgres(programs: &Path, account: &Account, directory: &TempDir, port: u16) -> Result<Daemon, String> {
    let mut server = account.command(programs.join("postgres"), directory.path());
    server.arg("-D").arg(directory.path().join("data"));
    server.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-c", "fsync=off", "-c", "ssl=on"]);
    // Without Unix sockets, since Debian's default directory for them is not writable for every user.
    server.args(["-c", "unix_socket_directories=", "-c", "log_destination=stderr", "-c", "logging_collector=off"]);
    Daemon::start("postgres", &mut server, &log(directory))
}

fn log(directory: &TempDir) -> PathBuf {
    directory.path().join("log")
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
