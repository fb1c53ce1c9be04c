//! `Session`: the connection to a server that a command starts. It is opened when it is needed, and again after it has ended.

use std::{
    fmt, io,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Arc, Mutex, MutexGuard,
        mpsc::{self, Receiver, SyncSender, sync_channel},
    },
    time::{Duration, Instant},
};

use fleche_core::{
    Error, Result,
    spi::{LockResultExt, fork::ProcessLocal, thread_spawner},
    store::{OpenStores, ensure_not_forked},
};

use crate::{
    client::Client,
    frame::{Kind, Reader},
    hello::{Hello, Role},
    limited_writer::LimitedWriter,
    results::Results,
};

/// The pauses between attempts to connect: the first, and the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// The time for a server to end after its input has ended. Then it is killed.
const END_LIMIT: Duration = Duration::from_secs(5);

/// How to reach a server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ServerSettings {
    /// The program that serves on its standard input and output, and its arguments.
    pub(crate) command: Vec<String>,
    /// The time that an operation may take.
    pub(crate) timeout: Duration,
}

impl fmt::Display for ServerSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.command.join(" "))
    }
}

/// Connections to one server, one after the other.
pub(crate) struct Session {
    settings: ServerSettings,
    state: ProcessLocal<Mutex<State>>,
    results: Mutex<Results>,
}

#[derive(Default)]
struct State {
    connection: Option<Connection>,
    /// The last attempt to connect, if it failed.
    failed: Option<Failed>,
}

struct Failed {
    why: String,
    /// The pause before the next attempt, and its end.
    pause: Duration,
    until: Instant,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Session {
    /// Returns the session with this server. It connects when the first operation needs it.
    ///
    /// # Errors
    /// Fails in a forked child.
    pub(crate) fn open(settings: ServerSettings) -> Result<Arc<Self>> {
        static OPEN: OpenStores<ServerSettings, Session> = OpenStores::new();
        OPEN.get_or_open(settings.clone(), || {
            Ok(Self { settings, state: ProcessLocal::new(Mutex::default()), results: Mutex::default() })
        })
    }

    /// Returns the client of the present connection. Connects if there is none.
    ///
    /// # Errors
    /// Fails if the server cannot be reached. Then it fails at once until a pause is over.
    pub(crate) fn client(&self) -> Result<Arc<Client>> {
        ensure_not_forked(|| format!("the store of {}", self.settings))?;
        let mut state = self.state.lock().ignore_poison();
        if let Some(connection) = state.connection.as_ref().filter(|connection| !connection.client.has_ended()) {
            return Ok(connection.client.clone());
        }
        state.connection = None;
        let now = Instant::now();
        if let Some(failed) = state.failed.as_ref().filter(|failed| failed.until > now) {
            return Err(self.unreachable(&failed.why));
        }
        match Connection::open(&self.settings) {
            Ok(connection) => {
                state.failed = None;
                Ok(state.connection.insert(connection).client.clone())
            }
            Err(why) => {
                let pause = state.failed.as_ref().map_or(FIRST_PAUSE, |failed| (failed.pause * 2).min(LONGEST_PAUSE));
                let error = self.unreachable(&why);
                state.failed = Some(Failed { why, pause, until: Instant::now() + pause });
                Err(error)
            }
        }
    }

    /// Returns the results that have arrived with their records.
    pub(crate) fn results(&self) -> MutexGuard<'_, Results> {
        self.results.lock().ignore_poison()
    }

    /// Returns the error that the server cannot be reached. It counts as a timeout, so that caches leave the store alone.
    fn unreachable(&self, why: &str) -> Error {
        let why = format!("the server cannot be reached: {why}");
        Error::backend(format!("the store of {}", self.settings))(io::Error::new(io::ErrorKind::TimedOut, why))
    }
}

/// A running server.
struct Connection {
    client: Arc<Client>,
    server: Arc<Mutex<Child>>,
    /// Ends when the server has ended.
    ended: Receiver<()>,
}

