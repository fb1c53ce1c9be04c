//! The main example. Run it with `cargo run --release --example digits`; options follow after `--`.

fn main() -> std::process::ExitCode {
    digits::run::main()
}
