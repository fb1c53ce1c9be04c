//! The main example: `cargo run --release --example digits`, with options after a `--`.

fn main() -> std::process::ExitCode {
    digits::run::main()
}
