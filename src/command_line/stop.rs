//! The verb that ends services.

use clap::Args;

use crate::failure::Failure;
use crate::launcher;

#[derive(Debug, Args)]
pub(super) struct Stop {
    /// A service, a template (foo@) or a pattern, a user's name or number
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// Do not wait until nothing is left
    #[arg(long)]
    no_wait: bool,
    /// SIGKILL at once
    #[arg(long)]
    kill: bool,
}

/// Stops them.
pub(super) fn stop(options: Stop) -> Result<u8, Failure> {
    launcher::stop(&launcher::Stop {
        names: options.names,
        wait: !options.no_wait,
        kill: options.kill,
    })
}
