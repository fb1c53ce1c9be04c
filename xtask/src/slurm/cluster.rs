//! Starts the daemons of a scratch cluster, one after the other.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use super::{
    configuration::{self, AccountingPorts, CLUSTER, DATABASE, DATABASE_USER, Host, Options, Ports},
    layout::{DIRECTORIES, is_cluster, pid_file, set_environment, slurm_conf},
    teardown,
};
use crate::scratch::{
    Account, Daemon, accepts_connections, check_path, find_program, free_ports, make_enterable, output_within,
    random_bytes, require_programs, user_name,
};

/// The programs that a cluster needs, each with its Debian package.
const PROGRAMS: [(&str, &str); 6] = [
    ("slurmctld", "slurm-wlm"),
    ("slurmd", "slurm-wlm"),
    ("sbatch", "slurm-wlm"),
    ("sinfo", "slurm-wlm"),
    ("scancel", "slurm-wlm"),
    ("munged", "munge"),
];
/// The programs that accounting needs too.
const ACCOUNTING_PROGRAMS: [(&str, &str); 4] = [
    ("slurmdbd", "slurmdbd"),
    ("sacctmgr", "slurm-wlm"),
    ("mariadbd", "mariadb-server"),
    ("mariadb-install-db", "mariadb-server"),
];
/// The time limit for a daemon's start. Each takes less than a second on an idle machine, and `slurmdbd` two.
const START: Duration = Duration::from_mins(1);
/// Lets MariaDB never wait for the disk. With `loose`, a version without this option only warns.
const NO_SYNC: &str = "--loose-debug-no-sync";
/// The time limit for one call of a client. Slurm's own is 10 seconds.
const CLIENT: Duration = Duration::from_secs(15);

/// A running cluster, which is taken down when it goes out of scope, unless it was kept.
pub(super) struct Cluster {
    directory: PathBuf,
    daemons: Vec<Daemon>,
    kept: bool,
}

impl Cluster {
    /// Starts a cluster in an empty directory, and waits until all nodes are idle.
    ///
    /// # Errors
    /// Fails if a program is missing, or if a daemon is not ready within its time limit. The daemons that were started end.
    pub(super) fn start(options: &Options, directory: &Path) -> Result<Self, String> {
        check_programs(options)?;
        check_path(directory)?;
        let host = host()?;
        let ports = ports(options)?;
        let mut cluster = Self { directory: directory.to_owned(), daemons: Vec::new(), kept: false };
        cluster.prepare(options, &host, &ports)?;
        cluster.start_munge()?;
        if let Some(ports) = ports.accounting {
            cluster.start_accounting(&host, ports)?;
        }
        cluster.start_controller(ports.controller)?;
        cluster.start_nodes(options.nodes)?;
        Ok(cluster)
    }

    /// Leaves the daemons running when this process ends.
    pub(super) fn keep(mut self) {
        self.kept = true;
    }

    fn prepare(&self, options: &Options, host: &Host, ports: &Ports) -> Result<(), String> {
        for name in DIRECTORIES {
            self.create_directory(name, if name == "munge" { 0o700 } else { 0o755 })?;
        }
        for node in 1..=options.nodes {
            self.create_directory(&format!("tmp.n{node}"), 0o1777)?;
        }
        make_enterable(&self.directory)?;
        self.write("slurm.conf", 0o644, configuration::slurm_conf(options, &self.directory, host, ports).as_bytes())
    }

    fn start_munge(&mut self) -> Result<(), String> {
        self.write("munge/key", 0o600, &random_bytes::<128>()?)?;
        let at = self.directory.display();
        let mut command = program("munged")?;
        command.args(["--foreground", "--force", "--num-threads=2"]).args([
            format!("--key-file={at}/munge/key"),
            format!("--seed-file={at}/munge/seed"),
            format!("--socket={at}/run/munge.sock"),
            format!("--pid-file={at}/run/munged.pid"),
        ]);
        let socket = self.directory.join("run/munge.sock");
        self.start_daemon("munged", &mut command)?.wait_until(START, || socket.exists())
    }

    fn start_accounting(&mut self, host: &Host, ports: AccountingPorts) -> Result<(), String> {
        let password = format!("{:032x}", u128::from_be_bytes(random_bytes()?));
        let account = Account::for_daemon("mysql", "MariaDB", "mariadb-server")?;
        self.create_directory("database", 0o700)?;
        let database = self.directory.join("database");
        let statements = format!(
            "CREATE USER {DATABASE_USER}@'127.0.0.1' IDENTIFIED BY '{password}';\n\
             GRANT ALL ON {DATABASE}.* TO {DATABASE_USER}@'127.0.0.1';\n"
        );
        self.write("database/accounts.sql", 0o600, statements.as_bytes())?;
        account.give_ownership(&database)?;
        account.give_ownership(&database.join("accounts.sql"))?;
        let at = database.display();
        let data = format!("--datadir={at}/data");
        let mut install = account.command(required("mariadb-install-db")?, &database);
        install.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db", NO_SYNC, &data]);
        output_within(START, &mut install)?;

        let mut command = account.command(required("mariadbd")?, &database);
        command.args([
            "--no-defaults",
            NO_SYNC,
            &data,
            "--bind-address=127.0.0.1",
            "--skip-name-resolve",
            "--skip-log-bin",
        ]);
        command.args([
            "--innodb-buffer-pool-size=32M",
            "--innodb-log-file-size=8M",
            "--innodb-flush-log-at-trx-commit=0",
        ]);
        command.args([
            format!("--port={}", ports.database),
            format!("--socket={at}/socket"),
            format!("--pid-file={at}/pid"),
            format!("--init-file={at}/accounts.sql"),
        ]);
        self.start_daemon("mariadbd", &mut command)?.wait_until(START, || accepts_connections(ports.database))?;

        let text = configuration::slurmdbd_conf(&self.directory, host, ports, &password);
        self.write("slurmdbd.conf", 0o600, text.as_bytes())?;
        let directory = self.directory.clone();
        let daemon = self.start_daemon("slurmdbd", program("slurmdbd")?.arg("-D"))?;
        daemon.wait_until(START, || accepts_connections(ports.slurmdbd))?;
        let mut failure = String::new();
        let added = daemon.wait_until(START, || {
            let added = program("sacctmgr").and_then(|mut command| {
                let command = set_environment(&mut command, &directory);
                output_within(CLIENT, command.args(["--immediate", "--quiet", "add", "cluster", CLUSTER]))
            });
            failure = added.err().unwrap_or_default();
            failure.is_empty()
        });
        added.map_err(|message| format!("{message}\nThe last call of its client: {failure}"))
    }

