//! The NSS module under questions and links that nobody thought of: a few seconds in each run, with another seed each
//! time. `DYNUSER_FUZZ_SECONDS=600` makes it ten minutes, `DYNUSER_FUZZ_SEED` repeats a run.

#[path = "nss/host.rs"]
mod host;

use std::env;
use std::time::{SystemTime, UNIX_EPOCH};

use host::{Host, Outcome};

/// A number from the environment.
fn told(variable: &str) -> Option<u64> {
    env::var(variable).ok()?.parse().ok()
}

#[test]
fn whatever_is_asked_of_whatever_links_is_answered_as_another_reader_answers_it() -> Outcome {
    let seconds = told("DYNUSER_FUZZ_SECONDS").unwrap_or(3);
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let seed = told("DYNUSER_FUZZ_SEED").unwrap_or(now);
    let said = Host::with(&[])?.probe("fuzz", &format!("{seconds}:{seed}"))?;
    assert!(said.starts_with(&format!("seed {seed}: ")), "{said}");
    println!("{said}");
    Ok(())
}
