//! `fleche-serve`: serves a cache on standard input and output.

use std::{
    env,
    io::{self, Write},
    process::ExitCode,
    sync::Arc,
};

use fleche_core::{Cache, layer::ReadOnly};
use fleche_store_file as _;
#[cfg(feature = "memory")]
use fleche_store_memory as _;
#[cfg(feature = "redb")]
use fleche_store_redb as _;
#[cfg(feature = "sled")]
use fleche_store_sled as _;
#[cfg(feature = "sql")]
use fleche_store_sql as _;

const USAGE: &str = "\
usage: fleche-serve --cache NAME [--read-only]

Serves the cache of this name to the program at the other end of standard input and output, until standard input ends. Configuration
files name caches: fleche.toml in the working directory or above it, and that of the user.

  --cache NAME   the cache to serve
  --read-only    refuse to store and to remove entries
";

fn main() -> ExitCode {
    match run(env::args().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("fleche-serve: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: impl Iterator<Item = String>) -> Result<(), String> {
    let Some(Arguments { cache, read_only }) = Arguments::parse(arguments)? else {
        print!("{USAGE}");
        return Ok(());
    };
    let cache = Cache::named(&cache).map_err(|error| error.report().to_string())?;
    let cache = if read_only { read_only_cache(&cache) } else { cache };
    let output = take_output().map_err(|error| format!("cannot use standard output: {error}"))?;
    let served = fleche_remote::serve(io::stdin().lock(), output, &cache);
    // Stores may write until they are dropped.
    drop(cache);
    served.map_err(|error| error.to_string())
}

fn read_only_cache(cache: &Cache) -> Cache {
    let (values, calls) = (cache.values().clone(), cache.calls().clone());
    cache.to_builder().values(Arc::new(ReadOnly::new(values))).calls(Arc::new(ReadOnly::new(calls))).build()
}

/// Returns standard output for the protocol. What else this process prints goes to standard error from now on.
#[cfg(unix)]
fn take_output() -> io::Result<impl Write + Send + 'static> {
    use std::os::fd::AsFd;
    let output = io::stdout().as_fd().try_clone_to_owned()?;
    // The other end must see the end of this process, not that of its last message: a store may still write.
    std::mem::forget(output.try_clone()?);
    nix::unistd::dup2_stdout(io::stderr())?;
    Ok(std::fs::File::from(output))
}

#[cfg(not(unix))]
fn take_output() -> io::Result<impl Write + Send + 'static> {
    Ok(io::stdout())
}

struct Arguments {
    cache: String,
    read_only: bool,
}

impl Arguments {
    /// Parses the arguments. Returns `None` for `--help`.
    ///
    /// # Errors
    /// Fails with a message that names the wrong argument.
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let (mut cache, mut read_only) = (None, false);
        while let Some(argument) = arguments.next() {
            match &*argument {
                "--cache" => cache = Some(arguments.next().ok_or("`--cache` needs the name of a cache")?),
                "--read-only" => read_only = true,
                "--help" | "-h" => return Ok(None),
                _ => return Err(format!("unknown argument `{argument}`\n\n{USAGE}")),
            }
        }
        let cache = cache.ok_or_else(|| format!("name the cache to serve: `--cache NAME`\n\n{USAGE}"))?;
        Ok(Some(Self { cache, read_only }))
    }
}
