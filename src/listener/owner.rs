//! Whose sockets they are: a user or a group of the host, or a dynamic one that lives as long as they do.

use std::os::fd::OwnedFd;

use crate::client;
use crate::config_files;
use crate::failure::{Failure, OrFail, Stage};
use crate::request::Request;
use crate::socket_unit::SocketUnit;
use crate::sys::names::ask_here;

/// The owner of the files of sockets.
#[derive(Debug, Default)]
pub(super) struct Owner {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// What holds dynamic users, as long as it is open. Nobody who is executed gets it.
    held: Vec<OwnedFd>,
}

/// Somebody of a name.
struct Somebody {
    number: u32,
    group: u32,
}

impl Owner {
    /// Finds out who it is. A name that nobody has becomes that of a dynamic user, which exists from now on.
    ///
    /// # Errors
    /// Of [`Stage::User`] and [`Stage::Group`]; the daemon's.
    pub(super) fn of(unit: &SocketUnit) -> Result<Self, Failure> {
        let mut owner = Self::default();
        if let Some(name) = &unit.user {
            let user = match number(name, Stage::User)? {
                Some(number) => Somebody { number, group: 0 },
                None => owner.user(unit, name)?,
            };
            (owner.uid, owner.gid) = (user.number, user.group);
        }
        if let Some(name) = &unit.group {
            owner.gid = match number(name, Stage::Group)? {
                Some(number) => number,
                None => owner.group(unit, name)?,
            };
        }
        Ok(owner)
    }

    fn user(&mut self, unit: &SocketUnit, name: &str) -> Result<Somebody, Failure> {
        let known = ask_here(name).or_fail(Stage::User, name)?.user;
        // One that is dynamic exists only as long as somebody holds it.
        match known.filter(|user| !user.is_dynamic) {
            Some(user) => Ok(Somebody {
                number: user.uid,
                group: user.gid,
            }),
            None => self.acquire(unit, name, Stage::User),
        }
    }

    fn group(&mut self, unit: &SocketUnit, name: &str) -> Result<u32, Failure> {
        let known = ask_here(name).or_fail(Stage::Group, name)?;
        let is_dynamic = known.user.is_some_and(|user| user.is_dynamic);
        match known.group.filter(|_| !is_dynamic) {
            Some(group) => Ok(group),
            None => Ok(self.acquire(unit, name, Stage::Group)?.group),
        }
    }

    /// Has a dynamic user of that name made, or shares the one that there is.
    fn acquire(
        &mut self,
        unit: &SocketUnit,
        name: &str,
        stage: Stage,
    ) -> Result<Somebody, Failure> {
        let request = Request {
            service: unit.name.full(),
            properties: vec![("User".into(), name.into())],
        };
        let reply = client::acquire(&request).map_err(|failure| Failure {
            stage,
            subject: format!("the owner of the sockets: {}", failure.subject),
            ..failure
        })?;
        self.held.push(OwnedFd::from(reply.descriptor));
        Ok(Somebody {
            number: reply.uid,
            group: reply.gid,
        })
    }
}

/// The number that is meant, if it is one.
fn number(name: &str, stage: Stage) -> Result<Option<u32>, Failure> {
    match name.parse() {
        Err(_) => Ok(None),
        Ok(number) if config_files::load()?.ranges.contains(number) => {
            let why = "is a number that dynamic users have, one after the other; name the user";
            Err(Failure::new(stage, name, why))
        }
        Ok(number) => Ok(Some(number)),
    }
}
