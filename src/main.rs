//! The `dynuser` program: see the library for what is where.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(dynuser::command_line::main())
}
