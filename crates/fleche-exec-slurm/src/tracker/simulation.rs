//! Drives the tracker with a simulated scheduler under a virtual clock: many arrays, lost jobs, failed nodes, an absent controller and
//! submissions without an answer. The simulation answers in the texts of Slurm.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    fmt::Write,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use fleche_core::{Digest, JobError, Resources, spi::LockResultExt};

use super::{Caller, NewCall, Tracker};
use crate::{
    binary::Staged,
    commands::{CommandError, Program, Scheduler},
    config::SlurmConfig,
    directory::{Place, SharedDirectory},
    format::Outcome,
    parse::JOB_NAME,
};

/// The number of jobs that start in a second.
const STARTS: u32 = 500;

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Pending,
    RunningUntil(Duration),
    Failed,
}

#[derive(Debug)]
struct Array {
    batch: Arc<str>,
    elements: BTreeMap<u32, State>,
}

/// The cluster.
struct World {
    now: Duration,
    directory: SharedDirectory,
    arrays: BTreeMap<u64, Array>,
    /// Elements in the order of their starts.
    pending: VecDeque<(u64, u32)>,
    /// When elements end, or are forgotten after their end.
    ends: BTreeSet<(Duration, u64, u32)>,
    next: u64,
    random: u64,
    away: Option<(Duration, Duration)>,
    /// Arrays that the controller accepts later, although `sbatch` had no answer.
    late: Vec<Array>,
    /// Whether the last submission without an answer was lost.
    was_lost: bool,
    /// The job keys of the elements of each batch.
    keys: HashMap<Arc<str>, Vec<Digest>>,
    runs: HashMap<Digest, usize>,
    failures: usize,
    commands: BTreeMap<&'static str, usize>,
    lines: usize,
    unanswered: usize,
}

impl World {
    /// Returns whether an event with this probability, in thousandths, happens.
    fn happens(&mut self, thousandths: u64) -> bool {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % 1000 < thousandths
    }

    fn is_away(&self) -> bool {
        self.away.is_some_and(|(from, to)| (from..to).contains(&self.now))
    }

    fn advance(&mut self, time: Duration) {
        self.now += time;
        if self.is_away() {
            return;
        }
        for array in std::mem::take(&mut self.late) {
            self.accept(array);
        }
        let starts = (time * STARTS).as_secs().clamp(1, 5000);
        for _ in 0..starts {
            let Some((id, at)) = self.pending.pop_front() else { break };
            let next = self.start(&self.place(id, at));
            self.change(id, at, next);
        }
        while let Some((when, id, at)) = self.ends.pop_first() {
            if when > self.now {
                self.ends.insert((when, id, at));
                break;
            }
            let next = match self.arrays[&id].elements[&at] {
                State::RunningUntil(_) => self.end(&self.place(id, at)),
                // The controller forgets ended jobs.
                State::Pending | State::Failed => None,
            };
            self.change(id, at, next);
        }
    }

    fn place(&self, id: u64, at: u32) -> Place {
        Place { batch: self.arrays[&id].batch.clone(), element: at }
    }

    fn change(&mut self, id: u64, at: u32, next: Option<State>) {
        let event = match next {
            Some(State::RunningUntil(end)) => Some(end),
            Some(State::Failed) => Some(self.now + Duration::from_mins(5)),
            Some(State::Pending) | None => None,
        };
        self.ends.extend(event.map(|when| (when, id, at)));
        let elements = &mut self.arrays.get_mut(&id).unwrap().elements;
        match next {
            Some(state) => elements.insert(at, state),
            None => elements.remove(&at),
        };
        if elements.is_empty() {
            self.arrays.remove(&id);
        }
    }

    /// Starts an element as its runner does: it shows that it starts, and reads its key.
    fn start(&mut self, place: &Place) -> Option<State> {
        self.directory.start(place, 0).ok()?;
        let directory = &self.directory;
        let keys = self
            .keys
            .entry(place.batch.clone())
            .or_insert_with(|| directory.calls(&place.batch).unwrap().keys().collect());
        let key = keys[place.element as usize];
        if self.directory.read_key(&key).unwrap().as_ref() != Some(place) {
            self.exit(place, 77);
            return None;
        }
        *self.runs.entry(key).or_default() += 1;
        let seconds = 30 + (self.random >> 33) % 60;
        Some(State::RunningUntil(self.now + Duration::from_secs(seconds)))
    }

