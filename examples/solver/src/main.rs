//! The program `sweep`; see `sweep --help`.

fn main() -> std::process::ExitCode {
    solver::sweep::main()
}