    fn start_controller(&mut self, port: u16) -> Result<(), String> {
        let conf = slurm_conf(&self.directory);
        let daemon = self.start_daemon("slurmctld", program("slurmctld")?.args(["-D", "-c", "-f"]).arg(conf))?;
        daemon.wait_until(START, || accepts_connections(port))
    }

    fn start_nodes(&mut self, count: u16) -> Result<(), String> {
        let conf = slurm_conf(&self.directory);
        for node in 1..=count {
            let mut command = program("slurmd")?;
            command.args(["-D", "-N", &format!("n{node}"), "-f"]).arg(&conf);
            self.start_daemon(&format!("slurmd.n{node}"), &mut command)?;
        }
        let first = self.daemons.len() - usize::from(count);
        for (node, daemon) in (1..=count).zip(&mut self.daemons[first..]) {
            daemon.wait_until(START, || is_idle(&self.directory, node))?;
        }
        Ok(())
    }

    /// Starts a daemon, and writes its pid file at once, so that it is found from then on.
    fn start_daemon(&mut self, name: &str, command: &mut Command) -> Result<&mut Daemon, String> {
        let log = self.directory.join("log").join(format!("{name}.out"));
        let daemon = Daemon::start(name, set_environment(command, &self.directory), &log)?;
        let id = daemon.id();
        self.daemons.push(daemon);
        let file = pid_file(&self.directory, name);
        fs::write(&file, format!("{id}\n")).map_err(|error| format!("cannot write {}: {error}", file.display()))?;
        self.daemons.last_mut().ok_or_else(|| format!("{name} was not started"))
    }

    fn create_directory(&self, name: &str, mode: u32) -> Result<(), String> {
        let path = self.directory.join(name);
        let created = fs::create_dir(&path).and_then(|()| fs::set_permissions(&path, PermissionsExt::from_mode(mode)));
        created.map_err(|error| format!("cannot create {}: {error}", path.display()))
    }

    fn write(&self, name: &str, mode: u32, bytes: &[u8]) -> Result<(), String> {
        let path = self.directory.join(name);
        let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&path);
        let written = file.and_then(|mut file| file.write_all(bytes));
        written.map_err(|error| format!("cannot write {}: {error}", path.display()))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        // A cluster whose directories could not be created has no daemon either.
        if is_cluster(&self.directory)
            && let Err(error) = teardown::take_down(&self.directory)
        {
            eprintln!("slurm: {error}");
        }
        self.daemons.iter_mut().for_each(Daemon::wait);
    }
}

fn check_programs(options: &Options) -> Result<(), String> {
    let accounting = if options.accounting { &ACCOUNTING_PROGRAMS[..] } else { &[] };
    require_programs("the scratch cluster", &[&PROGRAMS, accounting].concat())
}

fn ports(options: &Options) -> Result<Ports, String> {
    let mut free = free_ports(usize::from(options.nodes) + 3)?;
    let mut next = || free.pop().ok_or("too few free ports");
    let controller = next()?;
    let accounting = AccountingPorts { slurmdbd: next()?, database: next()? };
    Ok(Ports { controller, nodes: free, accounting: options.accounting.then_some(accounting) })
}

fn host() -> Result<Host, String> {
    let name = fs::read_to_string("/proc/sys/kernel/hostname");
    let name = name.map_err(|error| format!("cannot read this machine's name: {error}"))?;
    Ok(Host { name: name.trim().split('.').next().unwrap_or_default().to_owned(), user: user_name()? })
}

/// Returns whether the controller says that a node is idle.
fn is_idle(directory: &Path, node: u16) -> bool {
    let Ok(mut command) = program("sinfo") else { return false };
    command.args(["--noheader", "--partition=main", "--format=%T", &format!("--nodes=n{node}")]);
    let output = output_within(CLIENT, set_environment(&mut command, directory));
    output.is_ok_and(|output| output.stdout.trim_ascii() == b"idle")
}

fn program(name: &str) -> Result<Command, String> {
    required(name).map(Command::new)
}

fn required(name: &str) -> Result<PathBuf, String> {
    find_program(name).ok_or_else(|| format!("cannot find {name}"))
}
