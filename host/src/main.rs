//! The binary `jackfield`: everything is in the library.

fn main() -> std::process::ExitCode {
    jackfield::cli::main()
}
