//! The program `digits`; see `digits --help`.

fn main() -> std::process::ExitCode {
    digits::run::main()
}
