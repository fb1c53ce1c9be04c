//! The program: `digits --help` says what it does.

fn main() -> std::process::ExitCode {
    digits::run::main()
}
