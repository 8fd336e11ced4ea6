//! Carrying out a plan: one loop over its steps, in the process that may do it.

mod account_view;
mod credentials;
mod database;
mod devices;
mod host;
mod inside;
mod namespace;
mod view;

use std::collections::HashMap;
use std::os::fd::OwnedFd;

use crate::failure::{Failure, Stage};
use crate::plan::Owner;

pub use account_view::{Copy, Work, show};
pub use database::write_database;
pub use host::{Workshop, open_of};
pub use namespace::{build_namespace, carry_out};

/// Detached mounts by the path of the tree that they show.
pub type Views = HashMap<String, OwnedFd>;

type Reason = Box<dyn std::error::Error + Send + Sync>;

/// How the steps on the host went.
#[derive(Debug)]
pub enum Prepared {
    /// All are done.
    Ready(Views),
    /// Another plan has to be made.
    NotYet(NotYet),
}

/// Why another plan has to be made: something was found out that nobody could see, or takes its time.
#[derive(Debug)]
pub enum NotYet {
    /// The kernel does not move the tree between these two paths.
    Immovable([String; 2]),
    /// The file system does not show the tree as somebody else's.
    Unmappable(String),
    /// Something is there, or gone, since somebody looked: what several services need, such as a boundary.
    Changed(String),
    /// A tree is to be given. That may take minutes, and is not for somebody who keeps others waiting.
    Give(Gift),
}

/// A tree that is to be given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gift {
    /// The stage that fails with it.
    pub stage: Stage,
    /// Where it is.
    pub path: String,
    /// The owner that the top has.
    pub from: Owner,
    /// The owner that it gets.
    pub to: Owner,
}

/// How one step ended that did not go well.
enum Stop {
    NotYet(NotYet),
    Failed(Reason),
}

impl<E: Into<Reason>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl NotYet {
    /// Where it was found out.
    pub fn path(&self) -> &str {
        match self {
            Self::Immovable([path, _]) | Self::Unmappable(path) | Self::Changed(path) => path,
            Self::Give(gift) => &gift.path,
        }
    }

    /// What there is to say when the same is found out twice.
    pub fn failure(&self, stage: Stage) -> Failure {
        let (subject, why) = match self {
            Self::Immovable([one, other]) => (
                one,
                format!(
                    "cannot be moved to {other}: something is mounted there, or it is on another file system"
                ),
            ),
            Self::Unmappable(path) => (
                path,
                "the file system there cannot show it as somebody else's".into(),
            ),
            Self::Changed(path) => (
                path,
                "is made and removed again and again by somebody".into(),
            ),
            Self::Give(gift) => (
                &gift.path,
                format!("still belongs to {} although it was given", gift.from),
            ),
        };
        Failure::new(stage, subject, why)
    }
}
