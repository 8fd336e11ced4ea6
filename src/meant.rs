//! Whom somebody means: by the name of a service, of a template, of a user, by a number, or by a pattern.

use crate::conditions::matches;
use crate::failure::{Failure, Stage};
use crate::holder::Holder;
use crate::lease::{Found, Lease};
use crate::life::State;

/// A lease, and those of its holders who are meant.
#[derive(Clone, Debug)]
pub struct Meant {
    /// The lease.
    pub lease: Lease,
    /// Who is meant of it.
    pub holders: Vec<Holder>,
    /// Whether it was the user who was named, not a service: then all of its holders are meant.
    pub by_user: bool,
}

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A service, a user, or a number.
    Exactly(String),
    /// All instances of a template: what their names begin with, `@` included.
    Instances(String),
    /// A shell pattern, as the shell itself has them.
    Pattern(String),
}

impl Wanted {
    /// Reads a name, with or without the ending `.service`.
    pub fn parse(name: &str) -> Self {
        let name = name.strip_suffix(".service").unwrap_or(name);
        if name.contains(['*', '?', '[']) {
            Self::Pattern(name.into())
        } else if name.ends_with('@') && name.len() > 1 {
            Self::Instances(name.into())
        } else {
            Self::Exactly(name.into())
        }
    }

    /// Whether a name of a service or of a user is one of those.
    pub fn takes(&self, name: &str) -> bool {
        match self {
            Self::Exactly(wanted) => wanted == name,
            Self::Instances(template) => name.len() > template.len() && name.starts_with(template),
            Self::Pattern(pattern) => matches(pattern, name),
        }
    }
}

/// Who is meant by a name. A service goes before a user of its name: of a user that several services share on purpose, the
/// name of one means that one alone.
pub fn meant(found: &[Found], name: &str) -> Vec<Meant> {
    let wanted = Wanted::parse(name);
    let leases = || found.iter().filter_map(|found| found.lease.as_ref().ok());
    let by_service: Vec<Meant> = leases()
        .filter_map(|lease| {
            let holders = lease.holders.iter();
            let holders = holders.filter(|holder| wanted.takes(&holder.service));
            let holders: Vec<Holder> = holders.cloned().collect();
            (!holders.is_empty()).then(|| Meant {
                lease: lease.clone(),
                holders,
                by_user: false,
            })
        })
        .collect();
    let is_exact = matches!(wanted, Wanted::Exactly(_));
    if is_exact && !by_service.is_empty() {
        return by_service;
    }
    let is_there = |lease: &&Lease| by_service.iter().all(|it| it.lease.uid != lease.uid);
    let by_user = leases().filter(is_there).filter(|lease| {
        wanted.takes(&lease.name) || wanted == Wanted::Exactly(lease.uid.to_string())
    });
    let by_user = by_user.map(|lease| Meant {
        lease: lease.clone(),
        holders: lease.holders.clone(),
        by_user: true,
    });
    by_user.chain(by_service.clone()).collect()
}

/// The one holder who is meant, of those that run.
///
/// # Errors
/// Of [`Stage::Request`]: nobody is, or several are, in words.
pub fn one_that_runs(found: &[Found], name: &str) -> Result<(Lease, Holder), Failure> {
    let fail = |why: String| Err(Failure::new(Stage::Request, name, why));
    let meant = meant(found, name);
    let mut running = Vec::new();
    for meant in &meant {
        let holders = meant.holders.iter().filter(|holder| !holder.has_ended());
        let lives = meant.lease.state == State::Running;
        running.extend(holders.filter(|_| lives).map(|holder| (meant, holder)));
    }
    let service = |(_, holder): &(&Meant, &Holder)| holder.service.clone();
    let mut services: Vec<String> = running.iter().map(service).collect();
    services.sort_unstable();
    services.dedup();
    match running.first() {
        None if meant.is_empty() => {
            fail("is neither a service that runs nor a user that exists at the moment".into())
        }
        None => fail("does not run any more".into()),
        Some((meant, holder)) if services.len() == 1 => {
            Ok((meant.lease.clone(), Holder::clone(holder)))
        }
        Some(_) => fail(format!(
            "means several services: {}; say which",
            services.join(", ")
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, uid: u32, services: &[&str]) -> Found {
        let mut lease = Lease::damaged(uid, "");
        lease.name = name.into();
        lease.state = State::Running;
        let holders = services.iter().map(|service| Holder::sample(service));
        lease.holders = holders.collect();
        Found {
            uid,
            lease: Ok(lease),
        }
    }

    #[test]
    fn names_mean_services_first_then_users_then_numbers() {
        let all = [
            found("shared", 61201, &["one", "two"]),
            found("foo_a-1", 61202, &["foo@a"]),
            found("foo_b-1", 61203, &["foo@b"]),
            found("two", 61204, &["three"]),
        ];
        let said = |name: &str| -> Vec<(u32, usize, bool)> {
            let meant = meant(&all, name).into_iter();
            meant
                .map(|it| (it.lease.uid, it.holders.len(), it.by_user))
                .collect()
        };
        assert_eq!(said("one"), [(61201, 1, false)]);
        assert_eq!(said("one.service"), [(61201, 1, false)]);
        assert_eq!(said("two"), [(61201, 1, false)]);
        assert_eq!(said("shared"), [(61201, 2, true)]);
        assert_eq!(said("61201"), [(61201, 2, true)]);
        assert_eq!(said("foo@"), [(61202, 1, false), (61203, 1, false)]);
        assert_eq!(said("foo@*"), said("foo@"));
        assert_eq!(said("foo@[b-z]"), [(61203, 1, false)]);
        assert_eq!(said("foo_a-1"), [(61202, 1, true)]);
        for nobody in ["foo", "@", "", "612", "bar@", "x*"] {
            assert_eq!(said(nobody), [], "{nobody}");
        }
    }
}