    fn end(&mut self, place: &Place) -> Option<State> {
        if self.happens(2) {
            self.failures += 1;
            // The clock of the files is real, and a failed node shows no signs of life.
            let started = self.directory.start(place, 0).unwrap();
            std::fs::File::options()
                .write(true)
                .open(started)
                .unwrap()
                .set_modified(std::time::SystemTime::UNIX_EPOCH)
                .unwrap();
            return Some(State::Failed);
        }
        self.directory
            .write_outcome(place, &Outcome::of(Ok(Bytes::from_static(b"result"))).to_bytes().unwrap())
            .unwrap();
        self.exit(place, 0);
        None
    }

    fn exit(&self, place: &Place, code: i32) {
        let batch = self.directory.batch(&place.batch);
        std::fs::write(batch.join(format!("state/{}.exit.0", place.element)), code.to_string()).unwrap();
        for waiter in std::fs::read_dir(batch.join("waiters")).into_iter().flatten().flatten() {
            std::fs::write(waiter.path().join(format!("{}.0", place.element)), "").unwrap();
        }
    }

    fn accept(&mut self, array: Array) -> u64 {
        self.next += 1;
        self.pending.extend(array.elements.keys().map(|at| (self.next, *at)));
        self.arrays.insert(self.next, array);
        self.next
    }

    fn sbatch(&mut self, arguments: &[String]) -> Result<String, CommandError> {
        let value = |name: &str| arguments.iter().find_map(|argument| argument.strip_prefix(name)).unwrap();
        let batch = value("--job-name=fleche-").into();
        let elements = value("--array=").split(',').flat_map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            first.parse().unwrap()..=last.parse().unwrap()
        });
        let array = Array { batch, elements: elements.map(|at| (at, State::Pending)).collect() };
        let no_answer = || Err(CommandError::NoAnswer("`sbatch`: Socket timed out".to_owned()));
        if self.is_away() {
            self.unanswered += 1;
            self.late.push(array);
            return no_answer();
        }
        if self.happens(250) {
            self.unanswered += 1;
            // It is accepted at once, later, or never. A call may be lost only a few times in a row.
            if self.happens(333) {
                self.accept(array);
            } else if self.happens(500) || self.was_lost {
                self.late.push(array);
                self.was_lost = false;
            } else {
                self.was_lost = true;
            }
            return no_answer();
        }
        Ok(self.accept(array).to_string())
    }

    fn squeue(&mut self) -> String {
        let mut text = String::new();
        for (id, array) in &self.arrays {
            let batch = &array.batch;
            let pending: Vec<u32> =
                array.elements.iter().filter(|(_, state)| **state == State::Pending).map(|(at, _)| *at).collect();
            if !pending.is_empty() {
                let list = crate::parse::element_list(&pending);
                writeln!(text, "{id}|{list}|{JOB_NAME}{batch}|PENDING|Resources|").unwrap();
            }
            for (at, state) in &array.elements {
                if matches!(state, State::RunningUntil(_)) {
                    writeln!(text, "{id}|{at}|{JOB_NAME}{batch}|RUNNING|None|n1").unwrap();
                }
            }
        }
        self.lines += text.lines().count();
        text
    }

    fn details(&self, id: &str) -> Result<String, CommandError> {
        let Some((id, array)) = id.parse().ok().and_then(|id: u64| Some((id, self.arrays.get(&id)?))) else {
            return Err(CommandError::Refused("slurm_load_jobs error: Invalid job id specified".to_owned()));
        };
        let mut text = String::new();
        for (at, state) in &array.elements {
            let state = match state {
                State::Pending => "PENDING",
                State::RunningUntil(_) => "RUNNING",
                State::Failed => "NODE_FAIL",
            };
            let batch = &array.batch;
            writeln!(text, "JobId={id} ArrayJobId={id} ArrayTaskId={at} JobName={JOB_NAME}{batch} JobState={state} Reason=None ExitCode=0:15 NodeList=n1").unwrap();
        }
        Ok(text)
    }
}

