//! Named points at which the daemon can be made to die, for the tests alone.
//!
//! What is on disk must be enough at every instruction. `tests/faults.rs` shows it: it kills a
//! daemon at each of these points in turn. In a program that is shipped the points are nothing: the
//! feature `fault-points` is never part of one, and without it [`reached`] is an empty function.
//!
//! With the feature, `DYNUSER_FAULT=WORD` or `WORD:N` in the environment ends the process when
//! the point of that word is reached for the Nth time, with SIGKILL, and so does nothing else any
//! more. `DYNUSER_FAULT_ALSO=FILE` names a file with the PID of a process that is killed just
//! before: the launcher, say, so that holder and daemon die together.

macro_rules! points {
    ($($(#[$doc:meta])* $name:ident $word:literal)*) => {
        /// A point in the life of a lease.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Point {
            $($(#[$doc])* $name,)*
        }

        impl Point {
            /// All of them, so that no test can forget one.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The word by which it is chosen. It stays as it is.
            pub const fn word(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }
        }
    };
}

points! {
    /// A number is being chosen for a name, from here on.
    NameBegun "name-begun"
    /// A number was reserved, to be looked at.
    CandidateReserved "candidate-reserved"
    /// A lease was written beside its place.
    LeaseHalfSaved "lease-half-saved"
    /// A new lease is on disk.
    LeaseSaved "lease-saved"
    /// A lease with one more holder is on disk.
    LeaseShared "lease-shared"
    /// The directories that are about to be made are on disk.
    DirectoriesNoted "directories-noted"
    /// The boundaries that its user is about to be let through are on disk.
    PassesNoted "passes-noted"
    /// One step on the host was done.
    HostStepDone "host-step-done"
    /// The link from the number to the name is there.
    NameHalfPublished "name-half-published"
    /// Both links are there.
    NamePublished "name-published"
    /// One of the two links says something new.
    NameHalfRenewed "name-half-renewed"
    /// The mount namespace of a service is built.
    NamespaceBuilt "namespace-built"
    /// The answer is about to be sent.
    ReplyDue "reply-due"
    /// The end of a holder was noticed.
    HolderEnded "holder-ended"
    /// A lease that goes on with one holder less is on disk.
    HolderDropped "holder-dropped"
    /// The lease is on disk as one that ends.
    EndingSaved "ending-saved"
    /// Its processes were asked to end.
    TermSent "term-sent"
    /// Its processes were killed.
    KillSent "kill-sent"
    /// Its IPC objects are removed.
    IpcRemoved "ipc-removed"
    /// Its kernel keys are removed.
    KeysCleared "keys-cleared"
    /// Its directories in /run are removed.
    DirectoriesRemoved "directories-removed"
    /// Its copies of the user databases are removed.
    ViewsRemoved "views-removed"
    /// The files behind its descriptors are removed.
    HoldsRemoved "holds-removed"
    /// The first of the two links is removed.
    NameHalfWithdrawn "name-half-withdrawn"
    /// Both links are removed.
    NameWithdrawn "name-withdrawn"
    /// The file of the lease is removed.
    LeaseRemoved "lease-removed"
    /// What could not be taken back is on disk as in quarantine.
    QuarantineSaved "quarantine-saved"
    /// A lease of the former daemon was taken over.
    LeaseAdopted "lease-adopted"
    /// The names of the adopted leases are there again, and no others.
    NamesRepublished "names-republished"
    /// Some of a tree has its new owner: the first file, and each thousandth.
    TreeHalfGiven "tree-half-given"
    /// All of a tree but its top has its new owner.
    TreeGiven "tree-given"
}

/// Says that `point` was reached. Does nothing in a program that is shipped.
#[cfg(not(feature = "fault-points"))]
#[inline(always)]
pub fn reached(_point: Point) {}

/// Says that `point` was reached. Ends the process if that is the one that was chosen.
#[cfg(feature = "fault-points")]
pub fn reached(point: Point) {
    armed::reached(point);
}

#[cfg(feature = "fault-points")]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    use rustix::process::{Pid, Signal, getpid, kill_process};

    use super::Point;

    /// What ends the process.
    struct Fault {
        word: String,
        at: u32,
        seen: AtomicU32,
    }

    pub(super) fn reached(point: Point) {
        static CHOSEN: OnceLock<Option<Fault>> = OnceLock::new();
        let Some(fault) = CHOSEN.get_or_init(chosen) else {
            return;
        };
        if fault.word != point.word() {
            return;
        }
        let before = fault.seen.fetch_add(1, Ordering::SeqCst);
        if before.checked_add(1) == Some(fault.at) {
            die();
        }
    }

    fn chosen() -> Option<Fault> {
        let value = std::env::var("DYNUSER_FAULT").ok()?;
        let (word, at) = match value.split_once(':') {
            Some((word, at)) => (word, at.parse().ok()?),
            None => (value.as_str(), 1),
        };
        Some(Fault {
            word: word.into(),
            at,
            seen: AtomicU32::new(0),
        })
    }

    fn die() {
        if let Some(other) = other() {
            // It may have ended by itself.
            let _gone = kill_process(other, Signal::KILL);
        }
        let _refused = kill_process(getpid(), Signal::KILL);
        // Not a single instruction more: the signal is on its way.
        loop {
            std::thread::park();
        }
    }

    fn other() -> Option<Pid> {
        let path = std::env::var_os("DYNUSER_FAULT_ALSO")?;
        let pid = std::fs::read_to_string(path).ok()?.trim().parse().ok()?;
        Pid::from_raw(pid)
    }
}
