//! The program's executable: identifies its build, and starts it in other processes.

use std::{
    ffi::OsString,
    fs::File,
    io,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use crate::digest::Digest;

/// Returns the digest of the running program's executable. If the file cannot be read, logs an error and returns `None`.
pub(crate) fn executable_digest() -> Option<Digest> {
    static DIGEST: OnceLock<Digest> = OnceLock::new();
    if let Some(digest) = DIGEST.get() {
        return Some(*digest);
    }
    let digest = Executable::of_program().and_then(Executable::open).and_then(|file| {
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(file)?;
        Ok(Digest::from_bytes(*hasher.finalize().as_bytes()))
    });
    match digest {
        Ok(digest) => Some(*DIGEST.get_or_init(|| digest)),
        Err(error) => {
            crate::runtime::log::error!(
                %error,
                "cannot read the program's executable; functions without a unique name cannot be sent to other processes"
            );
            None
        }
    }
}

/// The executable that this process runs, even if another file has replaced it at its path.
#[derive(Debug)]
pub struct Executable {
    path: PathBuf,
    /// The loader's options and the program's file, if the program was started through a loader.
    loaded: Option<Loaded>,
}

/// A program that was started through a loader: `ld.so --library-path lib program`.
#[derive(Debug)]
struct Loaded {
    /// The loader's own arguments.
    options: Vec<OsString>,
    /// The program's file. It is kept open, because no path leads to it once it is replaced.
    program: File,
}

impl Executable {
    /// Returns the executable of this process. Only success is cached.
    ///
    /// # Errors
    /// Fails if the system does not name the executable, or if the program's file is missing. The latter is possible only
    /// if a loader was started with the program as its argument.
    pub fn of_program() -> io::Result<&'static Self> {
        static FOUND: OnceLock<Executable> = OnceLock::new();
        if let Some(found) = FOUND.get() {
            return Ok(found);
        }
        let found = Self { path: path()?, loaded: loaded()? };
        Ok(FOUND.get_or_init(|| found))
    }

    /// Opens the program's file.
    ///
    /// # Errors
    /// Fails if the file cannot be read.
    fn open(&self) -> io::Result<File> {
        File::open(self.program().as_deref().unwrap_or(&self.path))
    }

    /// Returns a command that starts the same program in another process. It works as long as this process lives.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        if let Some(loaded) = &self.loaded {
            command.args(&loaded.options);
        }
        command.args(self.program());
        command
    }

    /// Returns a digest of the program's layout in memory, without reading its file. It is the same in every process of one
    /// build.
    ///
    /// # Errors
    /// Fails if the loader does not report the program's segments.
    pub fn layout() -> io::Result<Digest> {
        let image = super::code_address::LoadedImage::of_program();
        image
            .map(super::code_address::LoadedImage::layout)
            .ok_or_else(|| io::Error::other("the loader does not report the program's segments"))
    }

    /// Returns the path at which a loader finds the program, or `None` if no loader was started.
    fn program(&self) -> Option<PathBuf> {
        #[cfg(target_os = "linux")]
        let program = self.loaded.as_ref().map(Loaded::path);
        #[cfg(not(target_os = "linux"))]
        let program = None;
        program
    }
}

/// Returns the path of the file that the system started. On Linux it leads to the running program, even if another file
/// has replaced it.
fn path() -> io::Result<PathBuf> {
    if cfg!(target_os = "linux") { Ok("/proc/self/exe".into()) } else { std::env::current_exe() }
}

#[cfg(not(target_os = "linux"))]
fn loaded() -> io::Result<Option<Loaded>> {
    Ok(None)
}

#[cfg(target_os = "linux")]
use on_linux::loaded;

#[cfg(target_os = "linux")]
mod on_linux {
    use std::{
        env, fs,
        io::ErrorKind::{NotFound, PermissionDenied},
        os::{fd::AsRawFd, unix::ffi::OsStringExt},
    };

    use super::{File, Loaded, OsString, Path, PathBuf, io};
    use crate::bound::code_address::LoadedImage;

    impl Loaded {
        /// Returns the path by which other processes of this user open the file, as long as this process lives.
        pub(super) fn path(&self) -> PathBuf {
            format!("/proc/{}/fd/{}", std::process::id(), self.program.as_raw_fd()).into()
        }
    }

    /// Returns the program that a loader has loaded, or `None` if the system started the program itself.
    ///
    /// # Errors
    /// Fails if this cannot be determined, or if the file is missing.
    pub(super) fn loaded() -> io::Result<Option<Loaded>> {
        let image = LoadedImage::of_program()
            .ok_or_else(|| io::Error::other("the loader does not report the program's segments"))?;
        let started = match fs::read("/proc/self/auxv") {
            Ok(vector) => headers_in(&vector),
            // A program that may be executed but not read hides this. Loaders read programs.
            Err(error) if matches!(error.kind(), NotFound | PermissionDenied) => None,
            Err(error) => return Err(error),
        };
        if started.is_none_or(|started| started == image.headers()) {
            return Ok(None);
        }
        let mut line = split(&fs::read("/proc/self/cmdline")?);
        let own = env::args_os().count();
        let Some(at) = line.len().checked_sub(own).filter(|at| *at > 0 && own > 0) else {
            return Err(not_found("the command line does not name it"));
        };
        let path = PathBuf::from(line.swap_remove(at));
        line.truncate(at);
        let options = line.drain(1..).collect();
        let program = open(&path, image)?;
        Ok(Some(Loaded { options, program }))
    }

    fn open(path: &Path, image: &LoadedImage) -> io::Result<File> {
        let file = File::open(path).map_err(|error| match error.kind() {
            NotFound => not_found(&format!("{} is gone", path.display())),
            _ => error,
        })?;
        if image.is_of(&file)? {
            return Ok(file);
        }
        Err(not_found(&format!("{} has been replaced by another file", path.display())))
    }

    fn not_found(why: &str) -> io::Error {
        let text =
            format!("a loader was started with this program as its argument, and {why}; start the program itself");
        io::Error::new(NotFound, text)
    }

    /// Returns the address of the segment table of the file that the system started: `AT_PHDR`, see getauxval(3).
    /// Returns `None` if it is not reported.
    fn headers_in(vector: &[u8]) -> Option<usize> {
        const AT_PHDR: usize = 3;
        let word = |bytes: &[u8]| bytes.try_into().ok().map(usize::from_ne_bytes);
        let mut pairs = vector.chunks_exact(2 * size_of::<usize>()).map(|pair| pair.split_at(size_of::<usize>()));
        pairs.find(|(kind, _)| word(kind) == Some(AT_PHDR)).and_then(|(_, value)| word(value))
    }

    /// Splits a command line into its arguments, each of which ends with a NUL.
    fn split(line: &[u8]) -> Vec<OsString> {
        let line = line.strip_suffix(b"\0").unwrap_or(line);
        line.split(|byte| *byte == 0).map(|argument| OsString::from_vec(argument.to_vec())).collect()
    }
}
