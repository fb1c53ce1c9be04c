//! The processes of isolated calls.

use std::{
    path::Path,
    sync::{Arc, LazyLock},
};

use fleche_core::{
    Result, Task,
    executor::{Resources, SubmitError},
    register_isolator,
};

use super::{ProcessPool, waiting::Wants};

register_isolator! { run: run }

/// More calls than any program runs at once: whoever makes one waits for it, and none may wait for another.
const AT_ONCE: usize = 1 << 16;

/// The one pool of all isolated calls of this process. Its workers are kept; they end with this process.
static POOL: LazyLock<Result<ProcessPool>> = LazyLock::new(|| ProcessPool::new(AT_ONCE));

fn run(task: Task, directory: &Path, gpus: Arc<[u32]>) -> Result<(), SubmitError> {
    let pool = match &*POOL {
        Ok(pool) => pool,
        Err(error) => return Err(task.refuse(error.to_string())),
    };
    match Wants::of(&Resources::new().working_dir(directory), &pool.0.budget) {
        Ok(wants) => pool.accept(task, wants.told_gpus(gpus)),
        Err(why) => Err(task.refuse(why)),
    }
}
