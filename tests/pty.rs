//! A service with a terminal of its own, and one without, under a caller's terminal played by `tests/outer_terminal.py`.
//!
//! The program under test is this one: started with `DYNUSER_TEST_ROLE` it becomes, before `main` and so before the test
//! harness makes threads, a little `dynuser run` without identity and sandbox.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::undocumented_unsafe_blocks
)]
#![cfg(target_env = "gnu")]

use std::ffi::CString;
use std::process::Command;

use dynuser::failure::{Failure, OrFail, Stage};
use dynuser::pty::Session;
use dynuser::relay::wait_for;
use dynuser::sys::process_wait::Ended;
use dynuser::sys::signals::Signals;
use nix::unistd::{ForkResult, execvp, fork};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = before_main;

extern "C" fn before_main() {
    let Ok(role) = std::env::var("DYNUSER_TEST_ROLE") else {
        return;
    };
    let result = match role.as_str() {
        "pty" => with_pty(),
        _ => with_wait(),
    };
    let status = match result {
        Ok(ended) => ended.exit_status(),
        Err(failure) => {
            eprintln!("{failure}");
            failure.exit_status()
        }
    };
    unsafe { libc::_exit(status.into()) }
}

fn with_pty() -> Result<Ended, Failure> {
    let session = Session::open(None)?;
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            session.attach()?;
            become_the_service()
        }
        ForkResult::Parent { child } => {
            let pidfd = pidfd_open(Pid::from_raw(child.as_raw()).unwrap(), PidfdFlags::empty());
            session.relay(std::os::fd::AsFd::as_fd(&pidfd.unwrap()))
        }
    }
}

fn with_wait() -> Result<Ended, Failure> {
    let signals = Signals::block(&[]).or_fail(Stage::Exec, "signals")?;
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            signals.restore_original().or_fail(Stage::Exec, "signals")?;
            become_the_service()
        }
        ForkResult::Parent { child } => {
            let pidfd = pidfd_open(Pid::from_raw(child.as_raw()).unwrap(), PidfdFlags::empty());
            wait_for(std::os::fd::AsFd::as_fd(&pidfd.unwrap()), &signals)
        }
    }
}

fn become_the_service() -> ! {
    let command = std::env::var("DYNUSER_TEST_COMMAND").unwrap();
    // A shell changes the mask of held-back signals as it starts; a test of the mask names another program.
    let program = std::env::var("DYNUSER_TEST_PROGRAM").unwrap_or_else(|_| "sh".to_owned());
    let words = [&program, "-c", &command].map(|word| CString::new(word).unwrap());
    match execvp(&words[0], &words) {
        Err(error) => panic!("{program}: {error}"),
    }
}

fn scenario(name: &str) {
    let output = Command::new("python3")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/pty.py"))
        .arg(std::env::current_exe().unwrap())
        .arg(name)
        .output()
        .expect("python3 plays the caller's terminal");
    assert!(
        output.status.success() && output.stdout.ends_with(b"passed\n"),
        "{name}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
}

macro_rules! scenarios {
    ($($name:ident)*) => { $(#[test] fn $name() { scenario(stringify!($name)); })* };
}

scenarios! {
    the_terminal_is_raw_and_put_back_after_the_end
    the_terminal_is_put_back_after_sigterm
    the_terminal_is_put_back_after_the_childs_death
    the_terminal_is_put_back_after_an_outer_stop
    the_window_keeps_its_size
    keys_reach_the_inner_job
    jobs_can_be_stopped_and_brought_back
    ten_megabytes_come_out_unchanged
    ten_megabytes_go_into_a_pipe_unchanged
    a_large_paste_goes_in_unchanged
    a_background_process_does_not_hang_the_end
    a_background_process_without_hangup_does_not_hang_the_end
    a_flood_after_the_end_is_cut_off
    a_hangup_reaches_the_child
    the_end_of_a_piped_input_is_told_to_every_reader
    nobody_reading_ends_the_child
    a_service_without_streams_comes_back
    the_child_has_a_clean_start
    signals_are_passed_on
    a_stuck_terminal_does_not_hold_back_signals
    wait_passes_on_what_was_sent_and_no_keys
    wait_ends_as_the_child_ends
}
