//! The options of a scratch cluster, and the texts of its `slurm.conf` and `slurmdbd.conf`.

use std::{fmt::Write as _, path::Path};

/// The name of the cluster, which `sacct` asks for.
pub(super) const CLUSTER: &str = "fleche";
/// The database of the accounting, and the account that may use it.
pub(super) const DATABASE: &str = "slurm_acct_db";
pub(super) const DATABASE_USER: &str = "slurm";

/// What a cluster is made of.
#[derive(clap::Args, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// The number of nodes, which are named n1, n2 and so on.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(super) nodes: u16,
    /// The number of CPUs that each node claims to have, whatever this machine has.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) cpus: u16,
    /// Also start slurmdbd and a MariaDB server, for `sacct`.
    #[arg(long)]
    pub(super) accounting: bool,
    /// Allocate memory too (100 MB a CPU unless a job asks for more), and kill jobs that use more than they have.
    #[arg(long)]
    pub(super) memory: bool,
    /// Add the partition `high`, whose jobs cancel those of the default partition `main`.
    #[arg(long)]
    pub(super) preempt: bool,
}

/// The ports of a cluster, all on loopback.
pub(super) struct Ports {
    pub(super) controller: u16,
    pub(super) nodes: Vec<u16>,
    pub(super) accounting: Option<AccountingPorts>,
}

/// The ports of a cluster's accounting.
#[derive(Clone, Copy)]
pub(super) struct AccountingPorts {
    pub(super) slurmdbd: u16,
    pub(super) database: u16,
}

/// The machine and the account that a cluster runs on.
pub(super) struct Host {
    /// The machine's name, up to the first dot.
    pub(super) name: String,
    /// The user that runs all daemons but MariaDB.
    pub(super) user: String,
}

/// Returns the text of `slurm.conf`.
pub(super) fn slurm_conf(options: &Options, directory: &Path, host: &Host, ports: &Ports) -> String {
    let at = directory.display();
    let Host { name, user } = host;
    let mut text = format!(
        "ClusterName={CLUSTER}
SlurmctldHost={name}(127.0.0.1)
SlurmctldPort={controller}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
# A node refuses the credential of a job that it has ended, for as long as the credential is valid.
AuthInfo=socket={at}/run/munge.sock,cred_expire=5
# All daemons listen on loopback only.
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
StateSaveLocation={at}/state
SlurmctldPidFile={at}/run/slurmctld.pid
SlurmctldLogFile={at}/log/slurmctld.log
SlurmdPidFile={at}/run/slurmd.%n.pid
SlurmdLogFile={at}/log/slurmd.%n.log
SlurmdSpoolDir={at}/spool.%n
# PMIx needs a directory for each node.
TmpFS={at}/tmp.%n
# Nodes have the CPUs and the memory that are written below.
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
SlurmctldTimeout=30
SlurmdTimeout=10
MessageTimeout=10
KillWait=2
MinJobAge=300
InactiveLimit=0
WaitTime=0
SelectType=select/cons_tres
",
        controller = ports.controller
    );
    text += if options.memory {
        "SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=100
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
"
    } else {
        "SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
"
    };
    if options.preempt {
        text += "PreemptType=preempt/partition_prio
PreemptMode=CANCEL
";
    }
    if let Some(accounting) = ports.accounting {
        let _ = write!(
            text,
            "AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={}
AccountingStoragePass={at}/run/munge.sock
AccountingStoreFlags=job_comment
",
            accounting.slurmdbd
        );
    }
    for (node, port) in (1..).zip(&ports.nodes) {
        let _ =
            write!(text, "NodeName=n{node} NodeHostname={name} NodeAddr=127.0.0.1 Port={port} CPUs={}", options.cpus);
        if options.memory {
            let _ = write!(text, " RealMemory={}", u32::from(options.cpus) * 100);
        }
        text += " State=UNKNOWN\n";
    }
    let nodes = options.nodes;
    let _ =
        writeln!(text, "PartitionName=main Nodes=n[1-{nodes}] Default=YES MaxTime=INFINITE PriorityTier=1 State=UP");
    if options.preempt {
        let _ = writeln!(
            text,
            "PartitionName=high Nodes=n[1-{nodes}] MaxTime=INFINITE PriorityTier=2 PreemptMode=OFF State=UP"
        );
    }
    text
}

