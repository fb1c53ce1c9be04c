//! Isolated calls: the body runs on its own thread, in its own temporary working directory.

mod private_directory;

use std::{fmt, io, path::Path, sync::OnceLock, thread};

use crate::{
    context::{Binding, assigned_gpus, task_info::with_assigned_gpus},
    job::blocking_hooks::InheritedWorker,
    metadata,
    runtime::{
        panics::{CaughtPanic, carry},
        thread_spawner,
    },
};
pub(crate) use private_directory::PrivateDirectory;

/// The isolation of a function's calls.
#[derive(Clone, Copy, Debug)]
pub struct Isolation {
    /// Whether the directory is kept if the body panics.
    pub keep_on_panic: bool,
    /// The stack size of the body's thread, in bytes.
    pub stack: usize,
}

/// The bound on parameters and results of isolated functions.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be sent to the thread that an isolated call runs on",
    label = "parameters and results of isolated functions must be `Send`, and what a parameter borrows `Sync`",
    note = "take a type that may go to another thread (`Arc` for `Rc`, `Box<dyn Error + Send + Sync>` for \
            `Box<dyn Error>`), or leave out `isolate`"
)]
pub trait Crossing: Send {}

impl<T: Send> Crossing for T {}

/// Requires the bound at the place of a parameter's type.
pub const fn assert_send<T: Crossing>() {}

/// Returns whether threads of this process can have their own working directories. The system's answer is cached; a
/// failure to start a thread is not.
pub fn threads_have_directories() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    if let Some(answer) = ANSWER.get() {
        return *answer;
    }
    // On a thread that ends afterwards, because this cannot be undone.
    let tried = thread::Builder::new().name("isolated".to_owned()).spawn(leave_shared_directory);
    let tried = tried.map(|thread| thread.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into())));
    let (outcome, keep) = match tried {
        Ok(outcome) => (outcome, true),
        Err(error) => (Err(error), false),
    };
    if let Err(error) = &outcome {
        crate::runtime::log::warn!(%error, "threads cannot have their own working directories, so isolated calls run in worker processes");
    }
    if keep { *ANSWER.get_or_init(|| outcome.is_ok()) } else { outcome.is_ok() }
}

/// Runs the body on its own thread, in the caller's context, with a new directory as the working directory of this thread
/// alone. The directory is removed when the body has ended. A panic resumes on the caller's thread with the same payload.
///
/// # Panics
/// Resumes panics of the body. Also panics if the system gives no thread its own working directory, or if no directory
/// can be created. In these two cases the body has not run, because elsewhere it could overwrite other files.
pub fn isolate<R: Crossing>(isolation: Isolation, body: impl FnOnce() -> R + Send) -> R {
    // The context is taken first, because nothing may be looked up from the new directory.
    let binding = Binding::current();
    // The thread that starts fleche's other threads must not be started from the isolated thread.
    thread_spawner::prepare().unwrap_or_else(|why| refuse(why));
    let directory = PrivateDirectory::create().unwrap_or_else(|why| refuse(why));
    match on_a_thread(isolation, binding, directory.path(), body) {
        Ok(Ok(result)) => result,
        Ok(Err(panic)) => {
            if isolation.keep_on_panic {
                directory.keep();
            } else {
                drop(directory);
            }
            panic.go_on()
        }
        Err(why) => {
            drop(directory);
            refuse(why)
        }
    }
}

fn on_a_thread<R: Send>(
    Isolation { stack, .. }: Isolation,
    binding: Binding,
    directory: &Path,
    body: impl FnOnce() -> R + Send,
) -> io::Result<Result<R, CaughtPanic>> {
    let (log, span) = (tracing::dispatcher::get_default(Clone::clone), tracing::Span::current());
    let (gpus, working) = (assigned_gpus(), &InheritedWorker::here());
    let name = thread::current().name().unwrap_or("isolated").to_owned();
    let run = move || -> io::Result<_> {
        move_into(directory)?;
        let body = || {
            let _bound = binding.enter();
            let body = || working.run(|| with_assigned_gpus(gpus, body));
            tracing::dispatcher::with_default(&log, || span.in_scope(body))
        };
        Ok(metadata::lend_cpu(|| carry(body)))
    };
    let ended: io::Result<_> = thread::scope(|scope| {
        let thread = thread::Builder::new().name(name).stack_size(stack).spawn_scoped(scope, run)?;
        // Panics of the body are caught, so this one comes from a destructor of thread-local state.
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    let (outcome, cpu) = ended?;
    metadata::borrow_cpu(cpu);
    Ok(outcome)
}

/// Makes the directory the working directory of this thread only.
fn move_into(directory: &Path) -> io::Result<()> {
    leave_shared_directory()?;
    std::env::set_current_dir(directory)
}

#[cfg(target_os = "linux")]
fn leave_shared_directory() -> io::Result<()> {
    Ok(nix::sched::unshare(nix::sched::CloneFlags::CLONE_FS)?)
}

#[cfg(not(target_os = "linux"))]
fn leave_shared_directory() -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "threads on this system share one working directory"))
}

pub(crate) fn refuse(why: impl fmt::Display) -> ! {
    panic!(
        "an isolated call cannot have its own working directory: {why}. Its body did not run. Leave out `isolate`, \
         or run the program where threads may have their own working directories (on Linux, with `unshare` allowed) or may start \
         worker processes (with `fleche_exec::init()` as the first line of `main`), and where `$XDG_CACHE_HOME`, `~/.cache` or \
         the temporary directory can be written"
    )
}