#[derive(Clone)]
struct Simulation(Arc<Mutex<World>>);

impl Simulation {
    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().ignore_poison()
    }
}

impl Scheduler for Simulation {
    fn run(&mut self, program: Program, arguments: &[String]) -> Result<String, CommandError> {
        let mut world = self.world();
        *world.commands.entry(program.name()).or_default() += 1;
        match program {
            Program::Sbatch => world.sbatch(arguments),
            _ if world.is_away() => Err(CommandError::NoAnswer("Unable to contact slurm controller".to_owned())),
            Program::Squeue => Ok(world.squeue()),
            Program::Scontrol if arguments[1] == "config" => {
                Ok("MaxArraySize = 1001\nAccountingStorageType = (null)\n".to_owned())
            }
            Program::Scontrol => world.details(&arguments[3]),
            Program::Scancel | Program::Sacct => Ok(String::new()),
        }
    }

    fn now(&self) -> Duration {
        self.world().now
    }
}

#[derive(Default)]
struct Counts {
    done: AtomicUsize,
    errors: Mutex<Vec<JobError>>,
}

struct Waiter(Arc<Counts>);

impl Caller for Waiter {
    fn dispatch(&self, _: &Digest, _: &Place) -> bool {
        true
    }

    fn start(&self) {}

    fn is_cancelled(&self) -> bool {
        false
    }

    fn complete(self, outcome: Outcome) {
        match outcome.result {
            Ok(_) => drop(self.0.done.fetch_add(1, SeqCst)),
            Err(error) => self.0.errors.lock().ignore_poison().push(error),
        }
    }
}

fn simulation(root: &Path) -> Simulation {
    Simulation(Arc::new(Mutex::new(World {
        now: Duration::from_hours(1),
        directory: SharedDirectory::open(&root.join("shared")).unwrap(),
        arrays: BTreeMap::new(),
        pending: VecDeque::new(),
        ends: BTreeSet::new(),
        next: 0,
        random: 7,
        away: None,
        late: Vec::new(),
        was_lost: false,
        keys: HashMap::new(),
        runs: HashMap::new(),
        failures: 0,
        commands: BTreeMap::new(),
        lines: 0,
        unanswered: 0,
    })))
}

fn tracker(simulation: &Simulation, root: &Path) -> Tracker<Simulation, Waiter> {
    let config = SlurmConfig::jobs(root.join("shared")).max_queued(1_000_000);
    let program = Staged { path: "/program".into(), digest: Digest::hash(b"program") };
    let directory = simulation.world().directory.clone();
    Tracker::new(simulation.clone(), directory, config, program)
}

fn calls(count: usize, counts: &Arc<Counts>) -> Vec<NewCall<Waiter>> {
    let resources = Arc::new(Resources::new().retries(5));
    let call = |at: usize| NewCall {
        key: Digest::hash(&at.to_le_bytes()),
        call: Bytes::from_static(b"call"),
        resources: resources.clone(),
        caller: Waiter(counts.clone()),
    };
    (0..count).map(call).collect()
}

/// Runs this number of calls. Returns the simulation at its end.
fn run(count: usize) -> Simulation {
    let scratch = tempfile::tempdir().unwrap();
    let (simulation, counts) = (simulation(scratch.path()), Arc::<Counts>::default());
    let mut tracker = tracker(&simulation, scratch.path());
    let begun = simulation.now();
    simulation.world().away = Some((begun + Duration::from_mins(2), begun + Duration::from_mins(14)));
    let mut next = tracker.step(calls(count, &counts), &[]);
    while let Some(time) = next {
        simulation.world().advance(time.max(Duration::from_millis(1)));
        next = tracker.step(Vec::new(), &[]);
        assert!(simulation.now() < begun + Duration::from_hours(12), "calls are lost: {:?}", tracker.stats());
    }
    assert_eq!(*counts.errors.lock().ignore_poison(), []);
    assert_eq!(counts.done.load(SeqCst), count);
    let world = simulation.world();
    let repeated: usize = world.runs.values().map(|runs| runs - 1).sum();
    assert_eq!(repeated, world.failures, "a call runs again only if its node has failed");
    assert_eq!(world.runs.len(), count);
    let minutes = world.now.saturating_sub(begun).as_secs() / 60;
    println!(
        "{count} calls, {minutes} minutes, {} failed nodes, {} unanswered submissions: {:?}, {} lines of the queue, {:?}",
        world.failures,
        world.unanswered,
        world.commands,
        world.lines,
        tracker.stats()
    );
    let commands: usize = world.commands.values().sum();
    let arrays = usize::try_from(tracker.stats().arrays).unwrap();
    // Questions come at intervals, whatever the number of calls.
    let questions = usize::try_from(minutes).unwrap() * (2 + super::state::DETAILS * 2) + 10;
    assert!(commands <= questions + 2 * arrays, "{commands} commands for {arrays} arrays");
    drop(world);
    simulation
}