/// Returns the text of `slurmdbd.conf`, which contains the password of the database.
pub(super) fn slurmdbd_conf(directory: &Path, host: &Host, ports: AccountingPorts, password: &str) -> String {
    let at = directory.display();
    format!(
        "AuthType=auth/munge
AuthInfo=socket={at}/run/munge.sock
DbdHost={name}
DbdAddr=127.0.0.1
DbdPort={slurmdbd}
SlurmUser={user}
LogFile={at}/log/slurmdbd.log
PidFile={at}/run/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={database}
StorageUser={DATABASE_USER}
StoragePass={password}
StorageLoc={DATABASE}
CommitDelay=0
",
        name = host.name,
        user = host.user,
        slurmdbd = ports.slurmdbd,
        database = ports.database
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn options(words: &str) -> Options {
        Line::try_parse_from(["slurm"].into_iter().chain(words.split_whitespace())).unwrap().options
    }

    fn conf(words: &str) -> String {
        let options = options(words);
        let accounting = options.accounting.then_some(AccountingPorts { slurmdbd: 20_008, database: 20_009 });
        let ports = Ports { controller: 20_000, nodes: (20_001..).take(options.nodes.into()).collect(), accounting };
        slurm_conf(&options, Path::new("/scratch/a"), &host(), &ports)
    }

    fn host() -> Host {
        Host { name: "box".to_owned(), user: "root".to_owned() }
    }

    #[track_caller]
    fn assert_lines(text: &str, lines: &[&str]) {
        for line in lines {
            assert!(text.lines().any(|found| found == *line), "{line} is missing in:\n{text}");
        }
    }

    #[test]
    fn options_have_defaults_and_limits() {
        let defaults = Options { nodes: 3, cpus: 16, accounting: false, memory: false, preempt: false };
        assert_eq!(options(""), defaults);
        let all = Options { nodes: 1, cpus: 2, accounting: true, memory: true, preempt: true };
        assert_eq!(options("--nodes 1 --cpus 2 --accounting --memory --preempt"), all);
        assert!(Line::try_parse_from(["slurm", "--nodes", "0"]).is_err());
        assert!(Line::try_parse_from(["slurm", "--cpus", "0"]).is_err());
    }

    #[test]
    fn plain_cluster_schedules_at_once_and_listens_on_loopback() {
        let text = conf("");
        assert_lines(
            &text,
            &[
                "SlurmctldHost=box(127.0.0.1)",
                "SlurmctldPort=20000",
                "AuthInfo=socket=/scratch/a/run/munge.sock,cred_expire=5",
                "CommunicationParameters=NoCtldInAddrAny,NoInAddrAny",
                "SelectType=select/cons_tres",
                "SelectTypeParameters=CR_Core",
                "ProctrackType=proctrack/linuxproc",
                "TaskPlugin=task/none",
                "ReturnToService=2",
                "SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1",
                "SlurmdParameters=config_overrides",
                "NodeName=n1 NodeHostname=box NodeAddr=127.0.0.1 Port=20001 CPUs=16 State=UNKNOWN",
                "NodeName=n3 NodeHostname=box NodeAddr=127.0.0.1 Port=20003 CPUs=16 State=UNKNOWN",
                "PartitionName=main Nodes=n[1-3] Default=YES MaxTime=INFINITE PriorityTier=1 State=UP",
            ],
        );
        assert!(!text.contains("defer"), "{text}");
        for absent in ["Preempt", "AccountingStorage", "RealMemory", "OverMemoryKill", "n4", "PartitionName=high"] {
            assert!(!text.contains(absent), "{absent} in:\n{text}");
        }
    }

    #[test]
    fn memory_is_allocated_and_enforced() {
        let lines = [
            "SelectTypeParameters=CR_Core_Memory",
            "JobAcctGatherType=jobacct_gather/linux",
            "JobAcctGatherParams=OverMemoryKill",
            "NodeName=n1 NodeHostname=box NodeAddr=127.0.0.1 Port=20001 CPUs=4 RealMemory=400 State=UNKNOWN",
        ];
        let text = conf("--memory --nodes 1 --cpus 4");
        assert_lines(&text, &lines);
        assert_eq!(text.matches("SelectTypeParameters").count(), 1);
        assert_eq!(text.matches("JobAcctGatherType").count(), 1);
    }

    #[test]
    fn partition_high_cancels_jobs_of_partition_main() {
        let lines = [
            "PreemptType=preempt/partition_prio",
            "PreemptMode=CANCEL",
            "PartitionName=main Nodes=n[1-2] Default=YES MaxTime=INFINITE PriorityTier=1 State=UP",
            "PartitionName=high Nodes=n[1-2] MaxTime=INFINITE PriorityTier=2 PreemptMode=OFF State=UP",
        ];
        assert_lines(&conf("--preempt --nodes 2"), &lines);
    }

    #[test]
    fn controller_and_slurmdbd_agree_about_accounting() {
        let lines = [
            "AccountingStorageType=accounting_storage/slurmdbd",
            "AccountingStoragePort=20008",
            "AccountingStoragePass=/scratch/a/run/munge.sock",
        ];
        assert_lines(&conf("--accounting"), &lines);
        let ports = AccountingPorts { slurmdbd: 20_008, database: 20_009 };
        let lines = ["DbdPort=20008", "StoragePort=20009", "StoragePass=secret", "SlurmUser=root", "DbdAddr=127.0.0.1"];
        assert_lines(&slurmdbd_conf(Path::new("/scratch/a"), &host(), ports, "secret"), &lines);
    }
}
