//! The binary `jackfield` once more: cargo builds a package's binaries before its tests, and only its own.

fn main() -> std::process::ExitCode {
    jackfield::cli::main()
}
