//! Runs isolated calls in worker processes.

use std::{
    path::Path,
    sync::{Arc, OnceLock},
};

use fleche_core::{
    Result, Task,
    executor::{Resources, SubmitError},
    register_isolator,
};

use super::{ProcessPool, queued_task::Requirements};

register_isolator! { run: run }

/// The size of the pool, which exceeds the number of calls that any program runs at once: a caller waits for its own
/// call only, and no call may wait for another.
const AT_ONCE: usize = 1 << 16;

/// Returns the pool of all isolated calls of this process. Its workers are kept, and end with this process.
fn pool() -> Result<&'static ProcessPool> {
    static POOL: OnceLock<ProcessPool> = OnceLock::new();
    if let Some(pool) = POOL.get() {
        return Ok(pool);
    }
    // A failure is not cached: the program may call `init` later.
    let pool = ProcessPool::new(AT_ONCE)?;
    Ok(POOL.get_or_init(|| pool))
}

fn run(task: Task, directory: &Path, gpus: Arc<[u32]>) -> Result<(), SubmitError> {
    let pool = match pool() {
        Ok(pool) => pool,
        Err(error) => return Err(task.refuse(error.to_string())),
    };
    match Requirements::of(&Resources::new().working_dir(directory), &pool.0.budget) {
        Ok(wants) => pool.accept(task, wants.visible_gpus(gpus)),
        Err(why) => Err(task.refuse(why)),
    }
}
