//! A request that passed every check.

#![forbid(unsafe_code)]

use core::time::Duration;

use crate::directives::{Settings, WorkingDirectory};
use crate::exec_directory::{ExecDirectory, Kind};
use crate::failure::{Failure, Stage};
use crate::names::{ServiceName, UserName};
use crate::request::Request;

/// What to do for a service: nothing in it is undecided, and it can be made only by
/// [`check`](Self::check).
#[derive(Clone, Debug)]
pub struct Spec {
    service: ServiceName,
    user: UserName,
    settings: Settings,
}

impl Spec {
    /// Checks a request: all refusals that need no look at the host happen here.
    ///
    /// # Errors
    /// Of [`Stage::Request`], or of [`Stage::User`] for names of users.
    pub fn check(request: &Request) -> Result<Self, Failure> {
        let service = ServiceName::parse(&request.service)
            .map_err(|why| Failure::new(Stage::Request, format!("{:?}", request.service), why))?;
        let mut settings = Settings::default();
        for (name, value) in &request.properties {
            settings
                .assign(name, value)
                .map_err(|why| Failure::new(Stage::Request, format!("{name}={value}"), why))?;
        }
        let user = match &settings.user {
            Some(name) => UserName::parse(name).map_err(|why| (name.as_str(), why)),
            None => UserName::of_service(&service).map_err(|why| (service.as_str(), why)),
        }
        .map_err(|(name, why)| Failure::new(Stage::User, format!("user {name:?}"), why))?;
        // Parents before what is inside them; this is also the order in the environment.
        settings.directories.sort();
        Ok(Self {
            service,
            user,
            settings,
        })
    }

    /// The service.
    pub fn service(&self) -> &ServiceName {
        &self.service
    }

    /// The user that it runs as.
    pub fn user(&self) -> &UserName {
        &self.user
    }

    /// Its directories, sorted by kind and path.
    pub fn directories(&self) -> &[ExecDirectory] {
        &self.settings.directories
    }

    /// The mode of its directories of a kind.
    pub fn mode(&self, kind: Kind) -> u32 {
        self.settings.mode(kind)
    }

    /// Tells whether `directory` lies in another one of this service, which therefore holds it
    /// already: it needs neither a link nor a mount of its own.
    pub fn is_nested(&self, directory: &ExecDirectory) -> bool {
        self.directories()
            .iter()
            .any(|other| other != directory && directory.is_within(other))
    }

    /// Where it starts.
    pub fn working_directory(&self) -> Option<&WorkingDirectory> {
        self.settings.working_directory.as_ref()
    }

    /// How long its processes may go on after SIGTERM, if it says that.
    pub fn stop_timeout(&self) -> Option<Duration> {
        self.settings.stop_timeout
    }

    /// Refuses everything but a name: what is to be held is a user, not a service.
    ///
    /// # Errors
    /// Of [`Stage::Request`], naming what is too much.
    pub fn require_user_alone(&self) -> Result<(), Failure> {
        let settings = &self.settings;
        let too_much = [
            (!settings.directories.is_empty(), "a directory"),
            (settings.working_directory.is_some(), "WorkingDirectory="),
            (!settings.environment.is_empty(), "Environment="),
        ];
        match too_much.into_iter().find(|(present, _)| *present) {
            None => Ok(()),
            Some((_, what)) => Err(Failure::new(
                Stage::Request,
                what,
                "belongs to a service that is run; what is acquired is a user alone",
            )),
        }
    }

    /// What `Environment=` adds.
    pub fn environment(&self) -> &[(String, String)] {
        &self.settings.environment
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(service: &str, properties: &[(&str, &str)]) -> Result<Spec, Failure> {
        Spec::check(&Request {
            service: service.into(),
            properties: properties
                .iter()
                .map(|(name, value)| ((*name).into(), (*value).into()))
                .collect(),
        })
    }

    #[test]
    fn the_user_is_named_like_the_service_unless_told_otherwise() {
        let user = |spec: Result<Spec, Failure>| spec.expect("a spec").user().to_string();
        assert_eq!(user(check("wuff", &[])), "wuff");
        assert_eq!(user(check("wuff", &[("User", "miau")])), "miau");
        assert_eq!(
            user(check("wuff", &[("User", "miau"), ("User", "")])),
            "wuff"
        );
    }

    #[test]
    fn refusals_name_the_thing_and_carry_the_status() {
        for (service, properties, status, named) in [
            ("", &[][..], 1, "\"\""),
            ("a/b", &[], 1, "a/b"),
            ("root", &[], 217, "root"),
            ("nobody.service", &[], 217, "nobody"),
            ("a", &[("User", "0")], 217, "\"0\""),
            ("a", &[("User", "a.b")], 217, "a.b"),
            ("a", &[("StateDirectory", "/x")], 1, "/x"),
            ("a", &[("Nonsense", "1")], 1, "Nonsense"),
        ] {
            let failure = check(service, properties).expect_err("a refusal");
            assert_eq!(failure.exit_status(), status, "{failure}");
            assert!(failure.to_string().contains(named), "{failure}");
        }
    }

    #[test]
    fn directories_are_sorted_and_know_their_parents() {
        let spec = check(
            "a",
            &[("StateDirectory", "z b/c b"), ("RuntimeDirectory", "r")],
        )
        .expect("a spec");
        let paths: Vec<String> = spec
            .directories()
            .iter()
            .map(ExecDirectory::public)
            .collect();
        assert_eq!(
            paths,
            ["/run/r", "/var/lib/b", "/var/lib/b/c", "/var/lib/z"]
        );
        let nested: Vec<bool> = spec
            .directories()
            .iter()
            .map(|d| spec.is_nested(d))
            .collect();
        assert_eq!(nested, [false, false, true, false]);
    }
}
