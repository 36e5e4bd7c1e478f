//! The `bursar` command.

fn main() -> std::process::ExitCode {
    bursar::cli::run()
}
