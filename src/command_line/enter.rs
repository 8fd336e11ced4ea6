//! The verb that joins a service.

use std::ffi::OsString;
use std::io::IsTerminal;

use clap::Args;

use crate::failure::Failure;
use crate::launcher;

#[derive(Debug, Args)]
pub(super) struct Enter {
    /// Stay root, in the service's namespaces
    #[arg(long)]
    root: bool,
    /// A terminal of its own, also where standard input is none
    #[arg(short = 't', long)]
    pty: bool,
    /// A service, or a user's name or number
    name: String,
    /// The command and its arguments; without one, a shell
    #[arg(trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Enters it.
pub(super) fn enter(options: Enter) -> Result<u8, Failure> {
    launcher::enter(&launcher::Enter {
        name: options.name,
        command: options.command,
        root: options.root,
        // What the service can type into it is typed into nothing of the caller's.
        pty: options.pty || std::io::stdin().is_terminal(),
    })
}
