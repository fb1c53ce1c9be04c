//! Decides what has become of an element of an array, from several sources: none of them alone is reliable.
//!
//! The controller may be away, may lose a job that it has accepted, and may give the id of a lost job to another one. A job may
//! run on after the controller has forgotten or requeued it. So the scheduler's word is compared with the files that the job
//! itself writes. An outcome is always final; the caller looks for it before it asks here.

use std::time::Duration;

use fleche_core::{
    JobError,
    job::{LossCause, WorkerLoss},
};

use crate::{
    options::{NO_DIRECTORY, SUPERSEDED},
    parse::JobReport,
};

/// What is known about an element without an outcome.
#[derive(Clone, Debug)]
pub(crate) struct Evidence<'a> {
    pub(crate) queue: Queue<'a>,
    /// The age of the newest sign of life; `None` if the element has never started.
    pub(crate) heartbeat: Option<Duration>,
    /// The exit code of the last run, recorded by its script.
    pub(crate) exit: Option<i32>,
    /// The report of accounting or of the controller, if it is about this element.
    pub(crate) report: Option<&'a JobReport>,
    /// The end of the element's stderr, in which Slurm leaves notes.
    pub(crate) stderr: &'a str,
    /// Whether the call has a `timeout`, from which the time limit of the job was made.
    pub(crate) has_timeout: bool,
}

impl Evidence<'_> {
    /// Returns the evidence about an element of which nothing is known.
    pub(crate) fn nothing() -> Self {
        let queue = Queue::Absent(Duration::ZERO);
        Self { queue, heartbeat: None, exit: None, report: None, stderr: "", has_timeout: false }
    }
}

/// The word of `squeue` about an element.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Queue<'a> {
    /// The element is in the queue.
    Listed { state: &'a str, reason: &'a str },
    /// The element is not in the queue, for this time. A job with the same id but another name does not count.
    Absent(Duration),
    /// The controller has not answered for this time.
    NoAnswer(Duration),
}

/// The limits of waiting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// The time for which an element that has left the queue may still produce its outcome: file systems show files late.
    pub(crate) settle: Duration,
    /// The age from which a sign of life no longer counts.
    pub(crate) heartbeat: Duration,
    /// The time after which a controller that does not answer is given up.
    pub(crate) give_up: Duration,
    /// The time to wait for a job of which nothing is known but that it had started.
    pub(crate) vanished: Duration,
}

/// The decision about an element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The element waits in the queue.
    Queued,
    /// The element waits for an event that may never come: to be reported to the user once.
    Held,
    /// The element runs, or is about to.
    Alive,
    /// The element runs although the controller does not know it: to be reported to the user once.
    Forgotten,
    /// The files of the element must be read again before anything is decided.
    Settling,
    /// The element ended without running its call, because its key names another element or none.
    Superseded,
    /// The element never ran, so its call is submitted again.
    NeverRan,
    /// The element cannot start: it is removed from the queue, and the call fails.
    CannotStart,
    /// The call has failed.
    Failed(Box<JobError>),
}

/// Decides what has become of the element.
pub(crate) fn judge(evidence: &Evidence<'_>, patience: &Patience) -> Verdict {
    match evidence.queue {
        Queue::Listed { state, reason } => listed(state, reason),
        Queue::NoAnswer(_) if is_alive(evidence, patience) => Verdict::Alive,
        Queue::NoAnswer(time) if time < patience.give_up => Verdict::Settling,
        Queue::NoAnswer(_) => failed(evidence, LossCause::SchedulerUnreachable),
        Queue::Absent(time) => absent(evidence, time, patience),
    }
}

fn listed(state: &str, reason: &str) -> Verdict {
    match state {
        "PENDING"
            if reason == "BadConstraints" || reason.contains("launch failed") || reason.contains("launch_failed") =>
        {
            Verdict::CannotStart
        }
        "PENDING" if is_held(reason) => Verdict::Held,
        "PENDING" => Verdict::Queued,
        // Unknown states of later versions too: a listed job has not ended.
        _ => Verdict::Alive,
    }
}

fn is_held(reason: &str) -> bool {
    let begins = ["JobHeld", "Assoc", "QOS"];
    begins.iter().any(|begin| reason.starts_with(begin))
        || reason.to_ascii_lowercase().contains("held")
        || matches!(
            reason,
            "InvalidAccount" | "InvalidQOS" | "PartitionTimeLimit" | "PartitionNodeLimit" | "PartitionDown"
        )
}

