//! `Plan`: which operation of a store fails, and how.

use std::{
    fmt, io, panic,
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use fleche_core::{Error, Result};

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The disk is full from then on: what writes fails, what reads does not.
    Full,
    /// Everything fails from then on.
    Broken,
    /// It fails, and no other.
    Once,
    /// It panics, and no other does.
    Panic,
    /// It takes so long that others overtake it, and succeeds.
    Delay,
    /// It does not return while the script of another thread runs, and succeeds when the fault is gone.
    Hang,
}

impl Fault {
    /// Every way to fail.
    pub const ALL: [Self; 6] = [Self::Full, Self::Broken, Self::Once, Self::Panic, Self::Delay, Self::Hang];
}

/// How often an operation that is delayed lets others go first, if none of them overtakes it.
const YIELDS: u32 = 200;
/// How often who waits for an operation to fail looks whether the script has ended instead.
const LOOK: Duration = Duration::from_millis(20);

/// Which operation of one or more stores fails, and how; counts them.
pub struct Plan {
    fault: Fault,
    nth: u64,
    count: AtomicU64,
    ended: AtomicBool,
    struck: AtomicBool,
    /// Held while `ended` or `struck` changes.
    gate: Mutex<()>,
    changed: Condvar,
}

impl Plan {
    /// The n-th operation from now on fails; the first is number 1.
    pub fn new(fault: Fault, nth: u64) -> Self {
        Self {
            fault,
            nth,
            count: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            struck: AtomicBool::new(false),
            gate: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// From now on nothing fails, and an operation that hangs returns.
    pub fn end(&self) {
        self.set(&self.ended);
    }

    /// Returns when an operation has failed or hangs, or this does not return true any more.
    pub(super) fn wait_until_struck(&self, is_running: impl Fn() -> bool) {
        let mut gate = self.lock();
        while !self.has_struck() && is_running() {
            gate = self.changed.wait_timeout(gate, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn set(&self, flag: &AtomicBool) {
        let _gate = self.lock();
        flag.store(true, SeqCst);
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How operations fail.
    pub(super) fn fault(&self) -> Fault {
        self.fault
    }

    /// Whether anything has failed.
    pub fn has_struck(&self) -> bool {
        self.struck.load(SeqCst)
    }

    /// How many operations there were.
    pub fn operations(&self) -> u64 {
        self.count.load(SeqCst)
    }

    pub(super) fn reads(&self, action: &'static str) -> Result<()> {
        self.operation(action, false)
    }

    pub(super) fn writes(&self, action: &'static str) -> Result<()> {
        self.operation(action, true)
    }

    fn operation(&self, action: &'static str, writes: bool) -> Result<()> {
        let number = self.count.fetch_add(1, SeqCst) + 1;
        let now = match self.fault {
            Fault::Full => number >= self.nth && writes,
            Fault::Broken => number >= self.nth,
            Fault::Once | Fault::Panic | Fault::Delay | Fault::Hang => number == self.nth,
        };
        if !now || self.ended.load(SeqCst) {
            return Ok(());
        }
        self.set(&self.struck);
        let kind = match self.fault {
            Fault::Full => io::ErrorKind::StorageFull,
            Fault::Broken | Fault::Once => io::ErrorKind::Other,
            // Without a word of the panic hook: this is no mishap.
            Fault::Panic => panic::resume_unwind(Box::new(format!("operation {number} panics, as planned"))),
            Fault::Delay => {
                let mut yields = 0..YIELDS;
                while self.count.load(SeqCst) == number && yields.next().is_some() {
                    thread::yield_now();
                }
                return Ok(());
            }
            Fault::Hang => {
                let is_on = |_: &mut ()| !self.ended.load(SeqCst);
                drop(self.changed.wait_while(self.lock(), is_on).unwrap_or_else(PoisonError::into_inner));
                return Ok(());
            }
        };
        Err(Error::io(action, "a store that fails as planned")(kind.into()))
    }
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {} of {}", self.fault, self.nth, self.operations())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcomes(fault: Fault, nth: u64) -> [bool; 4] {
        let plan = Plan::new(fault, nth);
        [false, true, false, true].map(|writes| plan.operation("do", writes).is_ok())
    }

    #[test]
    fn each_fault_strikes_where_it_should() {
        assert_eq!(outcomes(Fault::Once, 2), [true, false, true, true]);
        assert_eq!(outcomes(Fault::Broken, 2), [true, false, false, false]);
        assert_eq!(outcomes(Fault::Full, 1), [true, false, true, false]);
        assert_eq!(outcomes(Fault::Delay, 1), [true; 4]);
    }

    #[test]
    fn nothing_fails_once_the_fault_is_gone() {
        let plan = Plan::new(Fault::Broken, 1);
        assert!(plan.reads("do").is_err() && plan.has_struck());
        plan.end();
        assert!(plan.writes("do").is_ok());
        assert_eq!(plan.operations(), 2);
    }
}
