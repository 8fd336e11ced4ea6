//! The `dynuser` program with the points of `src/sys/fault.rs`. It is built for tests/faults.rs alone.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(dynuser::command_line::main())
}
