//! The life of a lease: the states that it goes through, what moves it from one to the next, and
//! the order in which its things are taken back.
//!
//! The table of leases is moved by [`State::after`] (a lease whose file says nothing begins in
//! quarantine), and [`crate::release`] carries out
//! [`TAKING_BACK`]; `tests/life.rs` takes the same two and goes through everything that can happen,
//! with a daemon that may be killed between any two steps.

#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};

/// Where a lease is in its life. A number without a lease has no state: it is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Somebody holds it.
    Running,
    /// Its last holder is gone, and what it had is being taken back.
    Ending,
    /// Something could not be taken back; the number stays out of use, and the name may get another.
    Quarantined,
}

/// What happens to a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// Somebody gets the number under the name, and is its first holder.
    Granted,
    /// One more holder comes to it.
    Joined,
    /// A holder ends, and others remain.
    HolderEnded,
    /// The last holder ends.
    LastHolderEnded,
    /// A new daemon finds it on disk; `held` if one of its holders is still the same.
    Adopted {
        /// Whether somebody holds it.
        held: bool,
    },
    /// Everything was taken back, and its file is removed.
    TakenBack,
    /// Something could not be taken back.
    Stuck,
}

/// Something that cannot happen in a state: a fault of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Impossible;

impl State {
    /// What a lease begins with, when the number is [`Event::Granted`].
    pub const GRANTED: Self = Self::Running;

    /// The word for people.
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Ending => "ending",
            Self::Quarantined => "quarantined",
        }
    }

    /// The state of a lease after `event`; `None` before and after its life.
    ///
    /// # Errors
    /// [`Impossible`], and nothing may be changed then.
    pub fn after(state: Option<Self>, event: Event) -> Result<Option<Self>, Impossible> {
        use Event::{Adopted, Granted, HolderEnded, Joined, LastHolderEnded, Stuck, TakenBack};
        use State::{Ending, Quarantined, Running};
        match (state, event) {
            (None, Granted) => Ok(Some(Self::GRANTED)),
            (Some(Running), Joined | HolderEnded | Adopted { held: true }) => Ok(Some(Running)),
            (Some(Running), LastHolderEnded | Adopted { held: false }) => Ok(Some(Ending)),
            // Nobody comes back to a lease that is being taken back, whoever lives on.
            (Some(Ending), Adopted { .. }) => Ok(Some(Ending)),
            (Some(Quarantined), Adopted { .. } | Stuck) => Ok(Some(Quarantined)),
            (Some(Ending), Stuck) => Ok(Some(Quarantined)),
            (Some(Ending | Quarantined), TakenBack) => Ok(None),
            _ => Err(Impossible),
        }
    }

    /// Whether what it had is to be taken back now, or once more.
    pub fn is_to_be_taken_back(self) -> bool {
        self != Self::Running
    }

    /// Whether its name is the user's, for all programs and for whoever asks for it next. A name
    /// whose number is in quarantine gets another number.
    pub fn has_its_name(self) -> bool {
        self != Self::Quarantined
    }
}

/// One thing of a lease that is taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TakeBack {
    /// Every process that carries the number: asked to end, then ended.
    Processes,
    /// Its control groups.
    Groups,
    /// System V objects, POSIX shared memory, message queues.
    Ipc,
    /// The kernel's keyrings of the number.
    Keys,
    /// The directories in /run that were made under it, and its right to pass boundaries.
    Directories,
    /// Its copies of the user databases.
    Views,
    /// The files behind the descriptors that held it.
    Holds,
    /// Its name, for all programs of the host.
    Name,
    /// What tells the lease from a free number: from here on it is one.
    Number,
}

/// In which order: whoever could make the next thing anew is gone before it, and the number is
/// free last.
pub const TAKING_BACK: [TakeBack; 9] = [
    TakeBack::Processes,
    TakeBack::Groups,
    TakeBack::Ipc,
    TakeBack::Keys,
    TakeBack::Directories,
    TakeBack::Views,
    TakeBack::Holds,
    TakeBack::Name,
    TakeBack::Number,
];

impl TakeBack {
    /// Whether it is done for users that the host has anyway: their number, and what carries it,
    /// is not ours to take.
    pub fn is_for_static_users(self) -> bool {
        matches!(
            self,
            Self::Groups | Self::Directories | Self::Views | Self::Holds | Self::Number
        )
    }
}