#[test]
fn four_thousand_calls_survive_every_failure() {
    run(4_000);
}

/// About a minute: `cargo test -p fleche-exec-slurm --lib -- --ignored --nocapture`.
#[test]
#[ignore = "takes a minute"]
fn hundred_thousand_calls_survive_every_failure() {
    run(100_000);
}

#[test]
fn equal_calls_share_a_job() {
    let scratch = tempfile::tempdir().unwrap();
    let (simulation, counts) = (simulation(scratch.path()), Arc::<Counts>::default());
    let mut tracker = tracker(&simulation, scratch.path());
    let equal = calls(10, &counts).into_iter().chain(calls(10, &counts)).collect();
    let mut next = tracker.step(equal, &[]);
    while let Some(time) = next {
        simulation.world().advance(time.max(Duration::from_millis(1)));
        next = tracker.step(Vec::new(), &[]);
    }
    assert_eq!(counts.done.load(SeqCst), 20);
    assert_eq!(simulation.world().runs.values().sum::<usize>(), 10);
}

/// A call that the store does not have is not answered by a job that has ended: its record was evicted.
#[test]
fn ended_job_does_not_answer_a_miss() {
    let scratch = tempfile::tempdir().unwrap();
    let (simulation, counts) = (simulation(scratch.path()), Arc::<Counts>::default());
    let mut first = tracker(&simulation, scratch.path());
    first.step(calls(10, &counts), &[]);
    simulation.world().advance(Duration::from_secs(1));
    first.step(Vec::new(), &[]);
    for _ in 0..300 {
        simulation.world().advance(Duration::from_secs(1));
    }
    assert_eq!(simulation.world().runs.len(), 10);
    let mut second = tracker(&simulation, scratch.path());
    let mut next = second.step(calls(10, &counts), &[]);
    while let Some(time) = next {
        simulation.world().advance(time.max(Duration::from_millis(1)));
        next = second.step(Vec::new(), &[]);
    }
    assert_eq!(counts.done.load(SeqCst), 10);
    let world = simulation.world();
    assert_eq!(world.runs.values().sum::<usize>(), 20 + world.failures);
}

#[test]
fn next_tracker_submits_nothing_that_is_queued() {
    let scratch = tempfile::tempdir().unwrap();
    let (simulation, counts) = (simulation(scratch.path()), Arc::<Counts>::default());
    let mut first = tracker(&simulation, scratch.path());
    first.step(calls(2000, &counts), &[]);
    while first.stats().submitted < 2000 {
        simulation.world().advance(Duration::from_millis(60));
        first.step(Vec::new(), &[]);
    }
    // The process of the first tracker is killed.
    for batch in first.directory.batches().unwrap() {
        first.directory.unwatch(&batch, &first.mark).unwrap();
    }
    let mut second = tracker(&simulation, scratch.path());
    let mut next = second.step(calls(2000, &counts), &[]);
    while let Some(time) = next {
        simulation.world().advance(time.max(Duration::from_millis(1)));
        next = second.step(Vec::new(), &[]);
        assert!(simulation.now() < Duration::from_hours(5));
    }
    assert_eq!((second.stats().reattached, second.stats().submitted), (2000, second.stats().resubmitted));
    assert_eq!(counts.done.load(SeqCst), 2000);
    let world = simulation.world();
    assert_eq!(world.runs.values().sum::<usize>(), 2000 + world.failures);
}