fn is_alive(evidence: &Evidence<'_>, patience: &Patience) -> bool {
    evidence.exit.is_none() && evidence.heartbeat.is_some_and(|age| age < patience.heartbeat)
}

fn absent(evidence: &Evidence<'_>, time: Duration, patience: &Patience) -> Verdict {
    if evidence.exit == Some(SUPERSEDED) {
        return Verdict::Superseded;
    }
    // The exit code is written after the outcome, on the same node.
    if time < patience.settle && evidence.exit.is_none() {
        return Verdict::Settling;
    }
    if let Some(cause) = noted(evidence.stderr) {
        return lost(evidence, cause);
    }
    if let Some(cause) = evidence.report.and_then(|report| reported(&report.state)) {
        return lost(evidence, cause);
    }
    match evidence.exit {
        Some(NO_DIRECTORY) => return failed(evidence, LossCause::LaunchFailed),
        Some(_) => return failed(evidence, LossCause::Died),
        None => {}
    }
    // A requeued job is reported as pending or running, and an old run of it may still be working.
    if is_alive(evidence, patience) {
        return Verdict::Forgotten;
    }
    match (evidence.report.map(|report| &*report.state), evidence.heartbeat) {
        (Some("FAILED"), Some(_)) => failed(evidence, LossCause::Died),
        (Some("FAILED"), None) => failed(evidence, LossCause::LaunchFailed),
        (Some("PENDING" | "RUNNING" | "REQUEUED" | "COMPLETING"), _) if time < patience.vanished => Verdict::Settling,
        (_, None) => Verdict::NeverRan,
        (Some("COMPLETED"), _) if time < patience.vanished => Verdict::Settling,
        (_, Some(_)) => failed(evidence, LossCause::Vanished),
    }
}

/// Returns the cause that Slurm's last words in the job's stderr give.
fn noted(stderr: &str) -> Option<LossCause> {
    let note = stderr.lines().rev().take(8).find(|line| line.contains("slurmstepd: "))?;
    let causes = [
        ("DUE TO NODE FAILURE", LossCause::NodeFailed),
        ("DUE TO TIME LIMIT", LossCause::TimeLimit),
        ("DUE TO PREEMPTION", LossCause::Preempted),
        ("exceeded memory limit", LossCause::OutOfMemory),
        ("oom-kill", LossCause::OutOfMemory),
        ("oom_kill", LossCause::OutOfMemory),
        ("CANCELLED AT", LossCause::CancelledByOperator),
    ];
    causes.into_iter().find(|(text, _)| note.contains(text)).map(|(_, cause)| cause)
}

fn reported(state: &str) -> Option<LossCause> {
    match state {
        "NODE_FAIL" | "BOOT_FAIL" => Some(LossCause::NodeFailed),
        "PREEMPTED" => Some(LossCause::Preempted),
        "TIMEOUT" | "DEADLINE" => Some(LossCause::TimeLimit),
        "OUT_OF_MEMORY" => Some(LossCause::OutOfMemory),
        "CANCELLED" => Some(LossCause::CancelledByOperator),
        _ => None,
    }
}

fn lost(evidence: &Evidence<'_>, cause: LossCause) -> Verdict {
    if cause == LossCause::TimeLimit && evidence.has_timeout {
        return Verdict::Failed(Box::new(JobError::TimedOut));
    }
    failed(evidence, cause)
}

