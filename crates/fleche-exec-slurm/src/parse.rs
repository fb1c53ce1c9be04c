//! Parses the answers of Slurm's commands: `squeue`, `sacct` and `scontrol`. Texts, because their JSON changes between versions.

use std::ops::RangeInclusive;

/// How the names of this crate's jobs begin. The rest is the id of the batch.
pub(crate) const JOB_NAME: &str = "fleche-";

/// The fields of a line of `squeue`.
pub(crate) const QUEUE_FORMAT: &str = "%F|%K|%j|%T|%r|%N";

/// The fields of a line of `sacct`.
pub(crate) const ACCOUNTING_FORMAT: &str = "JobID,JobName,State,ExitCode,NodeList";

/// Elements of an array as `squeue` reports them: several pending ones share a line.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct QueueLine {
    /// The id of the array.
    pub(crate) job: u64,
    /// The batch that the job's name gives.
    pub(crate) batch: String,
    pub(crate) elements: Vec<RangeInclusive<u32>>,
    /// The state, such as `PENDING`.
    pub(crate) state: String,
    /// Why the job is in this state, such as `Resources`.
    pub(crate) reason: String,
    /// The nodes; empty for none.
    pub(crate) nodes: String,
}

/// How an element of an array ended, by the scheduler's word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JobReport {
    pub(crate) element: u32,
    /// The batch that the job's name gives.
    pub(crate) batch: String,
    /// The state, such as `NODE_FAIL`, without additions such as `by 1000`.
    pub(crate) state: String,
    pub(crate) code: i32,
    pub(crate) signal: i32,
    /// The nodes; empty for none.
    pub(crate) nodes: String,
}

/// Returns the lines of this crate's jobs in the output of `squeue` with [`QUEUE_FORMAT`].
pub(crate) fn queue(text: &str) -> Vec<QueueLine> {
    text.lines().filter_map(queue_line).collect()
}

fn queue_line(line: &str) -> Option<QueueLine> {
    let mut fields = line.trim().split('|');
    let job = fields.next()?.parse().ok()?;
    let elements = elements(fields.next()?)?;
    let batch = fields.next()?.strip_prefix(JOB_NAME)?.to_owned();
    let [state, reason, nodes] = [fields.next()?, fields.next()?, fields.next()?].map(str::to_owned);
    Some(QueueLine { job, batch, elements, state, reason, nodes })
}

/// Parses the elements of an array: `0-9,12`, with an optional step `0-8:2` and limit `%4`.
fn elements(text: &str) -> Option<Vec<RangeInclusive<u32>>> {
    let text = text.split('%').next()?.trim_matches(['[', ']']);
    let mut ranges = Vec::new();
    for part in text.split(',') {
        let (range, step) = part.split_once(':').map_or((part, 1), |(range, step)| (range, step.parse().unwrap_or(1)));
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let range = first.parse().ok()?..=last.parse().ok()?;
        if step == 1 { ranges.push(range) } else { ranges.extend(range.step_by(step).map(|one| one..=one)) }
    }
    Some(ranges)
}

/// Writes elements as `sbatch` and `scancel` accept them. They must be sorted.
pub(crate) fn element_list(elements: &[u32]) -> String {
    let runs = elements.chunk_by(|one, next| one + 1 == *next);
    let runs = runs.filter_map(|run| match run {
        [] => None,
        [one] => Some(one.to_string()),
        [first, .., last] => Some(format!("{first}-{last}")),
    });
    runs.collect::<Vec<_>>().join(",")
}

/// Returns the reports of this crate's jobs in the output of `sacct -P -n -X -D` with [`ACCOUNTING_FORMAT`]. Of several runs of
/// an element, the last one comes last.
pub(crate) fn accounting(text: &str) -> Vec<JobReport> {
    let reports = text.lines().filter_map(|line| {
        let mut fields = line.split('|');
        let (_, element) = fields.next()?.split_once('_')?;
        let batch = fields.next()?.strip_prefix(JOB_NAME)?.to_owned();
        let state = state(fields.next()?);
        let (code, signal) = exit_code(fields.next()?);
        Some(JobReport { element: element.parse().ok()?, batch, state, code, signal, nodes: nodes(fields.next()?) })
    });
    reports.collect()
}

/// Returns the reports of this crate's jobs in the output of `scontrol show job -o`.
pub(crate) fn job_details(text: &str) -> Vec<JobReport> {
    let reports = text.lines().flat_map(|line| {
        let value = |name: &str| line.split(' ').find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
        let read = || {
            let batch = value("JobName")?.strip_prefix(JOB_NAME)?.to_owned();
            let ranges = elements(value("ArrayTaskId")?)?;
            let state = state(value("JobState")?);
            let (code, signal) = exit_code(value("ExitCode").unwrap_or_default());
            let nodes = nodes(value("NodeList").unwrap_or_default());
            let report = JobReport { element: 0, batch, state, code, signal, nodes };
            Some(ranges.into_iter().flatten().map(move |element| JobReport { element, ..report.clone() }))
        };
        read().into_iter().flatten()
    });
    reports.collect()
}

