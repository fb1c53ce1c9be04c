//! `Plan`: determines the operation of a store that fails, and its fault.

use std::{
    fmt, io, panic,
    sync::{
        Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use fleche_core::{Error, Result, spi::LockResultExt};

/// A fault of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The disk is full: this operation and all later ones fail if they write.
    Full,
    /// This operation and all later ones fail.
    Broken,
    /// Only this operation fails.
    Once,
    /// Only this operation panics.
    Panic,
    /// Only this operation is delayed, so that others overtake it, and then succeeds.
    Delay,
    /// Only this operation hangs until the fault ends, and then succeeds.
    Hang,
}

impl Fault {
    /// All faults.
    pub const ALL: [Self; 6] = [Self::Full, Self::Broken, Self::Once, Self::Panic, Self::Delay, Self::Hang];
}

/// The number of times that a delayed operation yields to other threads if none of them overtakes it.
const YIELDS: u32 = 200;
/// The interval at which a thread that waits for an operation to fail checks whether the script has ended.
const LOOK: Duration = Duration::from_millis(20);

/// Counts the operations of one or more stores, and makes one or more of them fail.
pub struct Plan {
    fault: Fault,
    nth: u64,
    count: AtomicU64,
    ended: AtomicBool,
    triggered: AtomicBool,
    /// Locked while `ended` or `triggered` changes.
    gate: Mutex<()>,
    changed: Condvar,
}

impl Plan {
    /// Creates a plan with a fault at the `nth` operation, counted from 1.
    pub fn new(fault: Fault, nth: u64) -> Self {
        Self {
            fault,
            nth,
            count: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            triggered: AtomicBool::new(false),
            gate: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// Ends the fault: no further operation fails, and an operation that hangs returns.
    pub fn end(&self) {
        self.set(&self.ended);
    }

    /// Waits until an operation has failed or hangs, or until `is_running` returns false.
    pub(super) fn wait_until_triggered(&self, is_running: impl Fn() -> bool) {
        let mut gate = self.lock();
        while !self.has_triggered() && is_running() {
            gate = self.changed.wait_timeout(gate, LOOK).ignore_poison().0;
        }
    }

    fn set(&self, flag: &AtomicBool) {
        let _gate = self.lock();
        flag.store(true, SeqCst);
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.gate.lock().ignore_poison()
    }

    /// Returns the fault of the operations.
    pub(super) fn fault(&self) -> Fault {
        self.fault
    }

    /// Returns whether any operation has failed.
    pub fn has_triggered(&self) -> bool {
        self.triggered.load(SeqCst)
    }

    /// Returns the number of operations so far.
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
        self.set(&self.triggered);
        let kind = match self.fault {
            Fault::Full => io::ErrorKind::StorageFull,
            Fault::Broken | Fault::Once => io::ErrorKind::Other,
            // This does not call the panic hook, so the planned panic prints nothing.
            Fault::Panic => panic::resume_unwind(Box::new(format!("operation {number} panics, as planned"))),
            Fault::Delay => {
                let mut yields = 0..YIELDS;
                while self.count.load(SeqCst) == number && yields.next().is_some() {
                    thread::yield_now();
                }
                return Ok(());
            }
            Fault::Hang => {
                let is_on = |(): &mut ()| !self.ended.load(SeqCst);
                drop(self.changed.wait_while(self.lock(), is_on).ignore_poison());
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
    fn each_fault_affects_the_planned_operations() {
        assert_eq!(outcomes(Fault::Once, 2), [true, false, true, true]);
        assert_eq!(outcomes(Fault::Broken, 2), [true, false, false, false]);
        assert_eq!(outcomes(Fault::Full, 1), [true, false, true, false]);
        assert_eq!(outcomes(Fault::Delay, 1), [true; 4]);
    }

    #[test]
    fn no_operation_fails_after_the_fault_has_ended() {
        let plan = Plan::new(Fault::Broken, 1);
        assert!(plan.reads("do").is_err() && plan.has_triggered());
        plan.end();
        assert!(plan.writes("do").is_ok());
        assert_eq!(plan.operations(), 2);
    }
}