fn failed(evidence: &Evidence<'_>, cause: LossCause) -> Verdict {
    let mut loss = WorkerLoss::new(cause);
    if cause == LossCause::Died {
        // A shell reports a signal as an exit code above 128.
        (loss.signal, loss.code) = match (evidence.exit, evidence.report) {
            (Some(code), _) if code > 128 => (Some(code - 128), None),
            (Some(code), _) => (None, Some(code)),
            (None, Some(report)) if report.signal != 0 => (Some(report.signal), None),
            (None, Some(report)) => (None, Some(report.code)),
            (None, None) => (None, None),
        };
    }
    let nodes = evidence.report.map(|report| report.nodes.clone());
    loss.node = nodes.filter(|nodes| !nodes.is_empty());
    loss.stderr = Some(evidence.stderr.to_owned()).filter(|stderr| !stderr.is_empty());
    Verdict::Failed(Box::new(loss.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience {
        settle: Duration::from_mins(1),
        heartbeat: Duration::from_secs(90),
        give_up: Duration::from_mins(10),
        vanished: Duration::from_mins(5),
    };

    const NOTHING: Evidence<'static> = Evidence {
        queue: Queue::Absent(Duration::from_secs(61)),
        heartbeat: None,
        exit: None,
        report: None,
        stderr: "",
        has_timeout: false,
    };

    fn started() -> Evidence<'static> {
        Evidence { heartbeat: Some(Duration::from_mins(3)), ..NOTHING }
    }

    fn report(state: &str, code: i32, signal: i32) -> JobReport {
        let (batch, state, nodes) = ("b".to_owned(), state.to_owned(), "n1".to_owned());
        JobReport { element: 0, batch, state, code, signal, nodes }
    }

    fn cause(evidence: &Evidence<'_>) -> LossCause {
        match judge(evidence, &PATIENCE) {
            Verdict::Failed(error) => match *error {
                JobError::WorkerLost(loss) => loss.cause,
                error => panic!("{error:?}"),
            },
            verdict => panic!("{verdict:?}"),
        }
    }

    #[test]
    fn listed_element_has_not_ended() {
        for (state, reason, expected) in [
            ("PENDING", "Resources", Verdict::Queued),
            ("PENDING", "BeginTime", Verdict::Queued),
            ("PENDING", "JobHeldUser", Verdict::Held),
            ("PENDING", "QOSMaxJobsPerUserLimit", Verdict::Held),
            ("PENDING", "AssocGrpCpuLimit", Verdict::Held),
            ("PENDING", "PartitionTimeLimit", Verdict::Held),
            ("PENDING", "BadConstraints", Verdict::CannotStart),
            ("PENDING", "launch failed requeued held", Verdict::CannotStart),
            ("RUNNING", "None", Verdict::Alive),
            ("COMPLETING", "None", Verdict::Alive),
            ("CONFIGURING", "None", Verdict::Alive),
            ("SUSPENDED", "None", Verdict::Alive),
            ("REQUEUE_HOLD", "None", Verdict::Alive),
            ("PREEMPTED", "None", Verdict::Alive),
            ("A_STATE_OF_LATER_VERSIONS", "None", Verdict::Alive),
        ] {
            let evidence = Evidence { queue: Queue::Listed { state, reason }, ..NOTHING };
            assert_eq!(judge(&evidence, &PATIENCE), expected, "{state} {reason}");
        }
    }

    #[test]
    fn absent_element_may_still_show_its_outcome() {
        let evidence = Evidence { queue: Queue::Absent(Duration::from_secs(59)), ..started() };
        assert_eq!(judge(&evidence, &PATIENCE), Verdict::Settling);
    }

    #[test]
    fn report_of_the_scheduler_names_the_cause() {
        for (state, expected) in [
            ("NODE_FAIL", LossCause::NodeFailed),
            ("BOOT_FAIL", LossCause::NodeFailed),
            ("PREEMPTED", LossCause::Preempted),
            ("TIMEOUT", LossCause::TimeLimit),
            ("DEADLINE", LossCause::TimeLimit),
            ("OUT_OF_MEMORY", LossCause::OutOfMemory),
            ("CANCELLED", LossCause::CancelledByOperator),
            ("FAILED", LossCause::Died),
        ] {
            let report = report(state, 0, 9);
            let evidence = Evidence { report: Some(&report), ..started() };
            assert_eq!(cause(&evidence), expected, "{state}");
        }
        let cancelled = report("CANCELLED", 0, 15);
        assert_eq!(cause(&Evidence { report: Some(&cancelled), ..NOTHING }), LossCause::CancelledByOperator);
        let failed = report("FAILED", 0, 53);
        assert_eq!(cause(&Evidence { report: Some(&failed), ..NOTHING }), LossCause::LaunchFailed);
    }

    #[test]
    fn last_words_in_stderr_name_the_cause_without_accounting() {
        for (text, expected) in [
            ("*** JOB 24 ON n1 CANCELLED AT 2026-01-01T00:00:00 DUE TO NODE FAILURE ***", LossCause::NodeFailed),
            ("*** JOB 24 ON n1 CANCELLED AT 2026-01-01T00:00:00 DUE TO TIME LIMIT ***", LossCause::TimeLimit),
            ("*** JOB 24 ON n1 CANCELLED AT 2026-01-01T00:00:00 DUE TO PREEMPTION ***", LossCause::Preempted),
            ("*** JOB 24 ON n1 CANCELLED AT 2026-01-01T00:00:00 ***", LossCause::CancelledByOperator),
            ("Job 24 exceeded memory limit (329760768 > 52428800), being killed", LossCause::OutOfMemory),
        ] {
            let stderr = format!("own words\nslurmstepd: error: {text}\n");
            // The state is then often FAILED.
            let failed = report("FAILED", 0, 9);
            let evidence = Evidence { stderr: &stderr, report: Some(&failed), ..started() };
            assert_eq!(cause(&evidence), expected, "{text}");
        }
        let own = Evidence { stderr: "the run is CANCELLED AT once\n", ..started() };
        assert_eq!(cause(&own), LossCause::Vanished);
    }

    #[test]
    fn time_limit_made_from_a_timeout_is_the_timeout() {
        let report = report("TIMEOUT", 0, 15);
        let evidence = Evidence { report: Some(&report), has_timeout: true, ..started() };
        assert_eq!(judge(&evidence, &PATIENCE), Verdict::Failed(Box::new(JobError::TimedOut)));
    }

    #[test]
    fn exit_code_of_the_script_is_final() {
        let evidence = Evidence { queue: Queue::Absent(Duration::ZERO), exit: Some(137), ..started() };
        let Verdict::Failed(error) = judge(&evidence, &PATIENCE) else { panic!() };
        assert_eq!(*error, JobError::worker_died(Some(9), None));
        let evidence = Evidence { exit: Some(3), stderr: "tail", ..evidence };
        let Verdict::Failed(error) = judge(&evidence, &PATIENCE) else { panic!() };
        let text = error.to_string();
        assert!(text.contains("code 3") && text.contains("tail"), "{text}");
        assert_eq!(cause(&Evidence { exit: Some(NO_DIRECTORY), ..NOTHING }), LossCause::LaunchFailed);
        let superseded = Evidence { exit: Some(SUPERSEDED), ..evidence };
        assert_eq!(judge(&superseded, &PATIENCE), Verdict::Superseded);
    }

    #[test]
    fn fresh_heartbeat_outweighs_the_absence_from_the_queue() {
        let evidence = Evidence { heartbeat: Some(Duration::from_secs(40)), ..NOTHING };
        assert_eq!(judge(&evidence, &PATIENCE), Verdict::Forgotten);
        // The controller has requeued the job, and the old process runs on.
        let requeued = report("REQUEUED", 0, 0);
        assert_eq!(judge(&Evidence { report: Some(&requeued), ..evidence }, &PATIENCE), Verdict::Forgotten);
    }

    #[test]
    fn element_without_a_trace_never_ran() {
        assert_eq!(judge(&NOTHING, &PATIENCE), Verdict::NeverRan);
    }

    #[test]
    fn started_element_without_a_trace_has_vanished() {
        assert_eq!(cause(&started()), LossCause::Vanished);
        let report = report("COMPLETED", 0, 0);
        let evidence = Evidence { report: Some(&report), ..started() };
        assert_eq!(judge(&evidence, &PATIENCE), Verdict::Settling);
        assert_eq!(cause(&Evidence { queue: Queue::Absent(Duration::from_mins(6)), ..evidence }), LossCause::Vanished);
    }

    #[test]
    fn silent_controller_is_given_up_unless_the_element_shows_signs_of_life() {
        let silent = |minutes| Evidence { queue: Queue::NoAnswer(Duration::from_mins(minutes)), ..started() };
        assert_eq!(judge(&silent(9), &PATIENCE), Verdict::Settling);
        assert_eq!(cause(&silent(11)), LossCause::SchedulerUnreachable);
        let alive = Evidence { heartbeat: Some(Duration::from_secs(1)), ..silent(11) };
        assert_eq!(judge(&alive, &PATIENCE), Verdict::Alive);
    }
}