/// Returns the value of a setting in the output of `scontrol show config`.
pub(crate) fn setting<'a>(config: &'a str, name: &str) -> Option<&'a str> {
    config.lines().find_map(|line| {
        let (key, value) = line.split_once('=')?;
        (key.trim() == name).then(|| value.trim())
    })
}

/// Returns the id in the output of `sbatch --parsable`: `24` or `24;cluster`. The user's prologue of `sbatch` may print lines
/// before it.
pub(crate) fn submitted(text: &str) -> Option<u64> {
    text.lines().rev().find_map(|line| line.trim().split(';').next()?.parse().ok())
}

fn state(text: &str) -> String {
    text.split_ascii_whitespace().next().unwrap_or_default().trim_end_matches('+').to_owned()
}

/// Parses `code:signal`.
fn exit_code(text: &str) -> (i32, i32) {
    let (code, signal) = text.split_once(':').unwrap_or((text, "0"));
    (code.parse().unwrap_or(0), signal.parse().unwrap_or(0))
}

fn nodes(text: &str) -> String {
    let is_none = matches!(text, "(null)" | "None assigned" | "None" | "Unknown");
    if is_none { String::new() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queue_lists_pending_elements_together_and_skips_other_jobs() {
        let text = "8|0-1,3-4%2|fleche-00ab|PENDING|Resources|\n8|2|fleche-00ab|RUNNING|None|n1\n\
                    9|N/A|other|RUNNING|None|n1\n10|1|odd|name|RUNNING|None|n2\nslurm_load_jobs error\n";
        let lines = queue(text);
        assert_eq!(lines.len(), 2);
        assert_eq!((lines[0].job, &*lines[0].batch, &lines[0].elements), (8, "00ab", &vec![0..=1, 3..=4]));
        assert_eq!((&*lines[0].state, &*lines[0].reason, &*lines[0].nodes), ("PENDING", "Resources", ""));
        assert_eq!((&lines[1].elements, &*lines[1].nodes), (&vec![2..=2], "n1"));
    }

    #[test]
    fn elements_survive_a_round_trip_through_text() {
        let sorted = [0, 1, 2, 5, 7, 8];
        assert_eq!(element_list(&sorted), "0-2,5,7-8");
        assert!(elements("0-2,5,7-8").unwrap().into_iter().flatten().eq(sorted));
        assert_eq!(element_list(&[]), "");
        assert!(elements("[0-8:4]%3").unwrap().into_iter().flatten().eq([0, 4, 8]));
        for broken in ["", "N/A", "1-", "x", "0-3,..."] {
            assert_eq!(elements(broken), None, "{broken}");
        }
    }

    #[test]
    fn accounting_names_the_end_of_each_element() {
        let text = "24_3|fleche-b|CANCELLED by 1000|0:15|n1\n24_4|fleche-b|OUT_OF_MEMORY|0:125|n[1-2]\n\
                    24_4.batch|batch|FAILED|1:0|n1\n24_[5-6]|fleche-b|PENDING|0:0|None assigned\n25|x|FAILED|1:0|n1\n";
        let found = accounting(text);
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].element, &*found[0].state, found[0].signal), (3, "CANCELLED", 15));
        assert_eq!((found[1].element, &*found[1].state, &*found[1].nodes), (4, "OUT_OF_MEMORY", "n[1-2]"));
    }

    #[test]
    fn details_of_an_array_are_reports_of_its_elements() {
        let text = "JobId=26 ArrayJobId=24 ArrayTaskId=1 JobName=fleche-b UserId=u(0) JobState=NODE_FAIL Reason=None Restarts=0 \
                    ExitCode=0:15 NodeList=n1 BatchHost=n1\n\
                    JobId=24 ArrayJobId=24 ArrayTaskId=2-3 JobName=fleche-b JobState=CANCELLED ExitCode=0:0 NodeList=(null)\n\
                    JobId=30 JobName=other JobState=FAILED ExitCode=1:0\n";
        let found = job_details(text);
        assert_eq!(found.iter().map(|report| report.element).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!((&*found[0].state, found[0].signal, &*found[0].nodes), ("NODE_FAIL", 15, "n1"));
        assert_eq!(found[2].nodes, "");
    }

    #[test]
    fn settings_and_ids_are_found_between_other_lines() {
        let config = "Configuration data as of x\nMaxArraySize            = 1001\nAccountingStorageType   = (null)\n";
        assert_eq!(setting(config, "MaxArraySize"), Some("1001"));
        assert_eq!(setting(config, "Absent"), None);
        assert_eq!(submitted("welcome\n24;cluster\n"), Some(24));
        assert_eq!(submitted("sbatch: error"), None);
    }
}