impl Connection {
    /// Starts the server and waits for its greeting.
    ///
    /// # Errors
    /// Fails with a message if the command cannot be started, or if what it starts is no server of a common version.
    fn open(settings: &ServerSettings) -> Result<Self, String> {
        let (program, arguments) = settings.command.split_first().ok_or("the command is empty")?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut server = command.spawn().map_err(|error| format!("cannot start `{program}`: {error}"))?;
        let (input, output) = (server.stdin.take(), server.stdout.take());
        let server = Arc::new(Mutex::new(server));
        let (Some(input), Some(output)) = (input, output) else { return Err("it has no pipes".to_owned()) };
        Self::begin(settings, &server, input, output).inspect_err(|_| kill(&server))
    }

    fn begin(
        settings: &ServerSettings,
        server: &Arc<Mutex<Child>>,
        input: ChildStdin,
        output: ChildStdout,
    ) -> Result<Self, String> {
        let input = LimitedWriter::new(input, settings.timeout).map_err(|error| error.to_string())?;
        let client = Client::new(input, settings.to_string()).with_limit(settings.timeout, {
            let server = server.clone();
            move || kill(&server)
        });
        let client = Arc::new(client);
        let (greeted, greeting) = sync_channel(1);
        let (ending, ended) = mpsc::channel();
        let (reading, of) = (client.clone(), server.clone());
        let read = move || {
            let _ending: mpsc::Sender<()> = ending;
            let why = read(&reading, output, &greeted);
            reading.fail_all(&why);
            let _ = greeted.try_send(Err(why));
            kill(&of);
            let _ = lock(&of).wait();
        };
        thread_spawner::spawn("fleche-remote", read).map_err(|error| format!("cannot start a thread: {error}"))?;
        // From here on, dropping the connection ends the server.
        let connection = Self { client, server: server.clone(), ended };
        let hello = Hello::new(Role::Client).to_bytes();
        connection.client.send(Kind::HELLO, 0, &[&hello]).map_err(|error| format!("it does not read: {error}"))?;
        let Ok(greeting) = greeting.recv_timeout(settings.timeout) else {
            kill(server);
            return Err(format!("it did not answer within {} s", settings.timeout.as_secs_f64()));
        };
        greeting.map(|()| connection)
    }
}

impl Drop for Connection {
    /// Ends the server after all that has been sent, and waits for its end for some seconds.
    fn drop(&mut self) {
        self.client.close();
        if self.ended.recv_timeout(END_LIMIT) == Err(mpsc::RecvTimeoutError::Timeout) {
            kill(&self.server);
        }
    }
}

/// Reads the answers of the server. Returns why no more arrive.
fn read(client: &Client, output: ChildStdout, greeted: &SyncSender<Result<(), String>>) -> String {
    let _reads = client.listen();
    let mut reader = Reader::new(output);
    let mut is_greeted = false;
    loop {
        let frame = match reader.read() {
            Ok(Some(frame)) => frame,
            Ok(None) if is_greeted => return "the server has ended".to_owned(),
            Ok(None) => return "the command has ended without a greeting; see its messages on stderr".to_owned(),
            Err(error) if is_greeted => return error.to_string(),
            Err(_) => return "the command prints something other than the protocol on its standard output".to_owned(),
        };
        match frame.kind {
            Kind::BYE => return String::from_utf8_lossy(&frame.part(0)).into_owned(),
            Kind::ANSWER if is_greeted => client.answer(frame),
            _ if is_greeted => {}
            _ => {
                let Some(hello) = Hello::from_frame(&frame).filter(|hello| hello.role == Role::Server) else {
                    return "the command is no server of a fleche cache".to_owned();
                };
                if let Err(why) = hello.check_versions() {
                    return why;
                }
                is_greeted = true;
                let _ = greeted.try_send(Ok(()));
            }
        }
    }
}

fn lock(server: &Mutex<Child>) -> MutexGuard<'_, Child> {
    server.lock().ignore_poison()
}

/// Kills the server. Does nothing if it has ended.
fn kill(server: &Mutex<Child>) {
    let _ = lock(server).kill();
}
